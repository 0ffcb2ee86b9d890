//! Confirming uploads: where a server takes any bytes under a signed hash, the hub hashes a new object before a
//! commit names it.
//!
//! Readers verify everything anyway. This check warns the sharer while it still has the bytes. Each object is
//! read once; a mark beside it says of which writing, so another one over it is read again.

use std::{
    collections::BTreeMap,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use bytes::Bytes;
use podsync_api::hub::ObjectRef;

use super::{Confirm, Team};
use crate::{
    abilities::Ability,
    keys::ObjectKey,
    storage::{ObjectHead, StorageError},
};

/// How many objects are read and hashed at once, each in pieces.
pub(super) const HASHED_AT_ONCE: usize = 4;
/// The most bytes of a mark: a writing's ETag.
const MAX_MARK_LEN: u64 = 256;
/// How long an upload over a damaged object is let through: as long as its URL is good, and a while.
const DOUBT: Duration = Duration::from_secs(3600);
/// The most damaged objects that are remembered: those of a commit.
const MAX_DOUBTS: usize = 10_000;

/// Objects that were found to be damaged, so that an upload may go over them. Each replica has its own: who
/// commits at another one learns the same there.
#[derive(Debug, Default)]
pub(super) struct Doubts(Mutex<BTreeMap<ObjectKey, Instant>>);

impl Doubts {
    fn note(&self, key: ObjectKey) {
        let mut doubts = self.lock();
        doubts.retain(|_, since| since.elapsed() < DOUBT);
        if doubts.len() < MAX_DOUBTS {
            doubts.insert(key, Instant::now());
        }
    }

    pub(super) fn has(&self, key: &ObjectKey) -> bool {
        let doubts = self.lock();
        doubts.get(key).is_some_and(|since| since.elapsed() < DOUBT)
    }

    fn clear(&self, key: &ObjectKey) {
        self.lock().remove(key);
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<ObjectKey, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Team {
    /// Whether objects are hashed before a commit names them.
    pub(super) fn confirms(&self) -> bool {
        match self.confirm {
            Confirm::Always => true,
            Confirm::Never => false,
            Confirm::WhereNeeded => {
                let seen = self.bucket.abilities();
                seen.is_some_and(|seen| !seen.has(Ability::BindsBytes))
            }
        }
    }

    /// Whether an object that is there has the bytes of its name.
    pub(super) async fn is_sound(&self, object: &ObjectRef) -> Result<bool, StorageError> {
        let key = ObjectKey::from(object);
        let Some(head) = self.bucket.head(&key.to_string()).await? else {
            return Ok(false);
        };
        if self.is_confirmed(&key, &head).await? {
            self.doubts.clear(&key);
            return Ok(true);
        }
        let found = match head.sha256 {
            Some(told) => Some(told),
            None => {
                let most = object.id.kind.max_len();
                self.bucket.sha256(&key.to_string(), most).await?
            }
        };
        if found == Some(object.id.sha256) {
            self.note_confirmed(&key, &head).await?;
            self.doubts.clear(&key);
            return Ok(true);
        }
        tracing::warn!(%key, "an upload left wrong bytes: its sharer has to upload it again");
        self.doubts.note(key);
        Ok(false)
    }

    async fn is_confirmed(&self, key: &ObjectKey, head: &ObjectHead) -> Result<bool, StorageError> {
        let Some(etag) = head.etag.as_deref() else {
            return Ok(false);
        };
        let mark = self.bucket.get(&key.confirmation(), MAX_MARK_LEN).await?;
        Ok(mark.is_some_and(|mark| mark == etag.as_bytes()))
    }

    async fn note_confirmed(&self, key: &ObjectKey, head: &ObjectHead) -> Result<(), StorageError> {
        let Some(etag) = head.etag.as_deref() else {
            return Ok(());
        };
        if etag.len() as u64 > MAX_MARK_LEN {
            return Ok(());
        }
        let mark = Bytes::copy_from_slice(etag.as_bytes());
        self.bucket.put(&key.confirmation(), mark).await
    }
}

//! Which generation of an object is in use: the rules that batch and commit share with the collector.
//!
//! Markers are never deleted, so a generation that is condemned stays so. Nothing here may be remembered from
//! one request to the next: only a look at the bucket shows it.

use std::time::Duration;

use podsync_api::hub::{ObjectKind, ObjectRef, Sha256};

use crate::{
    keys::ObjectKey,
    storage::{Storage, StorageError},
};

/// From the first look at a commit's objects to the write of its head, by the clock on the wall and by the
/// monotonic one: beyond it a commit gives up, even between two writes. It is a small part of the day that a
/// condemned object is left alone.
pub const COMMIT_DEADLINE: Duration = Duration::from_secs(600);
/// An object that was condemned more often is an accident, and would cost a request for each time.
pub const MAX_GENERATIONS: u32 = 64;

/// The generation that an upload gets, and that a download without one means: the first that isn't condemned.
pub async fn in_use(
    bucket: &dyn Storage,
    kind: ObjectKind,
    sha256: Sha256,
) -> Result<u32, StorageError> {
    for generation in 0..MAX_GENERATIONS {
        let key = ObjectKey {
            kind,
            sha256,
            generation,
        };
        if !is_condemned(bucket, &key).await? {
            return Ok(generation);
        }
    }
    Err(StorageError::Garbled(
        format!("{sha256} has been condemned {MAX_GENERATIONS} times").into(),
    ))
}

/// Whether an entry that is committed now may name this object: it is there, with this length, and not
/// condemned.
pub async fn may_be_named(bucket: &dyn Storage, object: &ObjectRef) -> Result<bool, StorageError> {
    let key = ObjectKey::from(object);
    if is_condemned(bucket, &key).await? {
        return Ok(false);
    }
    Ok(bucket.len(&key.to_string()).await? == Some(object.id.size))
}

pub async fn is_condemned(bucket: &dyn Storage, key: &ObjectKey) -> Result<bool, StorageError> {
    Ok(bucket.len(&key.marker()).await?.is_some())
}

//! How much a team stores, as last listed, with what was promised to uploads since.
//!
//! It may be exceeded by what other replicas promised meanwhile: a listing of all objects is too dear to be
//! made for each batch.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use podsync_api::hub::{HubError, HubErrorCode};
use podsync_core::DeviceId;

use super::{Team, list_all};
use crate::{gc::decide::Objects, keys::ObjectKey, metrics::Metrics, storage::StorageError};

/// How long a listing counts as current.
const LIFETIME: Duration = Duration::from_secs(300);
/// A promise older than a URL's life is in a listing by now, or its upload never comes.
const PROMISE: Duration = Duration::from_secs(2 * 15 * 60);

/// The team's room in its bucket.
#[derive(Debug, Default)]
pub(super) struct Room {
    usage: Mutex<Usage>,
    /// Held while the bucket is listed, so that one listing is for all who wait.
    listing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Usage {
    /// When the listing began that `bytes` is of.
    listed: Option<Instant>,
    bytes: u64,
    promised: BTreeMap<ObjectKey, Promise>,
    /// What devices said that they are going to ask for.
    following: BTreeMap<DeviceId, (u64, Instant)>,
}

#[derive(Debug)]
struct Promise {
    len: u64,
    since: Instant,
    /// A commit named it, so it was uploaded; no listing has it yet.
    stored: bool,
}

impl Team {
    /// Promises room to uploads, all or none, and to the bytes that the device is going to ask for after them.
    pub(super) async fn promise(
        &self,
        uploads: &[(ObjectKey, u64)],
        following: Option<(DeviceId, u64)>,
    ) -> Result<(), HubError> {
        let Some(quota) = self.quota else {
            return Ok(());
        };
        self.list_within(LIFETIME).await?;
        let now = Instant::now();
        let mut usage = self.usage();
        usage
            .promised
            .retain(|_, promise| now.duration_since(promise.since) < PROMISE);
        usage
            .following
            .retain(|_, (_, since)| now.duration_since(*since) < PROMISE);
        if let Some((device, _)) = &following {
            usage.following.remove(device);
        }
        let asked = uploads
            .iter()
            .filter(|(key, _)| !usage.promised.contains_key(key))
            .map(|(_, len)| *len)
            .chain(following.map(|(_, len)| len))
            .fold(0, u64::saturating_add);
        let taken = usage.bytes + usage.promised();
        if taken.saturating_add(asked) > quota {
            let bucket = self.bucket();
            return Err(HubError::new(
                HubErrorCode::QuotaExceeded,
                format!(
                    "the team's bucket ({bucket}) holds {taken} of {quota} bytes, and {asked} more don't fit; drop versions, or ask the hub's operator for more"
                ),
            ));
        }
        for (key, len) in uploads {
            let promise = Promise {
                len: *len,
                since: now,
                stored: false,
            };
            usage.promised.insert(*key, promise);
        }
        let kept = following.filter(|(_, len)| *len > 0);
        let kept = kept.map(|(device, len)| (device, (len, now)));
        usage.following.extend(kept);
        Ok(())
    }

    /// Lists the bucket of a team with a quota, unless that was done: so an alert knows how much of the quota is
    /// used before anybody uploads.
    pub(crate) async fn count(&self) {
        if self.quota.is_none() || self.usage().listed.is_some() {
            return;
        }
        if let Err(error) = self.list_within(LIFETIME).await {
            tracing::warn!(%error, "the hub can't count what the bucket holds yet");
        }
    }

    /// Objects that a commit found in the bucket.
    pub(super) fn note_stored(&self, keys: impl Iterator<Item = ObjectKey>) {
        let mut usage = self.usage();
        for key in keys {
            if let Some(promise) = usage.promised.get_mut(&key) {
                promise.stored = true;
            }
        }
    }

    /// What a sweep listed, from `begun` on.
    pub(super) fn note_listed(&self, begun: Instant, objects: &Objects) {
        let bytes = objects.present.values().map(|(_, len)| len).sum();
        let is_there = |key: &ObjectKey| objects.present.contains_key(key);
        self.usage().note(begun, bytes, is_there);
    }

    /// What a sweep deleted of that.
    pub(super) fn note_freed(&self, begun: Instant, bytes: u64) {
        let mut usage = self.usage();
        if usage.listed == Some(begun) {
            usage.bytes = usage.bytes.saturating_sub(bytes);
        }
    }

    /// As last listed, with what was committed since.
    pub(crate) fn note_usage(&self, metrics: &Metrics) {
        let label = self.id.into();
        match self.quota {
            Some(quota) => {
                let quota = i64::try_from(quota).unwrap_or(i64::MAX);
                metrics.quota_bytes.get_or_create(&label).set(quota);
            }
            // It may have had one by other settings.
            None => {
                metrics.quota_bytes.remove(&label);
            }
        }
        let usage = self.usage();
        if usage.listed.is_some() {
            let bytes = i64::try_from(usage.stored()).unwrap_or(i64::MAX);
            metrics.stored_bytes.get_or_create(&label).set(bytes);
        }
    }

    /// Lists the bucket, unless somebody did within this time.
    async fn list_within(&self, age: Duration) -> Result<(), StorageError> {
        let _one = self.room.listing.lock().await;
        let listed = self.usage().listed;
        if listed.is_some_and(|listed| listed.elapsed() <= age) {
            return Ok(());
        }
        let begun = Instant::now();
        let (mut bytes, mut found) = (0, BTreeSet::new());
        for kind in ObjectKey::KINDS {
            let listed = list_all(self.bucket.as_ref(), ObjectKey::folder(kind)).await?;
            let usage = self.usage();
            for object in listed {
                if let Ok(key) = object.key.parse::<ObjectKey>() {
                    bytes += object.len;
                    found.extend(usage.promised.contains_key(&key).then_some(key));
                }
            }
        }
        self.usage().note(begun, bytes, |key| found.contains(key));
        Ok(())
    }

    fn usage(&self) -> MutexGuard<'_, Usage> {
        let usage = self.room.usage.lock();
        usage.unwrap_or_else(PoisonError::into_inner)
    }
}

impl Usage {
    fn promised(&self) -> u64 {
        let uploads = self.promised.values().map(|promise| promise.len);
        uploads
            .chain(self.following.values().map(|(len, _)| *len))
            .sum()
    }

    fn stored(&self) -> u64 {
        let stored = self.promised.values().filter(|promise| promise.stored);
        self.bytes + stored.map(|promise| promise.len).sum::<u64>()
    }

    /// What a listing found that began then.
    fn note(&mut self, begun: Instant, bytes: u64, is_there: impl Fn(&ObjectKey) -> bool) {
        if self.listed.is_some_and(|listed| listed > begun) {
            return;
        }
        self.promised.retain(|key, _| !is_there(key));
        (self.bytes, self.listed) = (bytes, Some(begun));
    }
}

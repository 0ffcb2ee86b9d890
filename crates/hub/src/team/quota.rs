//! How much a team stores, as last listed, with what was promised to uploads since.
//!
//! It may be exceeded by what other replicas promised meanwhile: a listing of all objects is too dear to be
//! made for each batch.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use podsync_api::hub::{HubError, HubErrorCode};
use podsync_core::DeviceId;

use super::{Team, list_all};
use crate::{
    keys::ObjectKey,
    metrics::Metrics,
    storage::{Storage, StorageError},
};

/// How long a listing counts as current.
const LIFETIME: Duration = Duration::from_secs(300);
/// A promise older than a URL's life is in a listing by now, or its upload never comes.
const PROMISE: Duration = Duration::from_secs(2 * 15 * 60);

#[derive(Debug, Default)]
pub(super) struct Usage {
    listed: Option<Instant>,
    bytes: u64,
    promised: BTreeMap<ObjectKey, (u64, Instant)>,
    /// What devices said that they are going to ask for.
    following: BTreeMap<DeviceId, (u64, Instant)>,
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
        let mut usage = self.usage.lock().await;
        if usage
            .listed
            .is_none_or(|listed| listed.elapsed() > LIFETIME)
        {
            usage.list(self.bucket.as_ref()).await?;
        }
        let now = Instant::now();
        usage
            .promised
            .retain(|_, (_, since)| now.duration_since(*since) < PROMISE);
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
        let promised = usage.promised();
        if (usage.bytes + promised).saturating_add(asked) > quota {
            return Err(HubError::new(
                HubErrorCode::QuotaExceeded,
                format!(
                    "the team's bucket holds {} of {quota} bytes, and {asked} more don't fit; drop versions, or ask the hub's operator for more",
                    usage.bytes + promised
                ),
            ));
        }
        let kept = uploads.iter().map(|(key, len)| (*key, (*len, now)));
        usage.promised.extend(kept);
        let kept = following.filter(|(_, len)| *len > 0);
        let kept = kept.map(|(device, len)| (device, (len, now)));
        usage.following.extend(kept);
        Ok(())
    }
}

impl Team {
    /// As last listed. While a new listing runs, the last one counts.
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
        if let Ok(usage) = self.usage.try_lock()
            && usage.listed.is_some()
        {
            let bytes = i64::try_from(usage.bytes).unwrap_or(i64::MAX);
            metrics.stored_bytes.get_or_create(&label).set(bytes);
        }
    }
}

impl Usage {
    fn promised(&self) -> u64 {
        let promised = self.promised.values().chain(self.following.values());
        promised.map(|(len, _)| len).sum()
    }

    async fn list(&mut self, bucket: &dyn Storage) -> Result<(), StorageError> {
        let listed = Instant::now();
        let mut bytes = 0;
        for kind in ObjectKey::KINDS {
            for object in list_all(bucket, ObjectKey::folder(kind)).await? {
                bytes += object.len;
                if let Ok(key) = object.key.parse() {
                    self.promised.remove(&key);
                }
            }
        }
        (self.bytes, self.listed) = (bytes, Some(listed));
        Ok(())
    }
}

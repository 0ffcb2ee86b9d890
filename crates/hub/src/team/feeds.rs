//! Reading feeds back, newest entry first, and liveness statements.

use std::collections::BTreeSet;

use bytes::Bytes;
use podsync_api::hub::{Committed, FeedPage, FeedQuery, HubError, HubErrorCode};
use podsync_core::{DeviceId, EntryHash, signed::verify, wire::Liveness};

use super::Team;
use crate::{
    storage::{Storage, StorageError},
    stored::{HeadKey, Segment, SegmentRef, StoredEntry, StoredHead, liveness_key, read_segment},
};

/// The most bytes of entries in a page, as they are in JSON.
const MAX_PAGE_LEN: usize = 4 << 20;
/// How far ahead of this machine's clock a device's time may be.
const MAX_SKEW_MS: u64 = 10 * 60 * 1000;
/// How many bytes a placement takes in JSON.
const PLACEMENT_LEN: usize = 110;

impl Team {
    pub(crate) async fn feed(
        &self,
        device: DeviceId,
        query: FeedQuery,
        by: &DeviceId,
    ) -> Result<FeedPage, HubError> {
        match self.feed_once(device, query, by).await {
            // Its segments were merged and deleted since the heads were looked at.
            Err(error) if error.code == HubErrorCode::Internal => {
                self.look_again().await;
                self.feed_once(device, query, by).await
            }
            result => result,
        }
    }

    async fn feed_once(
        &self,
        device: DeviceId,
        query: FeedQuery,
        by: &DeviceId,
    ) -> Result<FeedPage, HubError> {
        let view = self.view_for(by).await?;
        let Some(heads) = view.heads.get(&device) else {
            return Err(HubError::new(
                HubErrorCode::NotFound,
                "the bucket has no feed of that device",
            ));
        };
        let newest = heads.iter().map(|(key, _)| key.seq).max().unwrap_or(0);
        let mut branches: Vec<Branch<'_>> = heads.iter().map(Branch::new).collect();
        let mut page = FeedPage {
            device,
            entries: Vec::new(),
            more: false,
        };
        let mut room = MAX_PAGE_LEN;
        let mut seq = query.to.unwrap_or(newest).min(newest);
        while seq >= query.from.max(1) {
            let mut found = Vec::new();
            let mut hashes = BTreeSet::new();
            for branch in branches.iter_mut().filter(|branch| branch.key.seq >= seq) {
                let entry = branch.entry(self.bucket.as_ref(), seq).await?;
                if hashes.insert(EntryHash::of(&entry.entry)) {
                    found.push(entry);
                }
            }
            let len = found.iter().map(json_len).sum();
            // All branches of one number, or none: the next page begins below it.
            if len > room && !page.entries.is_empty() {
                page.more = true;
                break;
            }
            room = room.saturating_sub(len);
            page.entries.extend(found.iter().map(Committed::from));
            seq -= 1;
        }
        Ok(page)
    }

    /// Keeps a device's newest liveness statement; an older one is passed over. One from the future gives way: its
    /// clock was set back.
    pub(crate) async fn post_liveness(
        &self,
        device: &DeviceId,
        statement: &[u8],
        now_ms: u64,
    ) -> Result<(), HubError> {
        let untrusted =
            |why: &dyn std::fmt::Display| HubError::new(HubErrorCode::Untrusted, why.to_string());
        let posted = verify::<Liveness>(statement).map_err(|error| untrusted(&error))?;
        if posted.team() != self.id || posted.signer() != *device {
            return Err(untrusted(
                &"the statement is another team's or another device's",
            ));
        }
        let view = self.view_for(device).await?;
        let known = view
            .statement(device)
            .and_then(|bytes| verify::<Liveness>(bytes).ok());
        let known = known.map_or(0, |known| known.value().time_ms);
        if known >= posted.value().time_ms && known <= now_ms.saturating_add(MAX_SKEW_MS) {
            return Ok(());
        }
        let bytes = Bytes::copy_from_slice(statement);
        self.bucket.put(&liveness_key(device), bytes).await?;
        self.changed().await?;
        Ok(())
    }
}

/// The entries up to one head, read from the end.
struct Branch<'a> {
    key: &'a HeadKey,
    stored: &'a StoredHead,
    loaded: Option<(SegmentRef, Segment)>,
}

impl<'a> Branch<'a> {
    fn new((key, stored): &'a (HeadKey, std::sync::Arc<StoredHead>)) -> Self {
        Self {
            key,
            stored,
            loaded: None,
        }
    }

    async fn entry(&mut self, bucket: &dyn Storage, seq: u64) -> Result<StoredEntry, StorageError> {
        let lost = || StorageError::Garbled(format!("entry {seq} is in no segment").into());
        let holds = |named: &SegmentRef| (named.first..=named.last).contains(&seq);
        if !self.loaded.as_ref().is_some_and(|(named, _)| holds(named)) {
            let named = self.stored.segments.iter().find(|named| holds(named));
            let named = *named.ok_or_else(lost)?;
            let segment = load_segment(bucket, &self.key.device, &named).await?;
            self.loaded = Some((named, segment));
        }
        let (named, segment) = self.loaded.as_ref().ok_or_else(lost)?;
        let at = usize::try_from(seq - named.first).unwrap_or(usize::MAX);
        segment.entries.get(at).cloned().ok_or_else(lost)
    }
}

/// Reads a segment that a head names.
pub(super) async fn load_segment(
    bucket: &dyn Storage,
    device: &DeviceId,
    named: &SegmentRef,
) -> Result<Segment, StorageError> {
    let key = named.key(device);
    let bytes = bucket.get(&key, named.len).await?;
    let garbled = |what: String| StorageError::Garbled(format!("{key}: {what}").into());
    let bytes = bytes.ok_or_else(|| garbled("it isn't there".into()))?;
    read_segment(named, &bytes).map_err(|error| garbled(error.to_string()))
}

fn json_len(entry: &StoredEntry) -> usize {
    entry.entry.len() / 3 * 4 + PLACEMENT_LEN * (entry.objects.len() + 2 * entry.outboards.len())
}

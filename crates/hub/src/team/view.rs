//! What a team's bucket holds, as last listed: operations, heads and liveness statements.
//!
//! It is a cache and nothing is decided by it alone that another replica could have changed: a commit lists
//! its feed anew.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use podsync_api::hub::{Base64, Heads, HubError, HubErrorCode};
use podsync_core::{
    DeviceId, OpId, TeamId,
    codec::Format,
    membership::{MAX_OPERATIONS, Membership, Operation},
    signed::{MAX_ENVELOPE_LEN, Verified, verify},
};

use super::{AT_ONCE, VIEW_LIFETIME, list_all};
use crate::{
    storage::{Storage, StorageError},
    stored::{HEADS, HeadKey, LIVENESS, MAX_HEAD_LEN, MEMBERSHIP, StoredHead},
};

/// Listings give times in whole seconds, by a clock that needn't be ours: what changed this shortly before
/// the last listing is read again.
const CLOCK_SLACK: Duration = Duration::from_secs(60);
/// The most bytes of a signed liveness statement.
const MAX_STATEMENT_LEN: u64 = 1024;

type Signed = Arc<Verified<Operation>>;

#[derive(Debug)]
pub(crate) struct View {
    mark: Option<Bytes>,
    listed: Instant,
    listed_at: SystemTime,
    operations: BTreeMap<OpId, Signed>,
    /// `None` if nobody has posted the operations.
    pub(crate) membership: Option<Arc<Membership>>,
    /// The newest head of each device; two if the device signed two feeds.
    pub(super) heads: BTreeMap<DeviceId, Vec<(HeadKey, Arc<StoredHead>)>>,
    liveness: BTreeMap<DeviceId, (SystemTime, Bytes)>,
    /// What is told to who asks what is new: [`Heads`] as JSON.
    pub(crate) answer: Bytes,
    /// Names its content.
    pub(crate) etag: String,
}

impl View {
    pub(super) fn is_current(&self, mark: Option<&Bytes>) -> bool {
        mark.is_some() && self.mark.as_ref() == mark && self.listed.elapsed() < VIEW_LIFETIME
    }

    /// Lists the bucket. It doesn't read again what `before` has and what cannot have changed.
    pub(super) async fn read(
        team: TeamId,
        bucket: &Arc<dyn Storage>,
        mark: Option<Bytes>,
        before: Option<&Self>,
    ) -> Result<Self, HubError> {
        let (listed, listed_at) = (Instant::now(), SystemTime::now());
        let (operations, heads, liveness) = tokio::try_join!(
            read_operations(bucket, before),
            read_heads(bucket, before),
            read_liveness(bucket, before),
        )?;
        let same = before.filter(|before| before.operations.keys().eq(operations.keys()));
        let membership = match same {
            Some(before) => before.membership.clone(),
            None => {
                let operations = operations.clone();
                blocking(move || assemble(team, &operations))
                    .await?
                    .map(Arc::new)
            }
        };
        let mut view = Self {
            mark,
            listed,
            listed_at,
            operations,
            membership,
            heads,
            liveness,
            answer: Bytes::new(),
            etag: String::new(),
        };
        let answer = serde_json::to_vec(&view.heads_answer());
        let answer = answer.map_err(|error| {
            HubError::new(HubErrorCode::Internal, format!("the hub failed: {error}"))
        })?;
        view.etag = format!("\"{}\"", blake3::hash(&answer).to_hex());
        view.answer = answer.into();
        Ok(view)
    }

    fn heads_answer(&self) -> Heads {
        let membership = self.membership.as_ref();
        Heads {
            membership: membership.map_or_else(Vec::new, |team| team.heads().to_vec()),
            feeds: self
                .heads
                .values()
                .flatten()
                .map(|(_, stored)| Base64::from(&stored.head[..]))
                .collect(),
            liveness: self
                .liveness
                .values()
                .map(|(_, bytes)| Base64::from(&bytes[..]))
                .collect(),
        }
    }

    /// The operations together with others, and the membership that they make.
    pub(super) fn operations_and(&self, others: &[Signed]) -> BTreeMap<OpId, Signed> {
        let mut operations = self.operations.clone();
        operations.extend(others.iter().map(|op| (OpId::of(op.bytes()), op.clone())));
        operations
    }

    /// The newest liveness statement of a device.
    pub(super) fn statement(&self, device: &DeviceId) -> Option<&Bytes> {
        self.liveness.get(device).map(|(_, bytes)| bytes)
    }
}

/// The membership that operations make, of those that lead back to the founding one. None where that isn't
/// there.
pub(super) fn assemble(team: TeamId, operations: &BTreeMap<OpId, Signed>) -> Option<Membership> {
    let founding = operations.get(&OpId::from_bytes(*team.as_bytes()))?;
    let mut membership = Membership::new(Verified::clone(founding)).ok()?;
    membership.insert_all(parents_first(operations));
    Some(membership)
}

/// Operations in an order in which none waits for another.
fn parents_first(operations: &BTreeMap<OpId, Signed>) -> Vec<Signed> {
    let mut children: BTreeMap<OpId, Vec<OpId>> = BTreeMap::new();
    let mut waits_for: BTreeMap<OpId, usize> = BTreeMap::new();
    for (id, op) in operations {
        let parents: BTreeSet<_> = op.value().parents.iter().collect();
        waits_for.insert(*id, parents.len());
        for parent in parents {
            children.entry(*parent).or_default().push(*id);
        }
    }
    let mut free: Vec<OpId> = waits_for
        .iter()
        .filter(|(_, count)| **count == 0)
        .map(|(id, _)| *id)
        .collect();
    let mut ordered = Vec::with_capacity(operations.len());
    while let Some(id) = free.pop() {
        ordered.extend(operations.get(&id).cloned());
        for child in children.remove(&id).unwrap_or_default() {
            if let Some(count) = waits_for.get_mut(&child) {
                *count -= 1;
                if *count == 0 {
                    free.push(child);
                }
            }
        }
    }
    ordered
}

/// Signatures and folds are dear: they aren't worked out between two requests.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, HubError> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|error| HubError::new(HubErrorCode::Internal, format!("the hub failed: {error}")))
}

async fn read_operations(
    bucket: &Arc<dyn Storage>,
    before: Option<&View>,
) -> Result<BTreeMap<OpId, Signed>, HubError> {
    let ids = list_all(bucket.as_ref(), MEMBERSHIP).await?;
    let mut ids: Vec<OpId> = ids
        .iter()
        .filter_map(|listed| listed.key.strip_prefix(MEMBERSHIP)?.parse().ok())
        .collect();
    // More than a team can have: somebody who writes to the bucket by another way must not make the hub run
    // out of memory.
    ids.truncate(2 * MAX_OPERATIONS);
    // Only what is listed now: somebody may have emptied the bucket, or made it anew.
    let of_before = |id: &OpId| Some((*id, before?.operations.get(id)?.clone()));
    let mut known: BTreeMap<OpId, Signed> = ids.iter().filter_map(of_before).collect();
    let missing: Vec<OpId> = ids
        .into_iter()
        .filter(|id| !known.contains_key(id))
        .collect();
    let read: Vec<(OpId, Option<Bytes>)> = stream::iter(missing)
        .map(|id| async move {
            let key = crate::stored::operation_key(&id);
            let bytes = bucket.get(&key, MAX_ENVELOPE_LEN as u64).await?;
            Ok::<_, StorageError>((id, bytes))
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    let verified = blocking(move || {
        let good = |(id, bytes): (OpId, Option<Bytes>)| {
            let op = verify::<Operation>(&bytes?).ok()?;
            (OpId::of(op.bytes()) == id).then(|| (id, Arc::new(op)))
        };
        read.into_iter().filter_map(good).collect::<Vec<_>>()
    })
    .await?;
    known.extend(verified);
    Ok(known)
}

async fn read_heads(
    bucket: &Arc<dyn Storage>,
    before: Option<&View>,
) -> Result<BTreeMap<DeviceId, Vec<(HeadKey, Arc<StoredHead>)>>, HubError> {
    let keys = list_all(bucket.as_ref(), HEADS).await?;
    let mut by_device: BTreeMap<DeviceId, Vec<HeadKey>> = BTreeMap::new();
    for key in keys.iter().filter_map(|listed| listed.key.parse().ok()) {
        let HeadKey { device, .. } = key;
        by_device.entry(device).or_default().push(key);
    }
    let read: Vec<_> = stream::iter(by_device)
        .map(|(device, keys)| async move {
            let known = before.and_then(|before| before.heads.get(&device));
            let heads = newest(bucket.as_ref(), keys, known.map_or(&[], |heads| heads)).await?;
            Ok::<_, StorageError>((device, heads))
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    Ok(read.into_iter().collect())
}

/// Of a device's heads the newest, and one that isn't on its chain. What is damaged is passed over: its
/// device commits again.
pub(super) async fn newest(
    bucket: &dyn Storage,
    mut keys: Vec<HeadKey>,
    known: &[(HeadKey, Arc<StoredHead>)],
) -> Result<Vec<(HeadKey, Arc<StoredHead>)>, StorageError> {
    keys.sort_unstable_by_key(|key| (std::cmp::Reverse(key.seq), key.entry));
    let mut heads: Vec<(HeadKey, Arc<StoredHead>)> = Vec::new();
    for key in keys {
        if let Some((newest, stored)) = heads.first()
            && (stored.supersedes(newest, &key) || heads.len() > 1)
        {
            continue;
        }
        let stored = match known.iter().find(|(known, _)| *known == key) {
            Some((_, stored)) => Some(stored.clone()),
            None => read_head(bucket, &key).await?.map(Arc::new),
        };
        heads.extend(stored.map(|stored| (key, stored)));
    }
    Ok(heads)
}

async fn read_head(
    bucket: &dyn Storage,
    key: &HeadKey,
) -> Result<Option<StoredHead>, StorageError> {
    let bytes = bucket.get(&key.to_string(), MAX_HEAD_LEN as u64).await?;
    let stored = bytes.map(|bytes| StoredHead::decode(&bytes));
    match stored {
        Some(Ok(stored)) if stored.hash_at(key.seq, key.seq) == Some(key.entry) => Ok(Some(stored)),
        Some(_) => {
            tracing::warn!(device = %key.device.short(), seq = key.seq, "a head in the bucket is damaged");
            Ok(None)
        }
        // Superseded, and gone since it was listed.
        None => Ok(None),
    }
}

async fn read_liveness(
    bucket: &Arc<dyn Storage>,
    before: Option<&View>,
) -> Result<BTreeMap<DeviceId, (SystemTime, Bytes)>, HubError> {
    let listed = list_all(bucket.as_ref(), LIVENESS).await?;
    let devices: Vec<(DeviceId, SystemTime)> = listed
        .iter()
        .filter_map(|listed| {
            let device = listed.key.strip_prefix(LIVENESS)?.parse().ok()?;
            Some((device, listed.modified))
        })
        .collect();
    let unchanged = |device: &DeviceId, modified: SystemTime| {
        let before = before?;
        let (then, bytes) = before.liveness.get(device)?;
        let settled = modified + CLOCK_SLACK < before.listed_at;
        (*then == modified && settled).then(|| bytes.clone())
    };
    let read: Vec<_> = stream::iter(devices)
        .map(|(device, modified)| (device, modified, unchanged(&device, modified)))
        .map(|(device, modified, unchanged)| async move {
            let bytes = match unchanged {
                Some(bytes) => Some(bytes),
                None => {
                    let key = crate::stored::liveness_key(&device);
                    bucket.get(&key, MAX_STATEMENT_LEN).await?
                }
            };
            Ok::<_, StorageError>(bytes.map(|bytes| (device, (modified, bytes))))
        })
        .buffer_unordered(AT_ONCE)
        .try_collect()
        .await?;
    Ok(read.into_iter().flatten().collect())
}

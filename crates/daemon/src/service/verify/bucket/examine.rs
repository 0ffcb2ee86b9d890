//! Reads and hashes what committed versions name in the bucket.
//!
//! An object that can't be read is a finding like any other, since the rest may be sound. Only a bucket that gives
//! nothing at all is an outage.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use futures::{StreamExt, TryStreamExt, stream};
use podsync_api::{ApiError, ErrorCode, Progress, Stage, disk, hub::ObjectRef};
use podsync_bucket::{Condition, HubClientError, TransferError};
use podsync_core::{
    DeviceId, VersionId,
    feed::{BlobRef, Entry},
};

use crate::{
    call::Context,
    error::Failure,
    hub::{
        state::TeamHub,
        sync::confirm::{Named, committed},
    },
};

/// Objects read at once, and entries looked up at once.
const AT_ONCE: usize = 4;
/// After so many objects that can't be read, with none in between that could be judged, the bucket is an outage.
const OUTAGE_AFTER: usize = 2 * AT_ONCE;

/// A version that the team shares.
pub(super) struct Shared {
    pub(super) reference: String,
    pub(super) version: VersionId,
    pub(super) entry: Arc<Entry>,
}

/// A committed version.
pub(super) struct Looked {
    pub(super) shared: Shared,
    pub(super) named: Named,
}

/// What is wrong with an object.
pub(super) enum Finding {
    Missing,
    Damaged,
    /// The server doesn't give it; with its words.
    Unreadable(String),
}

pub(super) type Bad = BTreeMap<ObjectRef, Finding>;

impl Looked {
    pub(super) fn author(&self) -> DeviceId {
        self.shared.entry.header().device
    }

    /// What is wrong with the version. `None` if it is complete.
    pub(super) fn broken(&self, bad: &Bad) -> Option<disk::Broken> {
        let mut broken = disk::Broken {
            reference: self.shared.reference.clone(),
            damaged: Vec::new(),
            missing: Vec::new(),
            unreadable: Vec::new(),
            repaired: false,
            why: None,
            hint: None,
        };
        let blobs: BTreeMap<ObjectRef, BlobRef> = self
            .named
            .blobs()
            .map(|(blob, object)| (object, blob))
            .collect();
        let mut is_whole = true;
        for object in self.named.objects() {
            let Some(finding) = bad.get(&object) else {
                continue;
            };
            is_whole = false;
            let blob = match blobs.get(&object) {
                Some(blob) => blob.id.short(),
                None => format!("outboards {:.8}", object.id.sha256.to_string()),
            };
            match finding {
                Finding::Missing => broken.missing.push(blob),
                Finding::Damaged => broken.damaged.push(blob),
                Finding::Unreadable(why) => broken.unreadable.push(disk::Unreadable {
                    blob,
                    why: why.clone(),
                }),
            }
        }
        (!is_whole).then_some(broken)
    }
}

/// The objects that each version was committed with, and how many versions aren't committed yet.
pub(super) async fn look_up(
    hub: &TeamHub,
    shared: Vec<Shared>,
) -> Result<(Vec<Looked>, usize), Failure> {
    let asked: Vec<_> = stream::iter(shared)
        .map(|shared| async move {
            let named = committed(hub, &shared.entry).await?;
            Ok::<_, Failure>((shared, named))
        })
        .buffered(AT_ONCE)
        .try_collect()
        .await?;
    let mut looked: Vec<Looked> = Vec::new();
    let mut lacking = BTreeSet::new();
    for (shared, named) in asked {
        match named {
            Some(named) => looked.push(Looked { shared, named }),
            None => drop(lacking.insert(shared.version)),
        }
    }
    for version in &looked {
        lacking.remove(&version.shared.version);
    }
    Ok((looked, lacking.len()))
}

/// Downloads and hashes everything. Returns the bad objects and the number of bytes read.
pub(super) async fn examine_all(
    hub: &TeamHub,
    objects: &BTreeSet<ObjectRef>,
    context: &Context,
) -> Result<(Bad, u64), Failure> {
    let total = objects.iter().map(|object| object.id.size).sum();
    let read = AtomicU64::new(0);
    let progress = |len| {
        let read = read.fetch_add(len, Ordering::Relaxed) + len;
        context.report(&Progress::new(Stage::Verifying, read, Some(total)));
    };
    let jobs: Vec<_> = objects
        .iter()
        .map(|object| async {
            let found = hub.client().examine(object, progress).await;
            (*object, found)
        })
        .collect();
    let mut examined = stream::iter(jobs).buffer_unordered(AT_ONCE);
    let mut bad = Bad::new();
    let (mut done, mut unreadable) = (0, 0);
    while let Some((object, found)) = examined.next().await {
        done += 1;
        let finding = match found {
            Ok(Condition::Sound) => continue,
            Ok(Condition::Missing) => Finding::Missing,
            Ok(Condition::Damaged) => Finding::Damaged,
            Err(error) if is_of_one_object(&error) => {
                unreadable += 1;
                let is_outage = unreadable >= OUTAGE_AFTER || unreadable == objects.len();
                if unreadable == done && is_outage {
                    return Err(error.into());
                }
                Finding::Unreadable(error.to_string())
            }
            Err(error) => return Err(error.into()),
        };
        bad.insert(object, finding);
    }
    Ok((bad, read.load(Ordering::Relaxed)))
}

/// Why an object that was put anew still can't be relied on: a server that couldn't read it may fail again.
pub(super) async fn not_mended(hub: &TeamHub, object: &ObjectRef) -> Option<ApiError> {
    let text = match hub.client().examine(object, |_| {}).await {
        Ok(Condition::Sound) => return None,
        Ok(Condition::Missing | Condition::Damaged) => {
            "the bucket took it, and doesn't have it as it was sent".to_owned()
        }
        Err(error) => format!("the bucket took it, and can't be read: {error}"),
    };
    Some(ApiError::new(ErrorCode::Unreachable, text).hint("tell the hub's operator"))
}

/// Whether the failure is about this object alone, so that others may still be read. The hub looks at the object too,
/// before it gives a URL, and a proxy may not wait for that.
fn is_of_one_object(error: &TransferError) -> bool {
    matches!(
        error,
        TransferError::Unavailable { .. }
            | TransferError::Refused { .. }
            | TransferError::Declined { .. }
            | TransferError::Garbled { .. }
            | TransferError::Hub(
                HubClientError::Busy { .. }
                    | HubClientError::BucketRefuses { .. }
                    | HubClientError::NotTheHub { .. }
            )
    )
}

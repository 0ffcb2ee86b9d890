//! What a sweep sees of a bucket, in the order that makes it safe to act on.
//!
//! First objects and markers, then the bucket's own time, and only then what the feeds name: so the sweep
//! sees all that was named before that time. A writer that looked for a marker before it was there has
//! finished by then.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::SystemTime,
};

use bytes::Bytes;
use futures::{StreamExt, TryStreamExt, stream};
use podsync_core::{DeviceId, codec::Format, membership::Roster};

use super::{
    decide::{Objects, Retention, Step, decide},
    references::{DamagedEntry, Feeds, References},
};
use crate::{
    keys::{CONDEMNED, ObjectKey},
    storage::{Listed, Storage, StorageError, list_all},
    stored::{
        HEADS, HeadKey, MAX_HEAD_LEN, MAX_SEGMENT_LEN, SEGMENTS, SegmentRef, StoredHead,
        read_segment,
    },
};

/// Written to learn the bucket's time.
const CLOCK: &str = "gc/clock";
/// How many segments are read at once.
const AT_ONCE: usize = 8;

/// Why a sweep does nothing.
#[derive(Debug, thiserror::Error)]
pub enum GcError {
    #[error(transparent)]
    Storage(#[from] StorageError),
    #[error(transparent)]
    Entry(#[from] DamagedEntry),
    #[error(
        "{0} is damaged, so the hub can't know what it names: put it back from a backup or a replica"
    )]
    Damaged(String),
    /// It was merged into another one while the sweep looked. The next sweep sees the result.
    #[error("the team can't be looked at: {0}")]
    Team(String),
    #[error("{0} went away while it was looked at")]
    Moved(String),
}

/// What there is to do.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    pub objects: usize,
    pub named: usize,
    pub steps: Vec<Step>,
    /// Heads and segments that are superseded.
    pub superseded: Vec<String>,
    /// Bytes that the deletions free.
    pub freed: u64,
}

/// Looks on, once the objects were listed, and decides. Nothing is written but [`CLOCK`].
pub async fn look(
    bucket: &dyn Storage,
    objects: &Objects,
    roster: Option<&Roster>,
    retention: Retention,
) -> Result<Seen, GcError> {
    let now = bucket_time(bucket).await?;
    plan(bucket, objects, now, roster, retention).await
}

/// What [`look`] would decide by the hub's own clock, which may be wrong: nothing is written.
pub async fn preview(
    bucket: &dyn Storage,
    roster: Option<&Roster>,
    retention: Retention,
) -> Result<Seen, GcError> {
    let objects = list_objects(bucket).await?;
    plan(bucket, &objects, SystemTime::now(), roster, retention).await
}

async fn plan(
    bucket: &dyn Storage,
    objects: &Objects,
    now: SystemTime,
    roster: Option<&Roster>,
    retention: Retention,
) -> Result<Seen, GcError> {
    let feeds = read_feeds(bucket).await?;
    let references = read_references(bucket, &feeds).await?;
    let named = references.named(roster);
    let steps = decide(objects, now, &named, retention);
    let freed = steps.iter().filter_map(|step| match step {
        Step::Delete(key) => objects.present.get(key).map(|(_, len)| len),
        Step::Condemn(_) => None,
    });
    Ok(Seen {
        objects: objects.present.len(),
        named: named.len(),
        freed: freed.sum(),
        superseded: feeds.superseded(now),
        steps,
    })
}

/// What all feeds name now.
pub(crate) async fn references(bucket: &dyn Storage) -> Result<References, GcError> {
    let feeds = read_feeds(bucket).await?;
    read_references(bucket, &feeds).await
}

/// The members' objects and their markers: where a look begins.
pub(crate) async fn list_objects(bucket: &dyn Storage) -> Result<Objects, StorageError> {
    let mut objects = Objects::default();
    // Markers first: an object that is condemned meanwhile is seen without one, and that is early enough.
    for marker in list_all(bucket, CONDEMNED).await? {
        if let Some(key) = ObjectKey::of_marker(&marker.key) {
            objects.condemned.insert(key, marker.modified);
        }
    }
    for kind in ObjectKey::KINDS {
        let listed = list_all(bucket, ObjectKey::folder(kind)).await?;
        let known =
            |listed: Listed| Some((listed.key.parse().ok()?, (listed.modified, listed.len)));
        objects.present.extend(listed.into_iter().filter_map(known));
    }
    Ok(objects)
}

/// The bucket's clock: when it says that it was written to just now.
async fn bucket_time(bucket: &dyn Storage) -> Result<SystemTime, GcError> {
    bucket.put(CLOCK, Bytes::new()).await?;
    let now = last_sweep(bucket).await?;
    now.ok_or_else(|| GcError::Moved(CLOCK.to_owned()))
}

/// When a hub began the last sweep, by the bucket's clock; `None` if none did yet.
pub async fn last_sweep(bucket: &dyn Storage) -> Result<Option<SystemTime>, StorageError> {
    let listed = bucket.list(CLOCK, None).await?;
    let clock = listed.objects.iter().find(|object| object.key == CLOCK);
    Ok(clock.map(|clock| clock.modified))
}

/// Segments are listed before heads: so each segment that a head names is listed, or was written since.
async fn read_feeds(bucket: &dyn Storage) -> Result<Feeds, GcError> {
    let segments: BTreeSet<(DeviceId, SegmentRef)> = list_all(bucket, SEGMENTS)
        .await?
        .iter()
        .filter_map(|listed| SegmentRef::of_key(&listed.key, listed.len))
        .collect();
    let mut feeds = Feeds {
        heads: BTreeMap::new(),
        segments,
    };
    for listed in list_all(bucket, HEADS).await? {
        let Ok(key) = listed.key.parse::<HeadKey>() else {
            continue;
        };
        let bytes = bucket.get(&listed.key, MAX_HEAD_LEN as u64).await?;
        let bytes = bytes.ok_or_else(|| GcError::Moved(listed.key.clone()))?;
        let stored =
            StoredHead::decode(&bytes).map_err(|_| GcError::Damaged(listed.key.clone()))?;
        let named = stored.segments.iter().map(|segment| (key.device, *segment));
        feeds.segments.extend(named);
        feeds.heads.insert(key, (listed.modified, stored));
    }
    Ok(feeds)
}

async fn read_references(bucket: &dyn Storage, feeds: &Feeds) -> Result<References, GcError> {
    let mut references = References::default();
    let mut reads = stream::iter(feeds.segments.iter().copied())
        .map(|(device, segment)| async move {
            let key = segment.key(&device);
            let bytes = bucket.get(&key, MAX_SEGMENT_LEN as u64).await?;
            let bytes = bytes.ok_or_else(|| GcError::Moved(key.clone()))?;
            let read = read_segment(&segment, &bytes).map_err(|_| GcError::Damaged(key))?;
            Ok::<_, GcError>((device, segment, read))
        })
        .buffer_unordered(AT_ONCE);
    while let Some((device, segment, read)) = reads.try_next().await? {
        let committed = feeds.is_committed(&device, &segment);
        for entry in read.entries.iter() {
            references.add(device, entry, committed)?;
        }
    }
    Ok(references)
}

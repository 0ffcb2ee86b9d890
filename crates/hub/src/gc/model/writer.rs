//! A device that publishes and drops, and the hub's commit as it sees the bucket.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::Bytes;
use podsync_api::hub::{ObjectId, ObjectKind, ObjectRef, Sha256};
use podsync_core::{
    BlobId, EntryHash, EpochId, PodName, TeamId, VersionId,
    bounded::Bounded,
    codec::Format,
    feed::{BlobRef, Body, Entry, Header, Kind, Publication},
    seal::SecretKey,
};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use serde_bytes::ByteBuf;

use super::{
    bucket::{Committing, SimBucket},
    team,
};
use crate::{
    gc::generation::{COMMIT_DEADLINE, in_use, is_condemned, may_be_named},
    keys::ObjectKey,
    storage::{Storage, StorageError, list_all},
    stored::{
        HeadKey, MAX_SEGMENT_LEN, RECENT, Segment, SegmentRef, StoredEntry, StoredHead,
        read_segment,
    },
};

/// So few that writers often want the same bytes.
const CONTENTS: u8 = 12;

/// What a device has on its own disk: it outlives crashes.
#[derive(Debug, Default)]
pub(super) struct Disk {
    pub(super) made: Vec<Made>,
    /// How many of them are known to be committed.
    pub(super) committed: usize,
    /// Its process: an earlier one's work goes on at the hub, but starts nothing new.
    pub(super) life: u64,
}

#[derive(Debug, Clone)]
pub(super) struct Made {
    pub(super) entry: Entry,
    pub(super) objects: Vec<ObjectId>,
    /// What it ends by right.
    ends: Vec<EntryHash>,
}

#[derive(Clone)]
pub(super) struct Device {
    pub(super) number: u8,
    pub(super) team: TeamId,
    pub(super) disk: Arc<Mutex<Disk>>,
    pub(super) bucket: SimBucket,
    pub(super) tally: Arc<Mutex<super::world::Tally>>,
}

impl Device {
    pub(super) fn disk(&self) -> MutexGuard<'_, Disk> {
        self.disk.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Publishes, drops and mends until its process is another one.
    pub(super) async fn live(self, life: u64, mut chance: ChaCha8Rng) {
        loop {
            let next = {
                let mut disk = self.disk();
                if disk.life != life {
                    return;
                }
                if disk.committed == disk.made.len() {
                    let made = self.make(&disk, &mut chance);
                    disk.made.push(made);
                }
                disk.committed
            };
            if chance.random_bool(0.2) {
                // One that fails is left for the next time.
                let _ = self.mend(&mut chance).await;
            }
            if self.commit(next).await.is_ok_and(|committed| committed) {
                let mut disk = self.disk();
                disk.committed = disk.committed.max(next + 1);
            }
        }
    }

    fn make(&self, disk: &Disk, chance: &mut ChaCha8Rng) -> Made {
        let droppable = chance.random_bool(0.45).then(|| self.droppable(chance));
        let (kind, objects, ends) = match droppable.flatten() {
            Some((entry, ends)) => {
                let kind = Kind::Retire(Bounded::first([entry]));
                (kind, Vec::new(), ends.then_some(entry))
            }
            None => {
                let packs = chance.random_range(1..3);
                let pick = |_| object(ObjectKind::Pack, chance.random_range(0..CONTENTS));
                let mut objects: Vec<_> = (0..packs).map(pick).collect();
                objects.sort();
                objects.dedup();
                let content = objects[0].sha256.as_bytes()[0];
                objects.insert(0, object(ObjectKind::Manifest, content));
                objects.push(object(ObjectKind::Outboards, content));
                (Kind::Publish, objects, None)
            }
        };
        let seq = disk.made.len() as u64 + 1;
        let blobs = objects
            .iter()
            .filter(|object| object.kind != ObjectKind::Outboards)
            .map(|object| BlobRef {
                id: BlobId::of(object.sha256.as_bytes()),
                len: object.size,
            });
        let header = Header {
            team: self.team,
            device: team::device(self.number),
            seq,
            previous: disk.made.last().map(|made| made.entry.hash()),
            membership: Bounded::default(),
            epoch: EpochId::of(b"epoch"),
            blobs: Bounded::first(blobs),
            kind,
        };
        let body = body(&header.kind, seq);
        let key = SecretKey::from_bytes([1; 32]);
        Made {
            entry: Entry::write(&header, &body, &key, chance.random()).unwrap(),
            objects,
            ends: ends.into_iter().collect(),
        }
    }

    /// A live publication, and whether this device may end it: only the admin may end others'.
    fn droppable(&self, chance: &mut ChaCha8Rng) -> Option<(EntryHash, bool)> {
        let live: Vec<EntryHash> = self.bucket.state().truth.live.keys().copied().collect();
        if live.is_empty() {
            return None;
        }
        let entry = live[chance.random_range(0..live.len())];
        let is_own = self
            .bucket
            .state()
            .truth
            .authors
            .get(&entry)
            .is_some_and(|author| *author == self.number);
        Some((entry, is_own || self.number == 0))
    }

    /// Uploads what lacks, and commits. `false` where the bucket refused.
    async fn commit(&self, index: usize) -> Result<bool, StorageError> {
        let made = self.disk().made[index].clone();
        let mut placed = Vec::new();
        for id in &made.objects {
            placed.push(self.upload(id).await?);
        }
        self.hub_commit(&made, &placed).await
    }

    /// Puts right bytes over an object of a version that is there now, as a batch of replacements and a PUT do
    /// it. The version may be dropped and the object gone when they arrive.
    async fn mend(&self, chance: &mut ChaCha8Rng) -> Result<(), StorageError> {
        let named: Vec<ObjectKey> = {
            let state = self.bucket.state();
            state.truth.live.values().flatten().copied().collect()
        };
        if named.is_empty() {
            return Ok(());
        }
        let object = named[chance.random_range(0..named.len())];
        if is_condemned(&self.bucket, &object).await? {
            return Ok(());
        }
        let id = self::object(object.kind, object.sha256.as_bytes()[0]);
        let (key, bytes) = (
            object.to_string(),
            vec![0; usize::try_from(id.size).unwrap()],
        );
        self.bucket.put(&key, bytes.into()).await?;
        let mut tally = self.tally.lock().unwrap();
        tally.mended += 1;
        let live = &self.bucket.state().truth.live;
        tally.mended_late += u64::from(!live.values().any(|named| named.contains(&object)));
        Ok(())
    }

    /// As a batch and a presigned PUT do it.
    async fn upload(&self, id: &ObjectId) -> Result<ObjectRef, StorageError> {
        let generation = in_use(&self.bucket, id.kind, id.sha256).await?;
        let object = ObjectRef {
            id: *id,
            generation,
        };
        let key = ObjectKey::from(&object).to_string();
        if self.bucket.len(&key).await? != Some(id.size) {
            let bytes = Bytes::from(vec![0; usize::try_from(id.size).unwrap()]);
            self.bucket.put(&key, bytes).await?;
        }
        Ok(object)
    }

    async fn hub_commit(&self, made: &Made, placed: &[ObjectRef]) -> Result<bool, StorageError> {
        let begun = self.bucket.now();
        let device = team::device(self.number);
        let seq = made.entry.header().seq;
        let newest = self.newest_head().await?;
        if newest.as_ref().is_some_and(|(key, _)| key.seq >= seq) {
            return Ok(true);
        }
        for object in placed {
            if !may_be_named(&self.bucket, object).await? {
                self.tally.lock().unwrap().refused += 1;
                return Ok(false);
            }
        }
        let (mut segments, mut recent) = newest
            .map(|(_, stored)| (stored.segments.to_vec(), stored.recent.to_vec()))
            .unwrap_or_default();
        recent.push(made.entry.hash());
        let recent = recent.split_off(recent.len().saturating_sub(RECENT));
        let merged = self.merge(&mut segments, made, placed).await?;
        segments.push(merged);
        let stored = StoredHead {
            head: ByteBuf::new(),
            segments: Bounded::new(segments).unwrap(),
            recent: Bounded::first(recent),
        };
        let took = self.bucket.now().duration_since(begun).unwrap_or_default();
        if took > COMMIT_DEADLINE {
            return Ok(false);
        }
        let key = HeadKey {
            device,
            seq,
            entry: made.entry.hash(),
        }
        .to_string();
        let committing = Committing {
            hash: made.entry.hash(),
            author: self.number,
            objects: placed.iter().map(ObjectKey::from).collect::<BTreeSet<_>>(),
            ends: made.ends.clone(),
        };
        // Of one entry two processes may commit two places: the first that lands counts.
        let head = (key, stored.encode());
        self.bucket.put_head(head, committing).await?;
        Ok(true)
    }

    async fn newest_head(&self) -> Result<Option<(HeadKey, StoredHead)>, StorageError> {
        let folder = HeadKey::folder(&team::device(self.number));
        let listed = list_all(&self.bucket, &folder).await?;
        let keys = listed.iter().map(|listed| listed.key.parse().unwrap());
        let Some(newest) = keys.max_by_key(|key: &HeadKey| key.seq) else {
            return Ok(None);
        };
        let bytes = self.bucket.get(&newest.to_string(), u64::MAX).await?;
        let gone = || StorageError::Unavailable("superseded".into());
        let stored = StoredHead::decode(&bytes.ok_or_else(gone)?).unwrap();
        Ok(Some((newest, stored)))
    }

    /// Writes the entry, together with the last segments where these are no longer.
    async fn merge(
        &self,
        segments: &mut Vec<SegmentRef>,
        made: &Made,
        placed: &[ObjectRef],
    ) -> Result<SegmentRef, StorageError> {
        let device = team::device(self.number);
        let place = |object: &ObjectRef| (*object.id.sha256.as_bytes(), object.generation);
        let of = |kind: ObjectKind| placed.iter().filter(move |object| object.id.kind == kind);
        let blobs = of(ObjectKind::Manifest).chain(of(ObjectKind::Pack));
        let outboards = of(ObjectKind::Outboards).map(|object| {
            let (sha256, generation) = place(object);
            (sha256, generation, object.id.size)
        });
        let mut entries = vec![StoredEntry {
            entry: ByteBuf::from(made.entry.bytes().to_vec()),
            objects: Bounded::first(blobs.map(place)),
            outboards: Bounded::first(outboards),
        }];
        let mut first = made.entry.header().seq;
        while let Some(last) = segments
            .last()
            .filter(|last| last.entries() <= entries.len() as u64)
        {
            let key = last.key(&device);
            let bytes = self.bucket.get(&key, MAX_SEGMENT_LEN as u64);
            let gone = || StorageError::Unavailable("a segment went".into());
            let before = read_segment(last, &bytes.await?.ok_or_else(gone)?).unwrap();
            first = last.first;
            entries = before
                .entries
                .into_vec()
                .into_iter()
                .chain(entries)
                .collect();
            segments.pop();
        }
        let last = first + entries.len() as u64 - 1;
        let entries = Bounded::first(entries);
        let bytes = Segment { entries }.encode();
        let named = SegmentRef {
            first,
            last,
            hash: *blake3::hash(&bytes).as_bytes(),
            len: bytes.len() as u64,
        };
        self.bucket.put(&named.key(&device), bytes.into()).await?;
        Ok(named)
    }
}

fn object(kind: ObjectKind, content: u8) -> ObjectId {
    ObjectId {
        kind,
        sha256: Sha256::from_bytes([content; 32]),
        size: u64::from(content) + 1,
    }
}

fn body(kind: &Kind, seq: u64) -> Body {
    let pod = PodName::new("orders").unwrap();
    let version = VersionId::of(&seq.to_le_bytes());
    if *kind != Kind::Publish {
        return Body::Drop { pod, version };
    }
    Body::Publish(Publication {
        pod,
        number: seq,
        version,
        parents: Bounded::default(),
        message: String::new(),
        services: Bounded::default(),
        emulator: None,
        created_ms: 1,
        state_len: 1,
        entry_count: 1,
        tags: Bounded::default(),
        supersedes: Bounded::default(),
    })
}

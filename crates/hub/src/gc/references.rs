//! Which objects the feeds in a bucket name, and which heads and segments nothing needs any more.
//!
//! The hub can't read what an entry says; its clear header lists blobs, and a drop's lists the publications
//! that it ends. What is only half known counts as named: a publication ends by a drop that is committed and
//! whose author may do it now, and by nothing else.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::{Duration, SystemTime},
};

use podsync_core::{
    DeviceId, EntryHash,
    feed::Entry,
    membership::{Role, Roster},
};

use crate::{
    keys::ObjectKey,
    stored::{HeadKey, SegmentRef, StoredEntry, StoredHead},
};

/// How long a replaced head or segment stays: a reader may have just read the head.
pub const SUPERSEDED_FOR: Duration = Duration::from_secs(3600);

/// The feeds of a team, as one listing shows them.
#[derive(Debug, Default)]
pub struct Feeds {
    pub heads: BTreeMap<HeadKey, (SystemTime, StoredHead)>,
    /// Every segment that lies there, whether a head names it or not.
    pub segments: BTreeSet<(DeviceId, SegmentRef)>,
}

impl Feeds {
    /// Whether a head names this segment, so that its entries are committed.
    pub fn is_committed(&self, device: &DeviceId, segment: &SegmentRef) -> bool {
        self.heads_of(device)
            .any(|(_, (_, stored))| stored.segments.iter().any(|named| is_same(named, segment)))
    }

    /// Heads whose feed goes on in a newer one, and then segments that no head names and no commit can
    /// write any more.
    pub fn superseded(&self, now: SystemTime) -> Vec<String> {
        let is_settled = |since: &SystemTime| {
            since
                .checked_add(SUPERSEDED_FOR)
                .is_some_and(|then| then <= now)
        };
        let heads = self.heads.keys().filter(|older| {
            self.heads_of(&older.device)
                .any(|(key, (since, stored))| is_settled(since) && stored.supersedes(key, older))
        });
        let segments = self.segments.iter().filter(|(device, segment)| {
            // Beyond the newest head a commit that failed may be sent again, and then write this very key.
            let is_passed = self
                .heads_of(device)
                .any(|(key, (since, _))| is_settled(since) && key.seq >= segment.last);
            is_passed && !self.is_committed(device, segment)
        });
        let heads = heads.map(HeadKey::to_string);
        heads
            .chain(segments.map(|(device, segment)| segment.key(device)))
            .collect()
    }

    fn heads_of(
        &self,
        device: &DeviceId,
    ) -> impl Iterator<Item = (&HeadKey, &(SystemTime, StoredHead))> {
        let device = *device;
        self.heads
            .iter()
            .filter(move |(key, _)| key.device == device)
    }
}

/// A listing doesn't tell a segment's length apart from its entries'.
fn is_same(a: &SegmentRef, b: &SegmentRef) -> bool {
    (a.first, a.last, a.hash) == (b.first, b.last, b.hash)
}

/// Gathers what entries name.
#[derive(Debug, Default)]
pub struct References {
    by_publication: BTreeMap<EntryHash, Publication>,
    drops: Vec<Drop>,
    /// Two entries with one number: nothing in that feed counts.
    numbers: BTreeMap<(DeviceId, u64), EntryHash>,
    forked: BTreeSet<DeviceId>,
}

#[derive(Debug)]
struct Publication {
    device: DeviceId,
    objects: BTreeSet<ObjectKey>,
}

#[derive(Debug)]
struct Drop {
    device: DeviceId,
    seq: u64,
    hash: EntryHash,
    ended: Vec<EntryHash>,
}

/// An entry that isn't one, in a bucket that only the hub writes to: nothing is decided on it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("an entry of {device} is damaged: {why}")]
pub struct DamagedEntry {
    device: DeviceId,
    why: String,
}

impl References {
    /// Takes in an entry of a device's segment.
    pub fn add(
        &mut self,
        device: DeviceId,
        stored: &StoredEntry,
        committed: bool,
    ) -> Result<(), DamagedEntry> {
        let damaged = |why: String| DamagedEntry { device, why };
        let entry = Entry::decode(&stored.entry).map_err(|error| damaged(error.to_string()))?;
        let header = entry.header();
        if header.device != device {
            return Err(damaged("it is another device's".to_owned()));
        }
        if committed {
            let number = (device, header.seq);
            if *self.numbers.entry(number).or_insert(entry.hash()) != entry.hash() {
                self.forked.insert(device);
            }
        }
        let objects = stored
            .objects()
            .map_err(|error| damaged(error.to_string()))?;
        if !objects.is_empty() {
            let publication = Publication {
                device,
                objects: objects.iter().map(ObjectKey::from).collect(),
            };
            // Of one entry there may be several places: a commit that failed put its packs elsewhere.
            self.by_publication
                .entry(entry.hash())
                .and_modify(|known| known.objects.extend(&publication.objects))
                .or_insert(publication);
        }
        if committed && !entry.retires().is_empty() {
            self.drops.push(Drop {
                device,
                seq: header.seq,
                hash: entry.hash(),
                ended: entry.retires().to_vec(),
            });
        }
        Ok(())
    }

    /// The objects that some publication names which is not dropped. Without a roster nothing is.
    pub fn named(&self, roster: Option<&Roster>) -> BTreeSet<ObjectKey> {
        let ended = roster.map_or_else(BTreeSet::new, |roster| self.ended(roster));
        self.by_publication
            .iter()
            .filter(|(entry, _)| !ended.contains(*entry))
            .flat_map(|(_, publication)| &publication.objects)
            .copied()
            .collect()
    }

    /// The publications that drops end.
    pub fn ended(&self, roster: &Roster) -> BTreeSet<EntryHash> {
        let mut ended = BTreeSet::new();
        for drop in &self.drops {
            let author = roster
                .devices()
                .chain(roster.removed())
                .find(|record| record.device == drop.device);
            let Some(author) = author else { continue };
            let counts = roster.entry_counts(&drop.device, drop.seq, &drop.hash)
                && author.role >= Role::Publisher
                && !self.forked.contains(&drop.device);
            if !counts {
                continue;
            }
            let is_own = |device: &DeviceId| {
                roster
                    .devices()
                    .chain(roster.removed())
                    .any(|record| record.device == *device && record.member == author.member)
            };
            ended.extend(drop.ended.iter().filter(|entry| {
                let publication = self.by_publication.get(entry);
                publication.is_some_and(|publication| {
                    author.role == Role::Admin || is_own(&publication.device)
                })
            }));
        }
        ended
    }
}

//! A node's log: records on disk, and records being written.
//!
//! Only what was acknowledged is sure to survive a crash. Of the rest a crash leaves any prefix:
//! writes reach the disk in order, and one may have done so just before its acknowledgement.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
};

use podsync_core::{
    DeviceId, EntryHash, OpId, TeamId, VersionId,
    engine::{PersistId, Record, Restored},
};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use super::{genesis::Genesis, hash::hash};

/// How a disk behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mood {
    Sound,
    /// Each commit takes this many times as long.
    Slow(u32),
    /// Nothing can be written.
    Failing,
}

/// The key of a record. A later record with the same key replaces it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Key {
    Operation(TeamId, OpId),
    Entry(TeamId, DeviceId, u64, EntryHash),
    Head(TeamId, DeviceId),
    Fork(TeamId, DeviceId),
    Invited(TeamId),
    Private(TeamId, VersionId),
}

#[derive(Debug, Clone)]
pub(super) struct Disk {
    genesis: Arc<Genesis>,
    durable: BTreeMap<Key, Record>,
    /// BLAKE3 of every operation, entry and head that was ever durable.
    ever: BTreeSet<[u8; 32]>,
    waiting: VecDeque<(PersistId, Vec<Record>)>,
    /// Records that could not be written, until a later attempt.
    owed: BTreeSet<Key>,
    /// How many of those that wait are being written.
    writing: usize,
    pub(super) mood: Mood,
}

impl Disk {
    pub(super) fn new(genesis: Arc<Genesis>) -> Self {
        Self {
            genesis,
            durable: BTreeMap::new(),
            ever: BTreeSet::new(),
            waiting: VecDeque::new(),
            owed: BTreeSet::new(),
            writing: 0,
            mood: Mood::Sound,
        }
    }

    pub(super) fn submit(&mut self, id: PersistId, records: Vec<Record>) {
        self.waiting.push_back((id, records));
    }

    /// Starts to write all that waits; false where there is nothing to do, or a write is under way.
    pub(super) fn begin(&mut self) -> bool {
        if self.writing > 0 || self.waiting.is_empty() {
            return false;
        }
        self.writing = self.waiting.len();
        true
    }

    /// Ends the current write. Returns the write ids, the records now durable, and whether it
    /// succeeded.
    pub(super) fn finish(&mut self) -> (Vec<PersistId>, Vec<Record>, bool) {
        let (ids, batches): (Vec<_>, Vec<_>) = self.waiting.drain(..self.writing).unzip();
        self.writing = 0;
        if self.mood == Mood::Failing {
            self.owed.extend(batches.iter().flatten().map(Key::of));
            return (ids, Vec::new(), false);
        }
        let records: Vec<_> = batches.into_iter().flatten().collect();
        records.iter().cloned().for_each(|record| self.file(record));
        (ids, records, true)
    }

    /// Simulates a power failure. Returns records that became durable without an acknowledgement.
    pub(super) fn crash(&mut self, rng: &mut ChaCha8Rng) -> Vec<Record> {
        let survive = if self.mood == Mood::Failing {
            0
        } else {
            rng.random_range(0..=self.waiting.len())
        };
        let records: Vec<_> = self
            .waiting
            .drain(..)
            .take(survive)
            .flat_map(|(_, records)| records)
            .collect();
        self.lose_queue();
        records.iter().cloned().for_each(|record| self.file(record));
        records
    }

    /// Drops unwritten records, as in a copy of the files.
    pub(super) fn lose_queue(&mut self) {
        self.waiting.clear();
        self.owed.clear();
        self.writing = 0;
    }

    pub(super) fn is_idle(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Whether a device's head was to be written and could not be, so that a crash may forget it.
    pub(super) fn owes_head(&self, team: TeamId, device: DeviceId) -> bool {
        self.owed.contains(&Key::Head(team, device))
    }

    /// Whether bytes of this hash are on the disk, or were.
    pub(super) fn has_held(&self, hash: &[u8; 32]) -> bool {
        self.ever.contains(hash) || self.genesis.hashes.contains(hash)
    }

    pub(super) fn holds_private(&self, team: TeamId, version: VersionId) -> bool {
        self.durable.contains_key(&Key::Private(team, version))
    }

    /// What a restart reads, opened again from its bytes.
    pub(super) fn restore(&self) -> impl Iterator<Item = Restored> {
        let later = self.durable.values().map(|record| {
            let opened = record
                .clone()
                .open()
                .expect("what an engine wrote opens again");
            opened.expect("what is gone isn't kept")
        });
        self.genesis.records.iter().cloned().chain(later)
    }

    fn file(&mut self, record: Record) {
        let key = Key::of(&record);
        self.owed.remove(&key);
        match &record {
            Record::Operation { bytes, .. }
            | Record::Entry { bytes, .. }
            | Record::Head { bytes, .. }
            | Record::Fork { bytes, .. } => {
                self.ever.insert(hash(bytes));
            }
            Record::Private { .. } | Record::InviteKey { .. } => {}
            Record::PrivateGone { .. } => {
                self.durable.remove(&key);
                return;
            }
        }
        self.durable.insert(key, record);
    }
}

impl Key {
    fn of(record: &Record) -> Self {
        match record {
            Record::Operation { team, id, .. } => Self::Operation(*team, *id),
            Record::Entry {
                team,
                device,
                seq,
                hash,
                ..
            } => Self::Entry(*team, *device, *seq, *hash),
            Record::Head { team, device, .. } => Self::Head(*team, *device),
            Record::Fork { team, device, .. } => Self::Fork(*team, *device),
            Record::Private { team, version } => Self::Private(*team, version.version),
            Record::InviteKey { team, .. } => Self::Invited(*team),
            Record::PrivateGone { team, version } => Self::Private(*team, *version),
        }
    }
}

//! One device's feed as known here: heads, entries, gaps and forks.
//!
//! Everything rests on *statements*: "entry number s has hash h". A signed head is one, and an entry
//! that is proved makes one about the entry before it. Two statements that disagree are a proof that
//! the device signed two feeds, whatever order they came in. Gaps are normal: the newest entries
//! come first.

use std::{collections::BTreeMap, sync::Arc};

use super::{Entry, Head};
use crate::{
    id::{DeviceId, EntryHash},
    membership::LastEntry,
    signed::Verified,
};

/// The most heads that wait to be found on the chain of the newest one.
const MAX_LOOSE: usize = 8;

/// The feed of one device.
#[derive(Debug)]
pub struct Feed {
    device: DeviceId,
    /// The newest head.
    head: Option<Verified<Head>>,
    /// Heads that the newest one is not yet known to extend, lowest first.
    loose: Vec<Verified<Head>>,
    fork: Option<Fork>,
    /// The stated hash of each number. In a forked feed: the one that came first.
    stated: BTreeMap<u64, EntryHash>,
    /// Numbers with a stated hash and no entry here.
    missing: BTreeMap<u64, EntryHash>,
    /// Proved entries. A forked feed may have several with one number.
    entries: BTreeMap<(u64, EntryHash), Arc<Entry>>,
    /// The branch that an admin picked by removing the device.
    picked: Option<LastEntry>,
}

/// The proof that a device signed two feeds: together with [`Feed::head`] and the entries between.
#[derive(Debug, Clone)]
pub struct Fork {
    /// The number with two stated entries.
    pub seq: u64,
    /// The head of the other branch; none if it was lost in a crash.
    pub other: Option<Verified<Head>>,
}

/// The result of adding a head or an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    New,
    Known,
    /// It proves that the device signed two feeds.
    Forked,
    /// No known head leads to it. It may be honest, but it isn't kept.
    Unwanted,
}

impl Feed {
    pub fn new(device: DeviceId) -> Self {
        Self {
            device,
            head: None,
            loose: Vec::new(),
            fork: None,
            stated: BTreeMap::new(),
            missing: BTreeMap::new(),
            entries: BTreeMap::new(),
            picked: None,
        }
    }

    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// The newest head; it never goes back.
    pub fn head(&self) -> Option<&Verified<Head>> {
        self.head.as_ref()
    }

    /// The head that is kept beside the newest: the other branch of a fork, or the lowest one that
    /// the newest isn't yet known to extend.
    pub fn second_head(&self) -> Option<&Verified<Head>> {
        match &self.fork {
            Some(fork) => fork.other.as_ref(),
            None => self.loose.first(),
        }
    }

    pub fn fork(&self) -> Option<&Fork> {
        self.fork.as_ref()
    }

    /// Whether no entry of this feed counts for now.
    #[cfg(not(podsync_planted = "no-quarantine"))]
    pub fn is_quarantined(&self) -> bool {
        self.fork.is_some()
    }

    #[cfg(podsync_planted = "no-quarantine")]
    pub fn is_quarantined(&self) -> bool {
        false
    }

    /// Adds a head that this device signed.
    pub fn add_head(&mut self, head: Verified<Head>) -> Added {
        debug_assert_eq!(head.signer(), self.device);
        let Head { seq, entry } = *head.value();
        let newest = self.head.as_ref().map_or(0, |head| head.value().seq);
        if self.stated.get(&seq) == Some(&entry) {
            return Added::Known;
        }
        if self.fork.is_some() {
            return Added::Unwanted;
        }
        if seq == 0 || self.loose.len() >= MAX_LOOSE {
            return Added::Unwanted;
        }
        if self.stated.contains_key(&seq) {
            self.forked(seq, Some(head));
            return Added::Forked;
        }
        // State it before storing it as loose: a head that is not known to be on the newest one's
        // chain has to lie below a gap.
        let added = self.state(seq, entry);
        if seq > newest {
            if let Some(old) = self.head.replace(head) {
                self.loosen(old);
            }
        } else {
            self.loosen(head);
        }
        added
    }

    /// Adds an entry, if a head leads to it.
    pub fn add(&mut self, entry: Arc<Entry>) -> Added {
        let header = entry.header();
        let (seq, hash, previous) = (header.seq, entry.hash(), header.previous);
        if self.entries.contains_key(&(seq, hash)) {
            return Added::Known;
        }
        if header.device != self.device
            || !(self.is_stated(seq, &hash) || self.is_picked(seq, &hash))
        {
            return Added::Unwanted;
        }
        self.missing.remove(&seq);
        self.entries.insert((seq, hash), entry);
        match previous.map(|previous| self.state(seq - 1, previous)) {
            Some(Added::Forked) => Added::Forked,
            _ => {
                self.tie_up();
                Added::New
            }
        }
    }

    /// Restores an entry from our own log, which holds only proved ones. A forked feed accepts no
    /// entries otherwise.
    pub fn restore(&mut self, entry: Arc<Entry>) {
        if self.add(entry.clone()) == Added::Unwanted && self.fork.is_some() {
            self.entries
                .insert((entry.header().seq, entry.hash()), entry);
        }
    }

    /// The highest numbers that are missing, as ranges `from..=to`, newest first.
    pub fn gaps(&self) -> Vec<(u64, u64)> {
        if self.fork.is_some() {
            let picked = self.missing_of_picked();
            return picked
                .map(|last| (self.below(last.seq), last.seq))
                .into_iter()
                .collect();
        }
        self.missing
            .keys()
            .rev()
            .map(|&seq| (self.below(seq), seq))
            .collect()
    }

    /// Whether every entry up to the newest head is here.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }

    /// Sets where an admin ended this feed.
    pub fn pick(&mut self, last: Option<LastEntry>) {
        self.picked = last;
    }

    /// Entries `from..=to` of all branches, newest first.
    pub fn range(&self, from: u64, to: u64) -> impl Iterator<Item = &Arc<Entry>> {
        let lowest = (from, EntryHash::from_bytes([0; 32]));
        let highest = (to.max(from), EntryHash::from_bytes([0xff; 32]));
        self.entries
            .range(lowest..=highest)
            .rev()
            .map(|(_, entry)| entry)
    }

    /// Every entry of every branch.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.values()
    }

    /// The newest entry that is here; of a forked feed, of the branch of the newest head.
    pub fn newest_entry(&self) -> Option<&Arc<Entry>> {
        let of_head = self
            .head
            .as_ref()
            .map(Verified::value)
            .and_then(|head| self.get(head.seq, &head.entry));
        of_head.or_else(|| self.entries.values().next_back())
    }

    pub fn get(&self, seq: u64, hash: &EntryHash) -> Option<&Arc<Entry>> {
        self.entries.get(&(seq, *hash))
    }

    /// The entries that count while their device is a member: all, or none of a forked feed.
    pub fn counting(&self) -> Vec<&Arc<Entry>> {
        if self.is_quarantined() {
            Vec::new()
        } else {
            self.entries.values().collect()
        }
    }

    /// The entries that count of a removed device: those that lead up to `last`.
    pub fn counting_up_to(&self, last: Option<LastEntry>) -> Vec<&Arc<Entry>> {
        self.chain_from(last).collect()
    }

    /// Entries here from `last` back to the first gap.
    fn chain_from(&self, last: Option<LastEntry>) -> impl Iterator<Item = &Arc<Entry>> {
        let entry = |seq, hash| self.entries.get(&(seq, hash));
        let first = last.and_then(|last| entry(last.seq, last.hash));
        std::iter::successors(first, move |newer| {
            let header = newer.header();
            header
                .previous
                .and_then(|previous| entry(header.seq - 1, previous))
        })
    }

    fn missing_of_picked(&self) -> Option<LastEntry> {
        let last = self.picked?;
        match self.chain_from(Some(last)).last() {
            None => Some(last),
            Some(oldest) => {
                let header = oldest.header();
                header.previous.map(|hash| LastEntry {
                    seq: header.seq - 1,
                    hash,
                })
            }
        }
    }

    #[cfg(not(podsync_planted = "skip-chain-hash"))]
    fn is_stated(&self, seq: u64, hash: &EntryHash) -> bool {
        self.fork.is_none() && self.missing.get(&seq) == Some(hash)
    }

    #[cfg(podsync_planted = "skip-chain-hash")]
    fn is_stated(&self, seq: u64, _: &EntryHash) -> bool {
        self.fork.is_none() && self.missing.contains_key(&seq)
    }

    fn is_picked(&self, seq: u64, hash: &EntryHash) -> bool {
        self.missing_of_picked()
            .is_some_and(|last| (last.seq, last.hash) == (seq, *hash))
    }

    /// Adds a statement that a signature covers.
    fn state(&mut self, seq: u64, hash: EntryHash) -> Added {
        match self.stated.get(&seq) {
            Some(stated) if *stated == hash => {
                self.tie_up();
                Added::Known
            }
            Some(_) if self.fork.is_some() => Added::Known,
            Some(_) => {
                // Of the heads at or above this number, the newest and a loose one state different
                // hashes.
                let other = self
                    .loose
                    .iter()
                    .find(|head| head.value().seq >= seq)
                    .cloned();
                self.forked(seq, other);
                Added::Forked
            }
            None => {
                self.stated.insert(seq, hash);
                self.missing.insert(seq, hash);
                Added::New
            }
        }
    }

    fn forked(&mut self, seq: u64, other: Option<Verified<Head>>) {
        self.fork = Some(Fork { seq, other });
        self.loose.clear();
        self.missing.clear();
    }

    fn loosen(&mut self, head: Verified<Head>) {
        let place = self
            .loose
            .partition_point(|other| other.value().seq < head.value().seq);
        self.loose.insert(place, head);
        self.tie_up();
    }

    /// Removes loose heads that the newest one turns out to extend.
    fn tie_up(&mut self) {
        // Above the highest gap everything is one chain, which also states the hash at the gap.
        let reach = self.missing.keys().next_back().copied().unwrap_or(0);
        self.loose.retain(|loose| loose.value().seq < reach);
    }

    /// Where a request for what is missing below `seq` begins: after the next entry that is here.
    fn below(&self, seq: u64) -> u64 {
        let upto = (seq, EntryHash::from_bytes([0; 32]));
        self.entries
            .range(..upto)
            .next_back()
            .map_or(1, |((held, _), _)| held + 1)
    }
}

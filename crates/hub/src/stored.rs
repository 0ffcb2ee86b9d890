//! What the hub itself keeps in a bucket: heads and segments of feeds, and the keys of everything but
//! members' objects.
//!
//! An object's key says what the object holds, so replicas never undo each other. A head's object may be
//! written twice with other segments, by two replicas that merged differently; each of them leads to the same
//! entries.

use std::{collections::BTreeSet, fmt, str::FromStr};

use data_encoding::HEXLOWER;
use podsync_api::hub::{
    Committed, MAX_ENTRY_OUTBOARDS, ObjectId, ObjectKind, ObjectRef, Placement, Sha256,
};
use podsync_core::{
    DeviceId, EntryHash, OpId,
    bounded::Bounded,
    codec::{CodecError, Format},
    feed::{Entry, MAX_BLOBS},
};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

pub const MEMBERSHIP: &str = "membership/";
pub const HEADS: &str = "heads/";
pub const LIVENESS: &str = "liveness/";
pub const SEGMENTS: &str = "segments/";
/// The object with a mark that is new after every write of the hub.
pub const CHANGED: &str = "changed";

/// The most entries of a segment.
pub const MAX_SEGMENT_ENTRIES: usize = 1000;
/// The most bytes of a segment: those of the longest commit, whose text has at most 8 MiB.
pub const MAX_SEGMENT_LEN: usize = 8 << 20;
/// The most segments of a feed: those of four million entries.
pub const MAX_SEGMENTS: usize = 4096;
/// How far back a head names its entries' hashes, so that a reader notices a head that is not on its chain.
pub const RECENT: usize = 256;
/// The most bytes of a head's object: its segments at 60 bytes, its hashes, and the signed head.
pub const MAX_HEAD_LEN: usize = 512 << 10;

pub fn operation_key(id: &OpId) -> String {
    format!("{MEMBERSHIP}{id}")
}

pub fn liveness_key(device: &DeviceId) -> String {
    format!("{LIVENESS}{device}")
}

/// The key of a head's object: `heads/DEVICE/SEQ.ENTRYHASH`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct HeadKey {
    pub device: DeviceId,
    pub seq: u64,
    pub entry: EntryHash,
}

impl HeadKey {
    /// The folder of a device's heads.
    pub fn folder(device: &DeviceId) -> String {
        format!("{HEADS}{device}/")
    }
}

impl fmt::Display for HeadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { device, seq, entry } = self;
        write!(f, "{HEADS}{device}/{seq:016x}.{entry}")
    }
}

/// A key that the hub doesn't write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no key that the hub writes")]
pub struct ParseKeyError;

impl FromStr for HeadKey {
    type Err = ParseKeyError;

    fn from_str(key: &str) -> Result<Self, ParseKeyError> {
        let parts = || {
            let (device, name) = key.strip_prefix(HEADS)?.split_once('/')?;
            let (seq, entry) = name.split_once('.')?;
            Some(Self {
                device: device.parse().ok()?,
                seq: u64::from_str_radix(seq, 16).ok()?,
                entry: entry.parse().ok()?,
            })
        };
        parts()
            .filter(|parsed| parsed.to_string() == key)
            .ok_or(ParseKeyError)
    }
}

/// A run of entries of a feed, as a head names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct SegmentRef {
    pub first: u64,
    pub last: u64,
    /// BLAKE3 of its bytes.
    pub hash: [u8; 32],
    /// Bytes.
    pub len: u64,
}

impl SegmentRef {
    /// `segments/DEVICE/SEQ-SEQ.BLAKE3`
    pub fn key(&self, device: &DeviceId) -> String {
        let Self { first, last, .. } = self;
        let hash = HEXLOWER.encode(&self.hash);
        format!("{SEGMENTS}{device}/{first:016x}-{last:016x}.{hash}")
    }

    /// The segment of a key in a listing.
    pub fn of_key(key: &str, len: u64) -> Option<(DeviceId, Self)> {
        let (device, name) = key.strip_prefix(SEGMENTS)?.split_once('/')?;
        let (range, hash) = name.split_once('.')?;
        let (first, last) = range.split_once('-')?;
        let device = device.parse().ok()?;
        let segment = Self {
            first: u64::from_str_radix(first, 16).ok()?,
            last: u64::from_str_radix(last, 16).ok()?,
            hash: HEXLOWER.decode(hash.as_bytes()).ok()?.try_into().ok()?,
            len,
        };
        (segment.key(&device) == key).then_some((device, segment))
    }

    pub fn entries(&self) -> u64 {
        self.last.saturating_sub(self.first).saturating_add(1)
    }
}

/// The object of a head.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredHead {
    /// The signed head.
    pub head: ByteBuf,
    /// From entry 1 to the head's, without a gap.
    pub segments: Bounded<SegmentRef, MAX_SEGMENTS>,
    /// The hashes of the last entries; the head's own is the last.
    pub recent: Bounded<EntryHash, RECENT>,
}

impl Format for StoredHead {
    const NAME: &'static str = "stored head";
    const VERSION: u8 = 1;
    const MAX_LEN: usize = MAX_HEAD_LEN;
}

impl StoredHead {
    /// The hash of entry `seq` on the chain that ends at `newest`; `None` if that is too long ago.
    pub fn hash_at(&self, newest: u64, seq: u64) -> Option<EntryHash> {
        let back = usize::try_from(newest.checked_sub(seq)?).ok()?;
        let at = self.recent.len().checked_sub(back + 1)?;
        self.recent.get(at).copied()
    }

    /// Whether the head of `older` may go once this one, of `key`, is there: it lies on its chain. What
    /// doesn't is the proof of a fork, and stays.
    pub fn supersedes(&self, key: &HeadKey, older: &HeadKey) -> bool {
        older.seq < key.seq
            && self
                .hash_at(key.seq, older.seq)
                .is_none_or(|hash| hash == older.entry)
    }
}

/// A run of entries with the places of their blobs.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Segment {
    pub entries: Bounded<StoredEntry, MAX_SEGMENT_ENTRIES>,
}

impl Format for Segment {
    const NAME: &'static str = "feed segment";
    const VERSION: u8 = 1;
    const MAX_LEN: usize = MAX_SEGMENT_LEN;
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StoredEntry {
    pub entry: ByteBuf,
    /// One for each blob of the header: SHA-256 and generation.
    pub objects: Bounded<([u8; 32], u32), MAX_BLOBS>,
    /// SHA-256, generation and length.
    pub outboards: Bounded<([u8; 32], u32, u64), MAX_ENTRY_OUTBOARDS>,
}

impl From<&Committed> for StoredEntry {
    fn from(committed: &Committed) -> Self {
        let place = |placement: &Placement| (*placement.sha256.as_bytes(), placement.generation);
        let outboards = |object: &ObjectRef| {
            let ObjectRef { id, generation } = object;
            (*id.sha256.as_bytes(), *generation, id.size)
        };
        Self {
            entry: ByteBuf::from(&committed.entry[..]),
            objects: Bounded::first(committed.objects.iter().map(place)),
            outboards: Bounded::first(committed.outboards.iter().map(outboards)),
        }
    }
}

impl From<&StoredEntry> for Committed {
    fn from(stored: &StoredEntry) -> Self {
        let place = |(sha256, generation): &([u8; 32], u32)| Placement {
            sha256: Sha256::from_bytes(*sha256),
            generation: *generation,
        };
        Self {
            entry: (&stored.entry[..]).into(),
            objects: stored.objects.iter().map(place).collect(),
            outboards: stored.outboard_objects().collect(),
        }
    }
}

impl StoredEntry {
    /// Every object that this entry names.
    pub fn objects(&self) -> Result<BTreeSet<ObjectRef>, podsync_core::feed::EntryError> {
        let entry = Entry::decode(&self.entry)?;
        let blobs = entry.header().blobs.iter().zip(self.objects.iter());
        let named = blobs
            .enumerate()
            .map(|(at, (blob, (sha256, generation)))| ObjectRef {
                id: ObjectId {
                    kind: if at == 0 {
                        ObjectKind::Manifest
                    } else {
                        ObjectKind::Pack
                    },
                    sha256: Sha256::from_bytes(*sha256),
                    size: blob.len,
                },
                generation: *generation,
            });
        Ok(named.chain(self.outboard_objects()).collect())
    }

    fn outboard_objects(&self) -> impl Iterator<Item = ObjectRef> {
        self.outboards
            .iter()
            .map(|(sha256, generation, size)| ObjectRef {
                id: ObjectId {
                    kind: ObjectKind::Outboards,
                    sha256: Sha256::from_bytes(*sha256),
                    size: *size,
                },
                generation: *generation,
            })
    }
}

/// Reads a segment that a head named.
pub fn read_segment(named: &SegmentRef, bytes: &[u8]) -> Result<Segment, CodecError> {
    let segment = Segment::decode(bytes)?;
    let fits = *blake3::hash(bytes).as_bytes() == named.hash
        && segment.entries.len() as u64 == named.entries();
    if fits {
        Ok(segment)
    } else {
        Err(CodecError::Malformed {
            format: Segment::NAME,
        })
    }
}

#[cfg(test)]
mod tests;

//! `/podsync/blobs/1`: ranges of blobs, verified as they arrive.
//!
//! The asker sends a length and an iroh-blobs `GetRequest` for one blob. The provider sends a
//! status byte and, if it is 0, the iroh-blobs answer: the size, then parents and leaves in groups
//! of 16 KiB. Length and status are ours. Yamux has no error codes for streams: a provider learns of a
//! dropped stream only if the asker had not closed its side.

pub(crate) mod fetch;
pub(crate) mod files;
pub(crate) mod provide;
mod wire;

use std::time::Duration;

use iroh_blobs::Hash;
use libp2p::StreamProtocol;
use podsync_core::BlobId;

pub(crate) const PROTOCOL: StreamProtocol = StreamProtocol::new("/podsync/blobs/1");

/// The smallest unit of verification, and so the granularity of every range.
const GROUP: u64 = 16 * 1024;

/// Bytes of the unit that requests count in.
const CHUNK: u64 = 1024;

/// A stream on which nothing moves for this long is cut.
const STALLED_AFTER: Duration = Duration::from_secs(30);

/// The first byte of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Status {
    Granted = 0,
    Refused = 1,
    Busy = 2,
    Absent = 3,
    /// The provider found its own copy damaged.
    Damaged = 4,
}

/// The status for a peer that is refused unread.
pub(crate) const REFUSED: u8 = Status::Refused as u8;
pub(crate) const BUSY: u8 = Status::Busy as u8;

impl Status {
    fn from_byte(byte: u8) -> Option<Self> {
        [
            Self::Granted,
            Self::Refused,
            Self::Busy,
            Self::Absent,
            Self::Damaged,
        ]
        .into_iter()
        .find(|status| *status as u8 == byte)
    }
}

fn hash_of(blob: BlobId) -> Hash {
    Hash::from_bytes(*blob.as_bytes())
}

fn blob_of(hash: Hash) -> BlobId {
    BlobId::from_bytes(*hash.as_bytes())
}

//! Checks an object in the bucket: reads and hashes all of it, piece by piece. It is read in ranges like
//! a pull, so a server with odd range answers shows here too.
//!
//! It is read as a pull reads it, in ranges: a server that answers those in an odd way shows here too.

use std::ops::Range;

use podsync_api::hub::ObjectRef;
use sha2::Digest;

use crate::{Hub, TransferError, download::Reader};

/// Read at once; what an examination holds in memory is little more.
const PIECE: u64 = 256 << 10;

/// The result of examining an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    Sound,
    Missing,
    /// Its bytes don't match its hash.
    Damaged,
}

impl Hub {
    /// Reads an object of an exact generation. `progress` gets the length of each piece.
    pub async fn examine(
        &self,
        object: &ObjectRef,
        progress: impl Fn(u64) + Send + Sync,
    ) -> Result<Condition, TransferError> {
        let id = object.id;
        let mut reader = Reader::new(self, id, Some(object.generation));
        reader.plan(halves(id.size).into_iter());
        let mut hash = sha2::Sha256::new();
        let mut offset = 0;
        let middle = middle(id.size);
        while offset < id.size {
            let end = if offset < middle { middle } else { id.size };
            let len = PIECE.min(end - offset);
            let piece = match reader.read(offset, len).await {
                Ok(piece) => piece,
                Err(TransferError::NotFound { .. }) => return Ok(Condition::Missing),
                // Another length means other bytes.
                Err(TransferError::Liar { .. }) => return Ok(Condition::Damaged),
                Err(error) => return Err(error),
            };
            hash.update(&piece);
            offset += len;
            progress(len);
        }
        Ok(if hash.finalize().as_slice() == id.sha256.as_bytes() {
            Condition::Sound
        } else {
            Condition::Damaged
        })
    }
}

/// Two ranges that cover the object. An object of one piece is read whole, as in a pull.
fn halves(size: u64) -> Vec<Range<u64>> {
    let middle = middle(size);
    let halves = [0..middle, middle..size];
    halves.into_iter().filter(|half| !half.is_empty()).collect()
}

fn middle(size: u64) -> u64 {
    if size <= PIECE { 0 } else { size / 2 }
}

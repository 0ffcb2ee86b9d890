//! The outboards object: the hash trees of a version's new packs, one after the other.
//!
//! `docs/hub-protocol.md` describes its bytes. Nothing in it is trusted: each node of a tree is verified up
//! to the BLAKE3 in a signed manifest.

mod build;
mod find;
mod known;

use std::ops::Range;

use bao_tree::{BaoTree, BlockSize};
use podsync_api::hub::MAX_OUTBOARDS_LEN;
use podsync_core::{BlobId, manifest::PACK_MAX_LEN};

pub use self::build::{Built, OutboardsBuilder, PackRead, pack_outboard};
pub(crate) use self::known::Known;

/// The smallest unit of verification.
pub const GROUP: u64 = 16 << 10;
pub(crate) const BLOCK: BlockSize = BlockSize::from_chunk_log(4);

/// The most packs of an object.
pub const MAX_PACKS: usize = 8192;

const VERSION: u8 = 1;
const COUNT_LEN: usize = 4;
const HEAD_LEN: usize = 1 + COUNT_LEN;
const ROW_LEN: usize = 32 + 8;

/// Bytes that aren't the beginning of an outboards object.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum IndexError {
    #[error("these outboards are of version {0}; update podsync")]
    Version(u8),
    #[error("these outboards are cut off")]
    Short,
    #[error("these outboards list more packs than there may be")]
    TooMany,
    #[error("these outboards list a pack of an impossible length")]
    Length,
    #[error("these outboards have another length than their packs ask for")]
    Size,
}

/// Which packs an outboards object covers, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboardsIndex {
    packs: Vec<(BlobId, u64)>,
}

impl OutboardsIndex {
    /// The length of the index of an object that begins with `head`.
    pub fn len_of(head: &[u8]) -> Result<usize, IndexError> {
        let (version, rest) = head.split_first().ok_or(IndexError::Short)?;
        if *version != VERSION {
            return Err(IndexError::Version(*version));
        }
        let count = rest.first_chunk().ok_or(IndexError::Short)?;
        let count = u32::from_le_bytes(*count) as usize;
        if count > MAX_PACKS {
            return Err(IndexError::TooMany);
        }
        Ok(HEAD_LEN + count * ROW_LEN)
    }

    /// Reads the index at the beginning of an object of `size` bytes.
    pub fn decode(bytes: &[u8], size: u64) -> Result<Self, IndexError> {
        let len = Self::len_of(bytes)?;
        let rows = bytes.get(HEAD_LEN..len).ok_or(IndexError::Short)?;
        let rows = rows.as_chunks::<ROW_LEN>().0;
        let mut packs = Vec::with_capacity(rows.len());
        for row in rows {
            let (Some(id), Some(len)) = (row.first_chunk(), row.last_chunk()) else {
                return Err(IndexError::Short);
            };
            let len = u64::from_le_bytes(*len);
            if len == 0 || len > PACK_MAX_LEN {
                return Err(IndexError::Length);
            }
            packs.push((BlobId::from_bytes(*id), len));
        }
        let index = Self { packs };
        if index.object_len() != size || size > MAX_OUTBOARDS_LEN {
            return Err(IndexError::Size);
        }
        Ok(index)
    }

    pub fn packs(&self) -> &[(BlobId, u64)] {
        &self.packs
    }

    /// The range of a pack's outboard in the object.
    pub fn find(&self, pack: BlobId, len: u64) -> Option<Range<u64>> {
        self.places()
            .find(|(there, _)| *there == (pack, len))
            .map(|(_, place)| place)
    }

    /// Each pack with the range of its outboard.
    pub(crate) fn places(&self) -> impl Iterator<Item = ((BlobId, u64), Range<u64>)> {
        let mut begin = self.len() as u64;
        self.packs.iter().map(move |pack| {
            let end = begin + outboard_len(pack.1);
            (*pack, std::mem::replace(&mut begin, end)..end)
        })
    }

    fn len(&self) -> usize {
        HEAD_LEN + self.packs.len() * ROW_LEN
    }

    fn object_len(&self) -> u64 {
        object_len(self.packs.iter().map(|(_, len)| *len))
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.len());
        bytes.push(VERSION);
        // At most MAX_PACKS.
        bytes.extend_from_slice(&(self.packs.len() as u32).to_le_bytes());
        for (id, len) in &self.packs {
            bytes.extend_from_slice(id.as_bytes());
            bytes.extend_from_slice(&len.to_le_bytes());
        }
        bytes
    }
}

/// Bytes of the object that covers packs of these lengths.
pub fn object_len(packs: impl Iterator<Item = u64>) -> u64 {
    let rows = packs.map(|len| ROW_LEN as u64 + outboard_len(len));
    HEAD_LEN as u64 + rows.sum::<u64>()
}

/// Bytes of the outboard of a blob.
pub(crate) fn outboard_len(len: u64) -> u64 {
    BaoTree::new(len, BLOCK).outboard_size()
}

#[cfg(test)]
mod tests;

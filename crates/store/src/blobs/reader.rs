//! Random reads from a held blob: straight from its file, without a task in between.
//!
//! A partially held blob is a file with holes, and a hole reads as zeros. So units that aren't held
//! are refused before the read.

use std::{fs::File, os::unix::fs::FileExt, path::PathBuf};

use bytes::Bytes;
use podsync_core::{
    BlobId,
    units::{UNIT_LEN, Units},
};

use crate::{Holding, StoreError};

/// An open blob. It stays readable even if it is deleted meanwhile.
#[derive(Debug)]
pub struct BlobReader {
    id: BlobId,
    holding: Holding,
    source: Source,
}

#[derive(Debug)]
enum Source {
    File { file: File, path: PathBuf },
    Memory(Bytes),
}

impl BlobReader {
    pub(super) fn file(
        id: BlobId,
        file: File,
        path: PathBuf,
        holding: Holding,
    ) -> Result<Self, StoreError> {
        let found = file.metadata().map_err(StoreError::read(&path))?.len();
        let sound = if holding.is_whole() {
            found == holding.len
        } else {
            found >= held_end(holding)
        };
        if !sound {
            return Err(StoreError::Corrupt { id });
        }
        Ok(Self {
            id,
            holding,
            source: Source::File { file, path },
        })
    }

    pub(super) fn memory(id: BlobId, bytes: Bytes) -> Self {
        Self {
            id,
            holding: Holding::whole(bytes.len() as u64),
            source: Source::Memory(bytes),
        }
    }

    pub fn id(&self) -> BlobId {
        self.id
    }

    /// Bytes of the whole blob.
    pub fn len(&self) -> u64 {
        self.holding.len
    }

    pub fn is_empty(&self) -> bool {
        self.holding.len == 0
    }

    /// Fills `buffer` with the bytes at `offset`. It blocks, and takes `&self`: threads can share
    /// one reader.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        let (len, max) = (buffer.len() as u64, self.holding.len);
        let end = offset.checked_add(len).filter(|end| *end <= max);
        let Some(end) = end else {
            return Err(StoreError::TooLarge {
                what: "a read from a blob",
                len: offset.saturating_add(len),
                max,
            });
        };
        let range = offset..end;
        if !self
            .holding
            .units
            .contains(Units::covering(range.clone(), max))
        {
            return Err(StoreError::PartlyHeld { id: self.id, range });
        }
        match &self.source {
            Source::File { file, path } => file
                .read_exact_at(buffer, offset)
                .map_err(StoreError::read(path)),
            Source::Memory(bytes) => {
                // Both fit: they are at most the length of bytes in memory.
                buffer.copy_from_slice(&bytes[offset as usize..end as usize]);
                Ok(())
            }
        }
    }
}

/// Where the last byte that is held ends.
fn held_end(holding: Holding) -> u64 {
    let last = holding.units.runs().last();
    last.map_or(0, |run| (run.end * UNIT_LEN).min(holding.len))
}

//! Random reads from a blob that is held: straight from its file, with no task in between.

use std::{fs::File, os::unix::fs::FileExt, path::PathBuf};

use bytes::Bytes;
use podsync_core::BlobId;

use crate::StoreError;

/// An open blob. It stays readable even if it is deleted meanwhile.
#[derive(Debug)]
pub struct BlobReader {
    id: BlobId,
    len: u64,
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
        len: u64,
    ) -> Result<Self, StoreError> {
        let found = file.metadata().map_err(StoreError::read(&path))?.len();
        if found != len {
            return Err(StoreError::Corrupt { id });
        }
        Ok(Self {
            id,
            len,
            source: Source::File { file, path },
        })
    }

    pub(super) fn memory(id: BlobId, bytes: Bytes) -> Self {
        Self {
            id,
            len: bytes.len() as u64,
            source: Source::Memory(bytes),
        }
    }

    pub fn id(&self) -> BlobId {
        self.id
    }

    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Fills `buffer` with the bytes at `offset`. It blocks, and takes `&self`: threads can share
    /// one reader.
    pub fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<(), StoreError> {
        let len = buffer.len() as u64;
        let end = offset.checked_add(len).filter(|end| *end <= self.len);
        let Some(end) = end else {
            return Err(StoreError::TooLarge {
                what: "a read from a blob",
                len: offset.saturating_add(len),
                max: self.len,
            });
        };
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

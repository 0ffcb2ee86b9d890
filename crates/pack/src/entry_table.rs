//! The entry table while a state is read: spooled rows, counts, and the content hash.

use std::{fs::File, io, path::Path};

use podsync_core::{
    ContentHash,
    manifest::{Container, MAX_ENTRIES},
};

use crate::{
    entry::{ContentHasher, Entry},
    source::SourceError,
    spool::Spool,
};

pub(crate) struct EntryTable {
    spool: Spool,
    content: ContentHasher,
    count: u64,
    state_len: u64,
    row: Vec<u8>,
}

impl EntryTable {
    pub(crate) fn new(folder: &Path) -> io::Result<Self> {
        Ok(Self {
            spool: Spool::new(folder)?,
            content: ContentHasher::new(),
            count: 0,
            state_len: 0,
            row: Vec::new(),
        })
    }

    /// Entries come in the order of their names.
    pub(crate) fn add(&mut self, entry: &Entry) -> Result<(), SourceError> {
        if self.count == MAX_ENTRIES {
            return Err(SourceError::TooManyEntries);
        }
        self.count += 1;
        self.state_len += entry.len();
        self.content.add(entry);
        self.row.clear();
        entry.encode_into(&mut self.row);
        self.spool.write(&self.row).map_err(SourceError::Spool)
    }

    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    pub(crate) fn state_len(&self) -> u64 {
        self.state_len
    }

    pub(crate) fn content(&self, container: Container, chunk_ids: &blake3::Hash) -> ContentHash {
        let container: &[u8] = match container {
            Container::Folder => b"folder",
            Container::Zip => b"zip",
            Container::File => b"file",
        };
        self.content.finish(container, chunk_ids)
    }

    pub(crate) fn into_reader(self) -> io::Result<File> {
        self.spool.into_reader()
    }
}

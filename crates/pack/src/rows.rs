//! A state's chunk rows during a save: spooled, and searchable for repeated chunks.

use std::{collections::HashMap, io, path::Path};

use podsync_core::{
    ChunkId,
    manifest::{ChunkLocation, MAX_CHUNKS},
};

use crate::{
    error::SaveError, known::prefix, spool::RowSpool, stream::ChunkRows, writer::NEW_PACK,
};

/// The most new chunks to remember for deduplication. Later ones are stored again if they repeat.
const MAX_SEEN: usize = 1 << 20;

pub(crate) struct StateRows {
    pub(crate) spool: RowSpool,
    /// The first eight bytes of a new chunk's id and its row.
    seen: HashMap<u64, u32>,
    ids: blake3::Hasher,
}

impl StateRows {
    pub(crate) fn new(folder: &Path) -> io::Result<Self> {
        Ok(Self {
            spool: RowSpool::new(folder)?,
            seen: HashMap::new(),
            ids: blake3::Hasher::new(),
        })
    }

    /// The hash over all ids in stream order.
    pub(crate) fn ids(&self) -> blake3::Hash {
        self.ids.finalize()
    }
}

impl ChunkRows for StateRows {
    fn seen(&self, id: &ChunkId) -> io::Result<Option<ChunkLocation>> {
        let Some(row) = self.seen.get(&prefix(id)) else {
            return Ok(None);
        };
        let location = self.spool.get(u64::from(*row))?;
        Ok((location.id == *id).then_some(location))
    }

    fn push(&mut self, location: ChunkLocation) -> Result<(), SaveError> {
        let row = self.spool.len();
        if row == MAX_CHUNKS {
            return Err(SaveError::TooLarge);
        }
        // Known chunks are found through the index.
        if location.pack & NEW_PACK != 0 && self.seen.len() < MAX_SEEN {
            let row = u32::try_from(row).expect("MAX_CHUNKS is far below 2^32");
            self.seen.entry(prefix(&location.id)).or_insert(row);
        }
        self.ids.update(location.id.as_bytes());
        self.spool.push(&location).map_err(SaveError::Spool)
    }
}

//! Chunks that are already stored and need not be sealed again.
//!
//! An index takes sixteen bytes a chunk in memory; the rows are in an unlinked file.

use std::{collections::HashMap, io, path::Path};

use podsync_core::{
    BlobId, ChunkId,
    manifest::{ChunkLocation, Manifest, PackRef},
};

use crate::{
    read::{PackReader, ReadError, Version},
    spool::RowSpool,
};

/// Chunks that a new version may reuse.
pub trait KnownChunks: Sync {
    /// The packs of these chunks, the parent's first and in its order. Packs in use keep their index,
    /// so that an unchanged table stays the same bytes.
    fn packs(&self) -> &[PackRef];

    /// Where a chunk lies; [`ChunkLocation::pack`] indexes [`Self::packs`].
    fn locate(&self, id: &ChunkId) -> io::Result<Option<ChunkLocation>>;
}

/// The base of a save: earlier chunks to reuse.
#[derive(Clone, Copy)]
pub struct Base<'a> {
    pub chunks: &'a dyn KnownChunks,
    /// Where the known packs lie, for chunks that are moved to keep a version in few packs.
    pub packs: &'a dyn PackReader,
}

impl Base<'_> {
    /// Nothing: every chunk is new.
    pub const EMPTY: Base<'static> = Base {
        chunks: &Nothing,
        packs: &Nothing,
    };
}

struct Nothing;

impl KnownChunks for Nothing {
    fn packs(&self) -> &[PackRef] {
        &[]
    }

    fn locate(&self, _: &ChunkId) -> io::Result<Option<ChunkLocation>> {
        Ok(None)
    }
}

impl PackReader for Nothing {
    fn read(&self, _: &PackRef, _: u64, _: &mut [u8]) -> io::Result<()> {
        Err(io::ErrorKind::NotFound.into())
    }
}

/// The chunks of some versions, tables included.
pub struct ChunkIndex {
    packs: Vec<PackRef>,
    rows: RowSpool,
    /// The first eight bytes of a chunk's id and its row, sorted.
    index: Vec<(u64, u32)>,
}

impl ChunkIndex {
    /// Indexes `versions`, the parent first. All units that they need must be held. `spool` is a
    /// folder for an unlinked file.
    pub fn new(
        versions: &[&Manifest],
        packs: &dyn PackReader,
        spool: &Path,
    ) -> Result<Self, ReadError> {
        let mut this = Self {
            packs: Vec::new(),
            rows: RowSpool::new(spool)?,
            index: Vec::new(),
        };
        let mut places = HashMap::new();
        for manifest in versions {
            let map: Vec<u32> = manifest
                .packs
                .iter()
                .map(|pack| this.place(&mut places, pack))
                .collect();
            for chunk in Version::new(manifest, packs).chunks()? {
                this.add(&map, chunk?)?;
            }
            for chunk in manifest
                .entries
                .chunks
                .iter()
                .chain(&manifest.chunks.chunks)
            {
                this.add(&map, *chunk)?;
            }
        }
        this.index.sort_unstable();
        Ok(this)
    }

    fn place(&mut self, places: &mut HashMap<BlobId, u32>, pack: &PackRef) -> u32 {
        *places.entry(pack.id).or_insert_with(|| {
            self.packs.push(pack.clone());
            (self.packs.len() - 1) as u32
        })
    }

    fn add(&mut self, map: &[u32], chunk: ChunkLocation) -> Result<(), ReadError> {
        let row = u32::try_from(self.rows.len())
            .map_err(|_| ReadError::Unsound("it has too many chunks"))?;
        let pack = *map.get(chunk.pack as usize).ok_or(ReadError::Unsound(
            "a chunk lies in a pack that is not listed",
        ))?;
        self.index.push((prefix(&chunk.id), row));
        Ok(self.rows.push(&ChunkLocation { pack, ..chunk })?)
    }
}

impl KnownChunks for ChunkIndex {
    fn packs(&self) -> &[PackRef] {
        &self.packs
    }

    fn locate(&self, id: &ChunkId) -> io::Result<Option<ChunkLocation>> {
        let wanted = prefix(id);
        let begin = self.index.partition_point(|(prefix, _)| *prefix < wanted);
        for (_, row) in self.index[begin..]
            .iter()
            .take_while(|(prefix, _)| *prefix == wanted)
        {
            let chunk = self.rows.get(u64::from(*row))?;
            if chunk.id == *id {
                return Ok(Some(chunk));
            }
        }
        Ok(None)
    }
}

/// A prefix of the id to find its row. Compare the whole id of the row found.
pub(crate) fn prefix(id: &ChunkId) -> u64 {
    u64::from_le_bytes(id.as_bytes()[..8].try_into().expect("eight bytes"))
}

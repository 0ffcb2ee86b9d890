//! Rewrites a version into other packs: needed to share a private version.
//!
//! Chunks in the packs to leave are sealed again in new packs, and the chunk table is rewritten.
//! Entries, content and all other packs stay the same.

use std::{
    collections::{BTreeSet, HashMap},
    io,
};

use podsync_core::{
    BlobId, ChunkId,
    manifest::{ChunkLocation, PackRef},
};

use crate::{
    draft::{Draft, Head},
    error::SaveError,
    fold,
    known::{Base, KnownChunks},
    progress::Progress,
    read::{ReadError, Version},
    save::{SaveOptions, with_packs},
    saved::SavedState,
    spool::RowSpool,
    stream::Placer,
    writer::PackSink,
};

/// Rewrites `version` without the packs in `leave`.
pub fn rewrite(
    version: Version<'_>,
    leave: &BTreeSet<BlobId>,
    sink: &mut dyn PackSink,
    options: &SaveOptions<'_>,
    entropy: &mut dyn FnMut() -> [u8; 32],
    progress: &dyn Progress,
) -> Result<SavedState, SaveError> {
    let manifest = version.manifest;
    let left: Vec<bool> = manifest
        .packs
        .iter()
        .map(|pack| leave.contains(&pack.id))
        .collect();
    let stays = |chunk: &&ChunkLocation| left.get(chunk.pack as usize) == Some(&false);
    let kept = KeptChunks {
        packs: &manifest.packs,
        table: manifest
            .chunks
            .chunks
            .iter()
            .filter(stays)
            .map(|chunk| (chunk.id, *chunk))
            .collect(),
    };
    let base = Base {
        chunks: &kept,
        packs: version.packs,
    };
    let (draft, written) = with_packs(sink, entropy, |writer| {
        let mut placer = Placer::new(base, writer, progress);
        let mut rows = RowSpool::new(options.spool)?;
        let mut head = Head {
            container: manifest.container,
            state_len: manifest.state_len,
            entry_count: manifest.entry_count,
            content: manifest.content,
            entries: manifest.entries.chunks.clone(),
        };
        for chunk in version.chunks()? {
            let chunk = chunk?;
            placer.drawn[chunk.pack as usize] += u64::from(chunk.sealed_len);
            rows.push(&chunk)?;
        }
        for chunk in &head.entries {
            let drawn = placer.drawn.get_mut(chunk.pack as usize);
            *drawn.ok_or(ReadError::Unsound(
                "a table lies in a pack that is not listed",
            ))? += u64::from(chunk.sealed_len);
        }
        fold::move_chunks(
            &mut placer,
            &mut rows,
            &mut head.entries,
            &left,
            options.spool,
        )?;
        Draft::new(placer, rows, head)
    })?;
    Ok(draft.into_saved(&manifest.packs, &written))
}

/// The version's own packs, and those of its chunk table's chunks that may stay where they are.
struct KeptChunks<'m> {
    packs: &'m [PackRef],
    table: HashMap<ChunkId, ChunkLocation>,
}

impl KnownChunks for KeptChunks<'_> {
    fn packs(&self) -> &[PackRef] {
        self.packs
    }

    fn locate(&self, id: &ChunkId) -> io::Result<Option<ChunkLocation>> {
        Ok(self.table.get(id).copied())
    }
}

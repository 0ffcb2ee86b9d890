//! A version with all chunks placed and no pack ids yet.
//!
//! Encoding the chunk table places the last chunks and needs every pack's index. So indices are fixed
//! first, and a pack that only the chunk table uses comes last.

use podsync_core::{
    ContentHash,
    manifest::{ChunkLocation, Container, PackRef, Table},
};

use crate::{
    error::SaveError,
    saved::{SaveStats, SavedState},
    slots::Slots,
    spool::RowSpool,
    stream::{Halt, Placer},
};

/// The data of a state before its chunk table is written.
pub(crate) struct Head {
    pub(crate) container: Container,
    pub(crate) state_len: u64,
    pub(crate) entry_count: u64,
    pub(crate) content: ContentHash,
    /// The entry table's chunks.
    pub(crate) entries: Vec<ChunkLocation>,
}

pub(crate) struct Draft {
    head: Head,
    chunks: Vec<ChunkLocation>,
    slots: Slots,
    stats: SaveStats,
}

impl Draft {
    /// Writes the chunk table and ends the last pack.
    pub(crate) fn new(
        mut placer: Placer<'_>,
        mut rows: RowSpool,
        mut head: Head,
    ) -> Result<Self, SaveError> {
        let used: Vec<bool> = placer.drawn.iter().map(|drawn| *drawn > 0).collect();
        let mut slots = Slots::assign(&used, placer.writer.begun());
        let mut chunks = Vec::new();
        let mut slots = placer.stream(
            |chunker| {
                rows.for_each(|row| {
                    let row = ChunkLocation {
                        pack: slots.of(row.pack),
                        ..row
                    };
                    chunker
                        .write(&row.to_row())
                        .map_err(Halt::<SaveError>::from)
                })?;
                Ok(slots)
            },
            &mut chunks,
        )?;
        for chunk in head.entries.iter_mut().chain(&mut chunks) {
            chunk.pack = slots.of(chunk.pack);
        }
        let Placer { writer, stats, .. } = placer;
        writer.finish()?;
        Ok(Self {
            head,
            chunks,
            slots,
            stats,
        })
    }

    /// `known` and `written` are the packs that rows have referred to so far, by their origin.
    pub(crate) fn into_saved(self, known: &[PackRef], written: &[PackRef]) -> SavedState {
        let Self {
            head,
            chunks,
            slots,
            mut stats,
        } = self;
        stats.sealed_new = written.iter().map(|pack| pack.len).sum();
        SavedState {
            container: head.container,
            state_len: head.state_len,
            entry_count: head.entry_count,
            content: head.content,
            entries: table(head.entries),
            chunks: table(chunks),
            packs: slots.into_packs(known, written),
            written: written.iter().map(|pack| pack.id).collect(),
            stats,
        }
    }
}

fn table(chunks: Vec<ChunkLocation>) -> Table {
    Table {
        len: chunks.iter().map(|chunk| u64::from(chunk.plain_len)).sum(),
        chunks,
    }
}

//! The result of a save: the version's parts, and figures.

use podsync_core::{
    BlobId, ContentHash,
    manifest::{Container, PackRef, Table},
};

/// How a save ended.
#[derive(Debug)]
pub enum Saved {
    Version(SavedState),
    /// The state is what [`SaveOptions::unless`](crate::SaveOptions::unless) says.
    Unchanged(SaveStats),
}

/// A saved state, as a manifest describes it.
#[derive(Debug, Clone)]
pub struct SavedState {
    pub container: Container,
    pub state_len: u64,
    pub entry_count: u64,
    pub content: ContentHash,
    pub entries: Table,
    pub chunks: Table,
    /// All packs of the version.
    pub packs: Vec<PackRef>,
    /// The packs that this save wrote.
    pub written: Vec<BlobId>,
    pub stats: SaveStats,
}

/// Figures of a save, tables included.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SaveStats {
    pub chunks_new: u64,
    /// Chunks that were in a known pack or repeated.
    pub chunks_reused: u64,
    /// Plain bytes in all.
    pub plain: u64,
    /// Plain bytes of the new chunks.
    pub plain_new: u64,
    /// Sealed bytes written, packs' trailers included.
    pub sealed_new: u64,
    /// Sealed bytes among them that were moved out of other packs.
    pub sealed_moved: u64,
}

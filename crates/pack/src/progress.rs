//! Progress of a save or a rebuild.

/// Receives the progress of a save or a rebuild, and may cancel it.
pub trait Progress: Sync {
    /// This many more bytes of the state, or of its tables, are done.
    fn advanced(&self, bytes: u64);

    /// Whether to stop with [`SaveError::Cancelled`](crate::SaveError::Cancelled).
    fn cancelled(&self) -> bool {
        false
    }
}

/// Ignores progress.
impl Progress for () {
    fn advanced(&self, _: u64) {}
}

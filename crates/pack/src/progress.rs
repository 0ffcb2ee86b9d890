//! How far a save or a rebuild is, for who watches it.

/// What is told while a save or a rebuild runs, and asked of whoever watches.
pub trait Progress: Sync {
    /// This many more bytes of the state, or of its tables, are done.
    fn advanced(&self, bytes: u64);

    /// Whether to stop with [`SaveError::Cancelled`](crate::SaveError::Cancelled).
    fn cancelled(&self) -> bool {
        false
    }
}

/// Nobody watches.
impl Progress for () {
    fn advanced(&self, _: u64) {}
}

//! Which node is meant, and how it behaves.

use std::fmt;

/// A node's place in its world.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct NodeId(pub(super) usize);

impl fmt::Debug for NodeId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "n{}", self.0)
    }
}

/// How a node behaves towards others. Its engine is the honest one all the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conduct {
    Honest,
    /// Serves bytes that are not the blob.
    Liar,
    /// Begins to serve and goes silent.
    Staller,
    /// Changes a byte in the older entries that it passes on.
    Tamperer,
}

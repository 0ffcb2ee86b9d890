//! The bucket: blobs for all nodes, whichever nodes are up.
//!
//! It stores lengths and no bytes, like a node's store, and serves everybody. The hub decides who
//! gets a URL; that is tested there.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    time::Duration,
};

use podsync_core::{BlobId, TeamId};

use super::id::Conduct;

pub(super) struct Bucket {
    pub(super) blobs: BTreeMap<TeamId, BTreeSet<BlobId>>,
    pub(super) conduct: Conduct,
    pub(super) piece_takes: Range<Duration>,
    /// Bytes that it has sent.
    pub(super) sent: u64,
}

impl Default for Bucket {
    fn default() -> Self {
        Self {
            blobs: BTreeMap::new(),
            conduct: Conduct::Honest,
            piece_takes: Duration::from_millis(5)..Duration::from_millis(20),
            sent: 0,
        }
    }
}

//! The messages between two nodes.

use std::{ops::Range, sync::Arc};

use podsync_core::{
    BlobId, TeamId,
    engine::{FetchId, RequestId},
    wire::Protocol,
};

/// A message between two nodes.
#[derive(Debug, Clone)]
pub(super) enum Parcel {
    Gossip {
        team: TeamId,
        bytes: Arc<[u8]>,
    },
    Request {
        life: u32,
        id: RequestId,
        protocol: Protocol,
        bytes: Vec<u8>,
    },
    Response {
        life: u32,
        id: RequestId,
        bytes: Vec<u8>,
    },
    /// A request for a range of a blob.
    Ask {
        life: u32,
        fetch: FetchId,
        blob: BlobId,
        range: Range<u64>,
    },
}

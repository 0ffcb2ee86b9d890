//! Scheduled events of a world.

use podsync_core::{
    DeviceId,
    engine::{FetchId, RequestId},
};
use podsync_daemon::addresses::Multiaddr;

use super::{id::NodeId, parcel::Parcel};

/// A scheduled event.
#[derive(Debug)]
pub(super) enum Happening {
    Wake {
        node: NodeId,
        life: u32,
    },
    /// A commit ends.
    Written {
        node: NodeId,
        life: u32,
    },
    Dial {
        link: usize,
    },
    Arrive {
        to: NodeId,
        from: NodeId,
        session: u64,
        parcel: Parcel,
    },
    /// A request timed out.
    TimedOut {
        node: NodeId,
        life: u32,
        request: RequestId,
    },
    /// An end learns that its connection is gone.
    Notice {
        node: NodeId,
        device: DeviceId,
        session: u64,
    },
    /// The next piece of a range arrives.
    Piece {
        node: NodeId,
        life: u32,
        fetch: FetchId,
    },
    /// The next piece of a range arrives from the bucket.
    BucketPiece {
        node: NodeId,
        life: u32,
        fetch: FetchId,
    },
    DownloadGivenUp {
        node: NodeId,
        life: u32,
        fetch: FetchId,
    },
    /// A node's address state machine is due.
    Roam {
        node: NodeId,
        life: u32,
    },
    /// An attempt to connect ends.
    Dialled {
        node: NodeId,
        life: u32,
        device: DeviceId,
        addresses: Vec<Multiaddr>,
    },
    /// A node looks at the hub.
    Poll {
        node: NodeId,
    },
    /// A range that was asked for doesn't come any more.
    GivenUp {
        node: NodeId,
        life: u32,
        fetch: FetchId,
    },
}

//! The permission check for every inbound stream, before a byte of it is read.
//!
//! Answers must be cheap and current. They come from a snapshot that the daemon swaps; nothing here
//! caches them.

use podsync_core::{BlobId, DeviceId};

/// Which actions the daemon allows to peers.
pub trait Gate: Send + Sync + 'static {
    /// Whether `peer` is a current device of a team of ours.
    fn is_member(&self, peer: DeviceId) -> bool;

    /// Whether `peer` is a robot, whose key any number of processes may hold at once.
    fn is_robot(&self, _peer: DeviceId) -> bool {
        false
    }

    /// Whether `blob` is shared with a team of which `peer` is a member.
    fn may_fetch(&self, peer: DeviceId, blob: BlobId) -> bool;
}

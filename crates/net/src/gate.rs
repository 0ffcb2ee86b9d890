//! The question that every inbound stream asks before a byte of it is read: may this peer?
//!
//! Answers must be cheap and current: they are read from a snapshot that the daemon swaps, on the
//! hot path, and nothing here caches them.

use podsync_core::{BlobId, DeviceId};

/// What the daemon lets peers do.
pub trait Gate: Send + Sync + 'static {
    /// Whether `peer` is a current device of a team of ours.
    fn is_member(&self, peer: DeviceId) -> bool;

    /// Whether any number of processes hold `peer`'s key at once: a robot's.
    fn is_robot(&self, _peer: DeviceId) -> bool {
        false
    }

    /// Whether `blob` is shared with a team of which `peer` is a member.
    fn may_fetch(&self, peer: DeviceId, blob: BlobId) -> bool;
}

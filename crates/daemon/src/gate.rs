//! The engine's gate (who may be served which blob), shared with the network.

use std::sync::{PoisonError, RwLock};

use podsync_core::{
    BlobId, DeviceId,
    engine::{Gate, GateChange},
};

/// Shared between the engine's loop, which changes it, and the network, which asks it on every
/// stream.
#[derive(Default)]
pub(crate) struct SharedGate(RwLock<Gate>);

impl SharedGate {
    pub(crate) fn apply(&self, change: GateChange) {
        self.0
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .apply(change);
    }

    pub(crate) fn lists(&self, device: DeviceId) -> bool {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .is_member(&device)
    }
}

impl podsync_net::Gate for SharedGate {
    fn is_member(&self, peer: DeviceId) -> bool {
        self.lists(peer)
    }

    fn is_robot(&self, peer: DeviceId) -> bool {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .is_robot(&peer)
    }

    fn may_fetch(&self, peer: DeviceId, blob: BlobId) -> bool {
        self.0
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .may_fetch(&peer, &blob)
    }
}

//! Errors of network commands. Exchanges and fetches have errors of their own.

use libp2p::Multiaddr;
use podsync_core::{DeviceId, wire::MAX_GOSSIP_LEN};

/// The network has stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the network has stopped: start the daemon again")]
pub struct NetGone;

/// Why a device was not reached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DialError {
    #[error(
        "{device} could not be reached: {reason}; check that its daemon runs and its port is open"
    )]
    Unreachable { device: DeviceId, reason: String },
    #[error("another device answers at {address}, where {device} was")]
    Taken {
        device: DeviceId,
        address: Multiaddr,
    },
    #[error(transparent)]
    Gone(#[from] NetGone),
}

/// Why a message was not gossiped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    #[error(
        "a message of {len} bytes, more than the {MAX_GOSSIP_LEN} allowed: announce less at once"
    )]
    TooLarge { len: usize },
    #[error(transparent)]
    Gone(#[from] NetGone),
}

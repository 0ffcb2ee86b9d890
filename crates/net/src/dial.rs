//! What comes of an attempt to connect to a device.
//!
//! Whom to dial, when and where is not decided here: the daemon says so, attempt by attempt.

use podsync_core::DeviceId;

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
    #[error(transparent)]
    Gone(#[from] NetGone),
}

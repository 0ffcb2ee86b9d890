//! The providers of blob ranges.

use crate::id::DeviceId;

/// A source of blob ranges.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provider {
    Peer(DeviceId),
    /// The bucket of the team whose blob it is.
    Bucket,
}

impl Provider {
    /// The device. None for the bucket.
    pub fn peer(self) -> Option<DeviceId> {
        match self {
            Self::Peer(device) => Some(device),
            Self::Bucket => None,
        }
    }
}

/// Which providers a transfer may use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Sources {
    /// Peers, and the bucket for what no peer has or sends.
    #[default]
    Any,
    Peers,
    Bucket,
}

impl Sources {
    pub(super) fn allow(self, provider: &Provider) -> bool {
        match self {
            Self::Any => true,
            Self::Peers => provider.peer().is_some(),
            Self::Bucket => *provider == Provider::Bucket,
        }
    }
}

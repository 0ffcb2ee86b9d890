//! Who hands over ranges of blobs.

use crate::id::DeviceId;

/// Whoever can hand over a range of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Provider {
    Peer(DeviceId),
    /// The bucket of the team whose blob it is.
    Bucket,
}

impl Provider {
    /// The device; none of the bucket.
    pub fn peer(self) -> Option<DeviceId> {
        match self {
            Self::Peer(device) => Some(device),
            Self::Bucket => None,
        }
    }
}

/// Who may be asked.
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

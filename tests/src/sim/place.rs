//! A node's network, and the addresses that it knows of others.

use std::{collections::BTreeMap, time::Duration};

use podsync_core::{DeviceId, TeamId};
use podsync_daemon::addresses::{Addresses, Multiaddr};

/// A node's place, and what it knows of others'.
pub(super) struct Roaming {
    pub(super) addresses: Addresses,
    pub(super) network: u8,
    pub(super) here: Multiaddr,
    /// Devices that its settings name.
    pub(super) pinned: Vec<(DeviceId, Multiaddr)>,
    /// The addresses that survive a crash.
    pub(super) remembered: BTreeMap<DeviceId, Vec<Multiaddr>>,
    pub(super) members: BTreeMap<TeamId, Vec<DeviceId>>,
    pub(super) wake: Option<Duration>,
}

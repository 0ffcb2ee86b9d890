//! The connected peers, for the handle and the serving tasks, and what passed between this device and members that
//! have gone.
//!
//! The actor writes, all others read. The lock is held only for one look-up.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use libp2p::Multiaddr;
use podsync_core::DeviceId;
use tokio_util::sync::CancellationToken;

use crate::path::Beside;

/// How many members are remembered that aren't connected any more.
const MAX_LEFT: usize = 4096;

/// A connected peer.
#[derive(Debug, Clone)]
pub struct PeerInfo {
    pub device: DeviceId,
    pub addr: Multiaddr,
    pub since: SystemTime,
    /// The last round trip, once one was measured.
    pub rtt: Option<Duration>,
    pub contact: Contact,
}

/// What passed between this device and a peer since the start, over all connections.
#[derive(Debug, Clone, Copy)]
pub struct Contact {
    /// When something last came from the peer: an answer to a ping at the latest.
    pub heard: SystemTime,
    /// Blob bytes sent to it.
    pub served: u64,
    /// Verified blob bytes received from it.
    pub fetched: u64,
    /// The part of `fetched` that came over a lane.
    pub fetched_over_lane: u64,
}

impl Contact {
    fn begin() -> Self {
        Self {
            heard: SystemTime::now(),
            served: 0,
            fetched: 0,
            fetched_over_lane: 0,
        }
    }

    pub(crate) fn hear(&mut self) {
        self.heard = SystemTime::now();
    }
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Peers(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    connected: BTreeMap<DeviceId, Connected>,
    /// Members that were connected.
    left: BTreeMap<DeviceId, Contact>,
}

#[derive(Debug)]
struct Connected {
    info: PeerInfo,
    /// Cancelled when its lanes have to end.
    lanes: CancellationToken,
    beside: Beside,
}

/// The connection that a lane belongs to.
#[derive(Debug, Clone)]
pub(crate) struct LaneOf {
    pub(crate) device: DeviceId,
    /// Where libp2p reaches the device.
    pub(crate) addr: Multiaddr,
    /// Cancelled when the device is disconnected or not trusted any more.
    pub(crate) ends: CancellationToken,
    /// Is notified of traffic on the lane.
    pub(crate) beside: Beside,
}

impl Peers {
    pub(crate) fn is_connected(&self, device: DeviceId) -> bool {
        self.lock().connected.contains_key(&device)
    }

    pub(crate) fn list(&self) -> Vec<PeerInfo> {
        let known = self.lock();
        let peers = known.connected.values();
        peers.map(|peer| peer.info.clone()).collect()
    }

    /// What passed between this device and each peer that is connected, or is a member and was.
    pub(crate) fn contacts(&self) -> BTreeMap<DeviceId, Contact> {
        let known = self.lock();
        let connected = known.connected.iter();
        let connected = connected.map(|(device, peer)| (*device, peer.info.contact));
        let left = known
            .left
            .iter()
            .map(|(device, contact)| (*device, *contact));
        left.chain(connected).collect()
    }

    /// The address of a peer's connection.
    pub(crate) fn address(&self, device: DeviceId) -> Option<Multiaddr> {
        let known = self.lock();
        known
            .connected
            .get(&device)
            .map(|peer| peer.info.addr.clone())
    }

    /// Records the connection to use from now on. Counters continue.
    pub(crate) fn connected(&self, device: DeviceId, addr: Multiaddr, beside: Beside) {
        let mut known = self.lock();
        let Known { connected, left } = &mut *known;
        let peer = connected.entry(device).or_insert_with(|| Connected {
            info: PeerInfo {
                device,
                addr: addr.clone(),
                since: SystemTime::now(),
                rtt: None,
                contact: left.remove(&device).unwrap_or_else(Contact::begin),
            },
            lanes: CancellationToken::new(),
            beside: beside.clone(),
        });
        peer.info.addr = addr;
        peer.info.contact.hear();
        peer.beside = beside;
    }

    /// Remembers what passed between this device and a member.
    pub(crate) fn disconnected(&self, device: DeviceId, is_member: bool) {
        let mut known = self.lock();
        let Some(peer) = known.connected.remove(&device) else {
            return;
        };
        peer.lanes.cancel();
        if is_member {
            remember(&mut known.left, device, peer.info.contact);
        }
    }

    /// The connection that new lanes of a device belong to.
    pub(crate) fn lane_of(&self, device: DeviceId) -> Option<LaneOf> {
        self.lock().connected.get(&device).map(|peer| LaneOf {
            device,
            addr: peer.info.addr.clone(),
            ends: peer.lanes.clone(),
            beside: peer.beside.clone(),
        })
    }

    /// Ends all lanes to and from a device. Its connection stays.
    pub(crate) fn cut_lanes(&self, device: DeviceId) {
        if let Some(peer) = self.lock().connected.get_mut(&device) {
            std::mem::take(&mut peer.lanes).cancel();
        }
    }

    pub(crate) fn update(&self, device: DeviceId, change: impl FnOnce(&mut PeerInfo)) {
        if let Some(peer) = self.lock().connected.get_mut(&device) {
            change(&mut peer.info);
        }
    }

    /// Notes what passed. A stream may end after its connection.
    pub(crate) fn passed(&self, device: DeviceId, note: impl FnOnce(&mut Contact)) {
        let mut known = self.lock();
        let Known { connected, left } = &mut *known;
        let contact = match connected.get_mut(&device) {
            Some(peer) => Some(&mut peer.info.contact),
            None => left.get_mut(&device),
        };
        if let Some(contact) = contact {
            note(contact);
        }
    }

    fn lock(&self) -> MutexGuard<'_, Known> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes room by forgetting who was heard least recently.
fn remember(left: &mut BTreeMap<DeviceId, Contact>, device: DeviceId, contact: Contact) {
    if left.len() >= MAX_LEFT {
        let oldest = left.iter().min_by_key(|(_, contact)| contact.heard);
        if let Some(oldest) = oldest.map(|(device, _)| *device) {
            left.remove(&oldest);
        }
    }
    left.insert(device, contact);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_enough_of_those_who_left_are_remembered() {
        let mut left = BTreeMap::new();
        let device = |n: usize| {
            let mut seed = [0; 32];
            seed[..8].copy_from_slice(&(n as u64).to_le_bytes());
            podsync_core::keys::DeviceSecret::from_seed(seed).id()
        };
        let begun = SystemTime::now();
        for n in 0..=MAX_LEFT {
            let heard = begun + Duration::from_secs(n as u64);
            let contact = Contact {
                heard,
                ..Contact::begin()
            };
            remember(&mut left, device(n), contact);
        }
        assert_eq!(left.len(), MAX_LEFT);
        assert!(!left.contains_key(&device(0)), "the oldest one is gone");
        assert!(left.contains_key(&device(MAX_LEFT)));
    }
}

//! The connected peers, for the handle and the serving tasks.
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

/// A connected peer.
#[derive(Debug, Clone)]
pub struct PeerInfo {
    pub device: DeviceId,
    pub addr: Multiaddr,
    pub since: SystemTime,
    /// The last round trip, once one was measured.
    pub rtt: Option<Duration>,
    /// Blob bytes sent to this peer over this connection.
    pub served: u64,
    /// Verified blob bytes received from this peer over this connection.
    pub fetched: u64,
    /// The part of `fetched` that came over a lane.
    pub fetched_over_lane: u64,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Peers(Arc<Mutex<BTreeMap<DeviceId, Connected>>>);

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
        self.lock().contains_key(&device)
    }

    pub(crate) fn list(&self) -> Vec<PeerInfo> {
        let peers = self.lock();
        peers.values().map(|peer| peer.info.clone()).collect()
    }

    /// The address of a peer's connection.
    pub(crate) fn address(&self, device: DeviceId) -> Option<Multiaddr> {
        self.lock().get(&device).map(|peer| peer.info.addr.clone())
    }

    /// Records the connection to use from now on. Counters continue if it replaces another.
    pub(crate) fn connected(&self, device: DeviceId, addr: Multiaddr, beside: Beside) {
        self.lock()
            .entry(device)
            .and_modify(|peer| {
                peer.info.addr = addr.clone();
                peer.beside = beside.clone();
            })
            .or_insert_with(|| {
                let info = PeerInfo {
                    device,
                    addr,
                    since: SystemTime::now(),
                    rtt: None,
                    served: 0,
                    fetched: 0,
                    fetched_over_lane: 0,
                };
                let lanes = CancellationToken::new();
                Connected {
                    info,
                    lanes,
                    beside: beside.clone(),
                }
            });
    }

    pub(crate) fn disconnected(&self, device: DeviceId) {
        if let Some(peer) = self.lock().remove(&device) {
            peer.lanes.cancel();
        }
    }

    /// The connection that new lanes of a device belong to.
    pub(crate) fn lane_of(&self, device: DeviceId) -> Option<LaneOf> {
        self.lock().get(&device).map(|peer| LaneOf {
            device,
            addr: peer.info.addr.clone(),
            ends: peer.lanes.clone(),
            beside: peer.beside.clone(),
        })
    }

    /// Ends all lanes to and from a device. Its connection stays.
    pub(crate) fn cut_lanes(&self, device: DeviceId) {
        if let Some(peer) = self.lock().get_mut(&device) {
            std::mem::take(&mut peer.lanes).cancel();
        }
    }

    pub(crate) fn update(&self, device: DeviceId, change: impl FnOnce(&mut PeerInfo)) {
        if let Some(peer) = self.lock().get_mut(&device) {
            change(&mut peer.info);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<DeviceId, Connected>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

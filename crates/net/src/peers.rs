//! Who is connected, as the handle and the serving tasks see it.
//!
//! Written by the actor, read by everybody; the lock is held for the length of a look-up only.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, SystemTime},
};

use libp2p::Multiaddr;
use podsync_core::DeviceId;

use crate::peer_id::is_quic;

/// A connected peer.
#[derive(Debug, Clone)]
pub struct PeerInfo {
    pub device: DeviceId,
    pub addr: Multiaddr,
    pub transport: Transport,
    pub since: SystemTime,
    /// The last round trip, once one was measured.
    pub rtt: Option<Duration>,
    /// Blob bytes sent to this peer over this connection.
    pub served: u64,
    /// Verified blob bytes received from this peer over this connection.
    pub fetched: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transport {
    Tcp,
    Quic,
}

#[derive(Debug, Clone, Default)]
pub(crate) struct Peers(Arc<Mutex<BTreeMap<DeviceId, PeerInfo>>>);

impl Peers {
    pub(crate) fn is_connected(&self, device: DeviceId) -> bool {
        self.lock().contains_key(&device)
    }

    pub(crate) fn list(&self) -> Vec<PeerInfo> {
        self.lock().values().cloned().collect()
    }

    /// Where a peer is connected.
    pub(crate) fn address(&self, device: DeviceId) -> Option<Multiaddr> {
        self.lock().get(&device).map(|peer| peer.addr.clone())
    }

    /// Records the connection that is used from now on; counters go on where one replaces another.
    pub(crate) fn connected(&self, device: DeviceId, addr: Multiaddr) {
        let transport = if is_quic(&addr) {
            Transport::Quic
        } else {
            Transport::Tcp
        };
        self.lock()
            .entry(device)
            .and_modify(|peer| {
                peer.addr = addr.clone();
                peer.transport = transport;
            })
            .or_insert_with(|| PeerInfo {
                device,
                addr,
                transport,
                since: SystemTime::now(),
                rtt: None,
                served: 0,
                fetched: 0,
            });
    }

    pub(crate) fn disconnected(&self, device: DeviceId) {
        self.lock().remove(&device);
    }

    pub(crate) fn update(&self, device: DeviceId, change: impl FnOnce(&mut PeerInfo)) {
        if let Some(peer) = self.lock().get_mut(&device) {
            change(peer);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<DeviceId, PeerInfo>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

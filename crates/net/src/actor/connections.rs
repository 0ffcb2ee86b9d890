//! Connections: dialling, the time that a stranger has, and hanging up.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use futures::StreamExt;
use libp2p::{Multiaddr, PeerId, core::ConnectedPoint, ping, swarm::dial_opts::DialOpts};
use podsync_core::DeviceId;
use tokio::time::timeout;

use super::{Actor, Waiter};
use crate::{
    dial::{AfterFailure, DialError, Manners},
    event::NetEvent,
    peer_id::{bare_address, device_of, peer_of},
};

/// How long a peer that no team lists may stay connected.
const STRANGER_STAY: Duration = Duration::from_secs(10);

/// Peers that one batch of discoveries may bring.
const MAX_DISCOVERED: usize = 64;

/// For connections to end politely when stopping.
const GRACE: Duration = Duration::from_secs(1);

/// A connected peer that no team lists.
pub(super) struct Stranger {
    since: Instant,
    called_by_us: bool,
}

impl Actor {
    pub(super) fn dial(
        &mut self,
        device: DeviceId,
        addrs: Vec<Multiaddr>,
        manners: Manners,
        waiter: Option<Waiter>,
    ) {
        if self.peers.is_connected(device) {
            if let Some(waiter) = waiter {
                let _ = waiter.send(Ok(()));
            }
            return;
        }
        let addrs = addrs
            .into_iter()
            .filter_map(|addr| bare_address(device, addr))
            .collect();
        if let Some(waiter) = waiter {
            let waiters = self.waiters.entry(device).or_default();
            waiters.retain(|waiter| !waiter.is_closed());
            waiters.push(waiter);
        }
        if let Err(error) = self.dialler.dial(device, addrs, manners, Instant::now()) {
            self.unreachable(device, error);
        }
    }

    pub(super) fn dial_due(&mut self) {
        for (device, addrs) in self.dialler.due(Instant::now()) {
            // From a port of its own: two daemons that dial each other from their listen ports
            // would meet in one TCP connection with two initiators.
            let dial = DialOpts::peer_id(peer_of(device))
                .addresses(addrs)
                .allocate_new_port()
                .build();
            if let Err(error) = self.swarm.dial(dial) {
                self.dial_failed(&peer_of(device), error.to_string());
            }
        }
    }

    pub(super) fn dial_failed(&mut self, peer: &PeerId, reason: String) {
        let Some(device) = device_of(peer) else {
            return;
        };
        tracing::debug!(peer = device.short(), reason, "dialling failed");
        if self.peers.is_connected(device) {
            return;
        }
        if self.dialler.failed(device, Instant::now()) == AfterFailure::GivesUp {
            self.unreachable(device, DialError::Unreachable { device, reason });
        }
    }

    fn unreachable(&mut self, device: DeviceId, error: DialError) {
        for waiter in self.waiters.remove(&device).unwrap_or_default() {
            let _ = waiter.send(Err(error.clone()));
        }
        self.outbox
            .push_if_room(NetEvent::Unreachable { device, error });
    }

    pub(super) fn established(&mut self, peer: &PeerId, endpoint: &ConnectedPoint, is_first: bool) {
        // Admission turns foreign keys away.
        let Some(device) = device_of(peer) else {
            return;
        };
        let addr = endpoint.get_remote_address().clone();
        let addr = bare_address(device, addr.clone()).unwrap_or(addr);
        self.peers.connected(device, addr.clone());
        self.dialler.connected(device);
        for waiter in self.waiters.remove(&device).unwrap_or_default() {
            let _ = waiter.send(Ok(()));
        }
        // Before the peer's first message: the swarm is not polled in between.
        self.score(device);
        if is_first {
            if !self.gate.is_member(device) {
                let stranger = Stranger {
                    since: Instant::now(),
                    called_by_us: endpoint.is_dialer(),
                };
                self.strangers.insert(device, stranger);
            }
            tracing::debug!(peer = device.short(), %addr, "connected");
            self.outbox.push(NetEvent::Connected {
                device,
                addr,
                dialled: endpoint.is_dialer(),
            });
        }
    }

    pub(super) fn closed(&mut self, peer: &PeerId, cause: Option<String>) {
        let Some(device) = device_of(peer) else {
            return;
        };
        tracing::debug!(peer = device.short(), cause, "disconnected");
        self.peers.disconnected(device);
        self.strangers.remove(&device);
        self.dialler.disconnected(device, Instant::now());
        self.outbox.push(NetEvent::Disconnected { device });
    }

    pub(super) fn close(&mut self, device: DeviceId) {
        // An error means that it is closed already.
        let _ = self.swarm.disconnect_peer_id(peer_of(device));
    }

    /// The gate answers differently now.
    pub(super) fn review_peers(&mut self) {
        for peer in self.peers.list() {
            let device = peer.device;
            self.score(device);
            if self.gate.is_member(device) {
                self.strangers.remove(&device);
            } else if !self.strangers.contains_key(&device) {
                // It was a member: as a stranger it may come again and hear what happened.
                self.close(device);
            }
        }
    }

    /// A stranger has had its exchange. Whom we called is still wanted for ours, within its stay.
    pub(super) fn had_exchange(&mut self, device: DeviceId) {
        if self
            .strangers
            .get(&device)
            .is_none_or(|stranger| !stranger.called_by_us)
        {
            self.dismiss(device);
        }
    }

    /// A stranger's time is over: it stays if it became a member.
    pub(super) fn dismiss(&mut self, device: DeviceId) {
        self.score(device);
        if self.gate.is_member(device) {
            self.strangers.remove(&device);
        } else {
            self.close(device);
        }
    }

    pub(super) fn dismiss_overdue(&mut self) {
        let overdue = |stranger: &Stranger| stranger.since.elapsed() >= STRANGER_STAY;
        let overdue: Vec<_> = self
            .strangers
            .iter()
            .filter(|(_, stranger)| overdue(stranger))
            .map(|(device, _)| *device)
            .collect();
        for device in overdue {
            self.dismiss(device);
        }
    }

    pub(super) fn pinged(&mut self, event: &ping::Event) {
        match &event.result {
            Ok(rtt) => {
                if let Some(device) = device_of(&event.peer) {
                    self.peers.update(device, |peer| peer.rtt = Some(*rtt));
                }
            }
            Err(ping::Failure::Unsupported) => {}
            Err(error) => {
                tracing::debug!(peer = %event.peer, %error, "no answer to a ping: closing");
                self.swarm.close_connection(event.connection);
            }
        }
    }

    pub(super) fn discovered(&mut self, found: Vec<(PeerId, Multiaddr)>) {
        let mut peers: BTreeMap<DeviceId, Vec<Multiaddr>> = BTreeMap::new();
        for (peer, addr) in found {
            let Some(device) = device_of(&peer) else {
                continue;
            };
            if let Some(addr) = bare_address(device, addr)
                && (peers.len() < MAX_DISCOVERED || peers.contains_key(&device))
            {
                peers.entry(device).or_default().push(addr);
            }
        }
        for (device, addrs) in peers {
            self.outbox
                .push_if_room(NetEvent::Discovered { device, addrs });
        }
    }

    pub(super) async fn hang_up(&mut self) {
        for peer in self.peers.list() {
            self.close(peer.device);
        }
        let swarm = &mut self.swarm;
        let all_closed = async {
            while swarm.connected_peers().next().is_some() {
                swarm.select_next_some().await;
            }
        };
        if timeout(GRACE, all_closed).await.is_err() {
            tracing::debug!("some peers did not hang up in time");
        }
    }
}

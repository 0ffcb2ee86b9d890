//! Connections: dialling, the time limit of strangers, and closing.

use std::{
    collections::BTreeMap,
    num::NonZeroU8,
    time::{Duration, Instant},
};

use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId,
    core::ConnectedPoint,
    ping,
    swarm::{
        self, ConnectionId,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use podsync_core::DeviceId;
use tokio::time::timeout;

use super::{Actor, Waiter};
use crate::{
    error::DialError,
    event::NetEvent,
    interfaces::Change,
    peer_id::{bare_address, device_of, peer_of},
};

/// How long a peer that no team lists may stay connected.
const STRANGER_STAY: Duration = Duration::from_secs(10);

/// Addresses of one peer to try at once, so that one that drops packets doesn't delay one that
/// answers.
const AT_ONCE: NonZeroU8 = NonZeroU8::new(16).expect("it isn't zero");

/// The most peers from one batch of discoveries.
const MAX_DISCOVERED: usize = 64;

/// How long connections have to close cleanly at a stop.
const GRACE: Duration = Duration::from_secs(1);

/// A connected peer that no team lists.
pub(super) struct Stranger {
    since: Instant,
    called_by_us: bool,
}

impl Actor {
    pub(super) fn dial(&mut self, device: DeviceId, addrs: Vec<Multiaddr>, waiter: Waiter) {
        if self.peers.is_connected(device) {
            let _ = waiter.send(Ok(()));
            return;
        }
        let addrs = addrs
            .into_iter()
            .filter_map(|addr| bare_address(device, addr))
            .collect();
        // Dial from a fresh port: two daemons that dial each other from their listen ports would meet in
        // one TCP connection with two initiators. Attempts may run in parallel, since an earlier one may
        // have started in another network.
        let dial = DialOpts::peer_id(peer_of(device))
            .addresses(addrs)
            .condition(PeerCondition::Disconnected)
            .override_dial_concurrency_factor(AT_ONCE)
            .allocate_new_port()
            .build();
        let id = dial.connection_id();
        self.dialled.insert(id, (device, waiter));
        if let Err(error) = self.swarm.dial(dial) {
            self.dial_failed(id, &error);
        }
    }

    pub(super) fn dial_failed(&mut self, id: ConnectionId, error: &swarm::DialError) {
        if let Some((device, waiter)) = self.dialled.remove(&id) {
            tracing::debug!(peer = device.short(), %error, "dialling failed");
            let _ = waiter.send(if self.peers.is_connected(device) {
                Ok(())
            } else {
                Err(not_reached(device, error))
            });
        }
    }

    pub(super) fn dialled_well(&mut self, id: ConnectionId) {
        if let Some((_, waiter)) = self.dialled.remove(&id) {
            let _ = waiter.send(Ok(()));
        }
    }

    pub(super) fn established(
        &mut self,
        id: ConnectionId,
        peer: &PeerId,
        endpoint: &ConnectedPoint,
        is_first: bool,
    ) {
        let addr = endpoint.get_remote_address();
        if self.swarm.behaviour().admission.is_unanswered(peer, id) {
            self.paths.established(addr);
        } else {
            self.stands(peer, addr, endpoint.is_dialer(), is_first);
        }
    }

    /// The peer answered on this connection. If it was to replace another, it stands now.
    fn answered(&mut self, id: ConnectionId, peer: &PeerId) {
        let admission = &mut self.swarm.behaviour_mut().admission;
        if let Some(addr) = admission.answered(peer, id) {
            self.stands(peer, &addr, false, false);
        }
    }

    /// A connection is the one to the peer from now on.
    fn stands(&mut self, peer: &PeerId, addr: &Multiaddr, dialled: bool, is_first: bool) {
        // Admission refuses keys of other kinds.
        let Some(device) = device_of(peer) else {
            return;
        };
        let beside = self.paths.established(addr);
        let addr = bare_address(device, addr.clone()).unwrap_or_else(|| addr.clone());
        let is_again = !is_first && self.swarm.behaviour().admission.is_again(peer);
        if is_again {
            self.lost(device);
        }
        self.peers.connected(device, addr.clone(), beside);
        // Before the peer's first message: the swarm is not polled in between.
        self.score(device);
        if is_first || is_again {
            if !self.gate.is_member(device) {
                let stranger = Stranger {
                    since: Instant::now(),
                    called_by_us: dialled,
                };
                self.strangers.insert(device, stranger);
            }
            tracing::debug!(peer = device.short(), %addr, "connected");
            self.outbox.push(NetEvent::Connected {
                device,
                addr,
                dialled,
            });
        }
    }

    /// The peer has lost its old connection and has a new one: messages on the old one may not have
    /// reached it.
    fn lost(&mut self, device: DeviceId) {
        if let Some(before) = self.peers.address(device) {
            self.paths.replaced(&before);
        }
        self.peers.cut_lanes(device);
        self.lanes.forget(device);
        tracing::debug!(peer = device.short(), "the peer is here again");
        self.outbox.push(NetEvent::Disconnected { device });
    }

    pub(super) fn closed(&mut self, peer: &PeerId, cause: Option<String>) {
        let Some(device) = device_of(peer) else {
            return;
        };
        tracing::debug!(peer = device.short(), cause, "disconnected");
        let is_member = self.gate.is_member(device);
        self.peers.disconnected(device, is_member);
        self.lanes.forget(device);
        self.strangers.remove(&device);
        self.outbox.push(NetEvent::Disconnected { device });
    }

    pub(super) fn close(&mut self, device: DeviceId) {
        // An error means that it is already closed.
        let _ = self.swarm.disconnect_peer_id(peer_of(device));
    }

    /// Applies changed answers of the gate to connected peers.
    pub(super) fn review_peers(&mut self) {
        for peer in self.peers.list() {
            let device = peer.device;
            self.score(device);
            if self.gate.is_member(device) {
                self.strangers.remove(&device);
            } else if !self.strangers.contains_key(&device) {
                // A former member. As a stranger it may reconnect and learn of its removal.
                self.peers.cut_lanes(device);
                self.lanes.forget(device);
                self.close(device);
            }
        }
    }

    /// Handles a stranger that has used its exchange. One that we dialled stays for our own
    /// exchange, within its time limit.
    pub(super) fn had_exchange(&mut self, device: DeviceId) {
        if self
            .strangers
            .get(&device)
            .is_none_or(|stranger| !stranger.called_by_us)
        {
            self.dismiss(device);
        }
    }

    /// Disconnects a stranger at its time limit, unless it has become a member.
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
                self.answered(event.connection, &event.peer);
                if let Some(device) = device_of(&event.peer) {
                    self.peers.update(device, |peer| {
                        peer.rtt = Some(*rtt);
                        peer.contact.hear();
                    });
                }
            }
            Err(ping::Failure::Unsupported) => {}
            Err(error) => {
                tracing::debug!(peer = %event.peer, %error, "no answer to a ping: closing");
                self.swarm.close_connection(event.connection);
            }
        }
    }

    pub(super) fn network_changed(&mut self, change: Change) {
        match change {
            Change::Lost(ip) => self.paths.address_gone(ip),
            Change::Settled => self.outbox.push(NetEvent::NetworkChanged),
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
            tracing::debug!("some connections did not close in time");
        }
    }
}

/// Why an attempt failed. A wrong answer at one address ends the attempt at all of them.
fn not_reached(device: DeviceId, error: &swarm::DialError) -> DialError {
    match error {
        swarm::DialError::WrongPeerId { address, .. }
        | swarm::DialError::LocalPeerId { address } => DialError::Taken {
            device,
            address: bare_address(device, address.clone()).unwrap_or_else(|| address.clone()),
        },
        error => DialError::Unreachable {
            device,
            reason: error.to_string(),
        },
    }
}

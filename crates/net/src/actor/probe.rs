//! Dials an address of an unknown device: a ticket names addresses, not devices.
//!
//! A device that answers becomes an ordinary peer. Being there earns it no trust.

use std::collections::BTreeMap;

use libp2p::{
    Multiaddr,
    multiaddr::Protocol,
    swarm::{ConnectionId, dial_opts::DialOpts},
};
use podsync_core::DeviceId;
use tokio::sync::oneshot;

use super::Actor;

/// Receives the device that answered. Dropped if none did.
pub(crate) type Answered = oneshot::Sender<DeviceId>;

/// The most addresses that are tried at once.
const MAX_PROBES: usize = 16;

#[derive(Debug, Default)]
pub(super) struct Probes {
    /// Attempts in progress, by the connection that each would become.
    waiting: BTreeMap<ConnectionId, Answered>,
    /// The last transport tried where TCP drops full packets.
    was_over_quic: bool,
}

impl Actor {
    pub(super) fn probe(&mut self, addr: Multiaddr, answered: Answered) {
        let waiting = &mut self.probes.waiting;
        waiting.retain(|_, answered| !answered.is_closed());
        if waiting.len() >= MAX_PROBES {
            return;
        }
        let addr = self.way_to(addr);
        let dial = DialOpts::unknown_peer_id()
            .address(addr)
            .allocate_new_port()
            .build();
        let id = dial.connection_id();
        match self.swarm.dial(dial) {
            Ok(()) => {
                self.probes.waiting.insert(id, answered);
            }
            Err(error) => tracing::debug!(%error, "the dial failed"),
        }
    }

    /// Tickets name TCP only, but daemons also listen for QUIC at the same port. Where TCP drops full packets,
    /// every second attempt uses QUIC.
    fn way_to(&mut self, addr: Multiaddr) -> Multiaddr {
        if !self.paths.swallows(&addr) {
            return addr;
        }
        self.probes.was_over_quic = !self.probes.was_over_quic;
        if self.probes.was_over_quic {
            over_quic(&addr)
        } else {
            addr
        }
    }

    pub(super) fn probe_answered(&mut self, id: ConnectionId, device: DeviceId) {
        if let Some(waiting) = self.probes.waiting.remove(&id) {
            let _ = waiting.send(device);
        }
    }

    pub(super) fn probe_failed(&mut self, id: ConnectionId, reason: &dyn std::fmt::Display) {
        if self.probes.waiting.remove(&id).is_some() {
            tracing::debug!(%reason, "no device answered at the ticket's address");
        }
    }
}

/// The same address over QUIC.
fn over_quic(addr: &Multiaddr) -> Multiaddr {
    let mut quic = Multiaddr::empty();
    for part in addr {
        match part {
            Protocol::Tcp(port) => {
                quic.push(Protocol::Udp(port));
                quic.push(Protocol::QuicV1);
            }
            other => quic.push(other),
        }
    }
    quic
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quic_is_at_the_port_of_tcp() {
        let tcp: Multiaddr = "/ip6/fd77::1/tcp/7637".parse().unwrap();
        assert_eq!(over_quic(&tcp).to_string(), "/ip6/fd77::1/udp/7637/quic-v1");
    }
}

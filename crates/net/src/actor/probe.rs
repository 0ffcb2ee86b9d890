//! Dials an address of an unknown device: a ticket names addresses, not devices.
//!
//! A device that answers becomes an ordinary peer. Being there earns it no trust.

use std::collections::BTreeMap;

use libp2p::{
    Multiaddr,
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
}

impl Actor {
    pub(super) fn probe(&mut self, addr: Multiaddr, answered: Answered) {
        let waiting = &mut self.probes.waiting;
        waiting.retain(|_, answered| !answered.is_closed());
        if waiting.len() >= MAX_PROBES {
            return;
        }
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

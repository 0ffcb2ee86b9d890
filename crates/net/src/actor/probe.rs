//! Dialling an address without knowing whose it is: a ticket says where somebody is, not who.
//!
//! Whoever answers is a peer like any other from then on; nothing is believed for its being there.

use std::collections::BTreeMap;

use libp2p::{
    Multiaddr,
    swarm::{ConnectionId, dial_opts::DialOpts},
};
use podsync_core::DeviceId;
use tokio::sync::oneshot;

use super::Actor;

/// Told who answered; dropped where nobody did.
pub(crate) type Answered = oneshot::Sender<DeviceId>;

/// Addresses that are being tried at once, in all.
const MAX_PROBES: usize = 16;

/// Attempts under way, by the connection that each would become.
#[derive(Debug, Default)]
pub(super) struct Probes(BTreeMap<ConnectionId, Answered>);

impl Actor {
    pub(super) fn probe(&mut self, addr: Multiaddr, answered: Answered) {
        self.probes.0.retain(|_, waiting| !waiting.is_closed());
        if self.probes.0.len() >= MAX_PROBES {
            return;
        }
        let dial = DialOpts::unknown_peer_id()
            .address(addr)
            .allocate_new_port()
            .build();
        let id = dial.connection_id();
        match self.swarm.dial(dial) {
            Ok(()) => {
                self.probes.0.insert(id, answered);
            }
            Err(error) => tracing::debug!(%error, "the dial failed"),
        }
    }

    pub(super) fn probe_answered(&mut self, id: ConnectionId, device: DeviceId) {
        if let Some(waiting) = self.probes.0.remove(&id) {
            let _ = waiting.send(device);
        }
    }

    pub(super) fn probe_failed(&mut self, id: ConnectionId, reason: &dyn std::fmt::Display) {
        if self.probes.0.remove(&id).is_some() {
            tracing::debug!(%reason, "no device answered at the ticket's address");
        }
    }
}

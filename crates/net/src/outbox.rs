//! Events that the daemon has not taken yet. The bound never blocks the actor.
//!
//! Gossip and hints are dropped if there is no room. Connection events are not. They still can't
//! pile up: events that the daemon has not read are merged, leaving at most one end and one start
//! per peer.

use std::collections::VecDeque;

use crate::event::NetEvent;

/// Gossip and hints that wait: at 64 KiB each, 8 MiB at most.
const MAX_LOSSY: usize = 128;

#[derive(Debug, Default)]
pub(crate) struct Outbox {
    events: VecDeque<NetEvent>,
}

impl Outbox {
    pub(crate) fn is_empty(&self) -> bool {
        self.events.is_empty()
    }

    pub(crate) fn pop(&mut self) -> Option<NetEvent> {
        self.events.pop_front()
    }

    /// Whether an event that may be lost still has room.
    pub(crate) fn has_room(&self) -> bool {
        self.events.len() < MAX_LOSSY
    }

    /// Adds an event that may be lost: gossip, hints, failed dials.
    pub(crate) fn push_if_room(&mut self, event: NetEvent) {
        if self.has_room() {
            self.events.push_back(event);
        }
    }

    /// Adds an event that must not be lost: the state of connections and listeners.
    pub(crate) fn push(&mut self, event: NetEvent) {
        if let NetEvent::Disconnected { device: left } = &event {
            let unheard = self.events.iter().position(
                |event| matches!(event, NetEvent::Connected { device, .. } if device == left),
            );
            if let Some(at) = unheard {
                self.events.remove(at);
                return;
            }
        }
        self.events.push_back(event);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use podsync_core::DeviceId;

    fn connected(n: u8) -> NetEvent {
        let addr = "/ip4/10.0.0.1/tcp/1".parse().unwrap();
        NetEvent::Connected {
            device: DeviceId::from_bytes([n; 32]),
            addr,
            dialled: true,
        }
    }

    fn disconnected(n: u8) -> NetEvent {
        NetEvent::Disconnected {
            device: DeviceId::from_bytes([n; 32]),
        }
    }

    #[test]
    fn a_peer_that_comes_and_goes_does_not_fill_it() {
        let mut outbox = Outbox::default();
        outbox.push(disconnected(1));
        for _ in 0..1000 {
            outbox.push(connected(1));
            outbox.push(disconnected(1));
        }
        outbox.push(connected(2));
        outbox.push(connected(1));
        let kinds: Vec<_> = std::iter::from_fn(|| outbox.pop())
            .map(|event| match event {
                NetEvent::Connected { device, .. } => (device.as_bytes()[0], true),
                NetEvent::Disconnected { device } => (device.as_bytes()[0], false),
                other => panic!("{other:?}"),
            })
            .collect();
        assert_eq!(kinds, [(1, false), (2, true), (1, true)]);
    }

    #[test]
    fn hints_are_dropped_where_there_is_no_room() {
        let mut outbox = Outbox::default();
        for n in 0..=255 {
            let device = DeviceId::from_bytes([n; 32]);
            outbox.push_if_room(NetEvent::Discovered {
                device,
                addrs: Vec::new(),
            });
        }
        outbox.push(disconnected(1));
        assert_eq!(std::iter::from_fn(|| outbox.pop()).count(), MAX_LOSSY + 1);
    }
}

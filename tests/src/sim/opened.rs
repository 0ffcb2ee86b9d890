//! Opens each message once for all its receivers.
//!
//! Opening is a function of the bytes alone, signatures included. A gossiped entry reaches a thousand
//! nodes, and a thousand checks of one signature would be all that a run does.

use std::collections::BTreeMap;

use podsync_core::wire::{self, GossipIn, Protocol, Rejected, RequestIn, ResponseIn};

use super::hash::hash;

/// How many are remembered of each kind; then all are forgotten.
const MAX_REMEMBERED: usize = 8 << 10;

#[derive(Default)]
pub(super) struct Opened {
    gossip: Memory<[u8; 32], GossipIn>,
    requests: Memory<(Protocol, [u8; 32]), RequestIn>,
    responses: Memory<(Protocol, [u8; 32]), ResponseIn>,
}

type Memory<K, V> = BTreeMap<K, Result<V, Rejected>>;

impl Opened {
    pub(super) fn gossip(&mut self, bytes: &[u8]) -> Result<GossipIn, Rejected> {
        recall(&mut self.gossip, hash(bytes), || wire::open_gossip(bytes))
    }

    pub(super) fn request(
        &mut self,
        protocol: Protocol,
        bytes: &[u8],
    ) -> Result<RequestIn, Rejected> {
        recall(&mut self.requests, (protocol, hash(bytes)), || {
            wire::open_request(protocol, bytes)
        })
    }

    pub(super) fn response(
        &mut self,
        protocol: Protocol,
        bytes: &[u8],
    ) -> Result<ResponseIn, Rejected> {
        recall(&mut self.responses, (protocol, hash(bytes)), || {
            wire::open_response(protocol, bytes)
        })
    }
}

fn recall<K: Ord, V: Clone>(
    memory: &mut Memory<K, V>,
    key: K,
    open: impl FnOnce() -> Result<V, Rejected>,
) -> Result<V, Rejected> {
    if memory.len() >= MAX_REMEMBERED {
        memory.clear();
    }
    memory.entry(key).or_insert_with(open).clone()
}

//! Gossipsub, limited to the newest connection of each peer.
//!
//! Gossipsub sends each peer its topics once, on the first connection. A peer that dials again has lost that
//! connection and the topics, before this side may notice. So each new connection starts gossipsub afresh for
//! the peer, and the end of a replaced one is not reported to it.

use std::{
    collections::BTreeMap,
    ops::{Deref, DerefMut},
    task::{Context, Poll},
    time::Duration,
};

use libp2p::{
    Multiaddr, PeerId,
    core::{ConnectedPoint, Endpoint, transport::PortUse},
    gossipsub::{self, AllowAllSubscriptionFilter, MaxCountSubscriptionFilter},
    identity::Keypair,
    swarm::{
        ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm, behaviour::ConnectionEstablished,
    },
};
use podsync_core::wire::MAX_GOSSIP_LEN;

use crate::config::SpawnError;

/// The bytes around a gossip payload: signature, key, sequence number, topic.
const ENVELOPE: usize = 1024;

/// Messages waiting for one peer: at 64 KiB each, 8 MiB for a peer that doesn't read.
const QUEUE: usize = 128;

/// Topics that a peer may subscribe to: one for each team that it shares with us.
const MAX_TOPICS: usize = 64;

type Gossipsub = gossipsub::Behaviour<
    gossipsub::IdentityTransform,
    MaxCountSubscriptionFilter<AllowAllSubscriptionFilter>,
>;

pub(crate) struct Behaviour {
    gossipsub: Gossipsub,
    newest: BTreeMap<PeerId, Newest>,
}

/// The connection that gossipsub has for a peer.
struct Newest {
    id: ConnectionId,
    /// None before it is established.
    endpoint: Option<ConnectedPoint>,
}

impl Behaviour {
    pub(crate) fn new(key: &Keypair) -> Result<Self, SpawnError> {
        Ok(Self {
            gossipsub: gossipsub(key)?,
            newest: BTreeMap::new(),
        })
    }

    /// Puts a connection that is being established in place of the last one.
    fn replace(&mut self, peer_id: PeerId, id: ConnectionId) {
        let newest = Newest { id, endpoint: None };
        let before = self.newest.insert(peer_id, newest);
        if let Some(Newest {
            id: connection_id,
            endpoint: Some(endpoint),
        }) = before
        {
            let closed = ConnectionClosed {
                peer_id,
                connection_id,
                endpoint: &endpoint,
                cause: None,
                remaining_established: 0,
            };
            self.gossipsub
                .on_swarm_event(FromSwarm::ConnectionClosed(closed));
        }
    }

    fn is_newest(&self, peer: &PeerId, id: ConnectionId) -> bool {
        self.newest.get(peer).is_some_and(|newest| newest.id == id)
    }

    fn established(&mut self, established: ConnectionEstablished) {
        if let Some(newest) = self.newest.get_mut(&established.peer_id)
            && newest.id == established.connection_id
        {
            newest.endpoint = Some(established.endpoint.clone());
            let first = ConnectionEstablished {
                other_established: 0,
                ..established
            };
            self.gossipsub
                .on_swarm_event(FromSwarm::ConnectionEstablished(first));
        }
    }

    fn closed(&mut self, closed: ConnectionClosed) {
        if self.is_newest(&closed.peer_id, closed.connection_id) {
            self.newest.remove(&closed.peer_id);
            let last = ConnectionClosed {
                remaining_established: 0,
                ..closed
            };
            self.gossipsub
                .on_swarm_event(FromSwarm::ConnectionClosed(last));
        }
    }
}

impl Deref for Behaviour {
    type Target = Gossipsub;

    fn deref(&self) -> &Gossipsub {
        &self.gossipsub
    }
}

impl DerefMut for Behaviour {
    fn deref_mut(&mut self) -> &mut Gossipsub {
        &mut self.gossipsub
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = <Gossipsub as NetworkBehaviour>::ConnectionHandler;
    type ToSwarm = gossipsub::Event;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        local: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.replace(peer, id);
        self.gossipsub
            .handle_established_inbound_connection(id, peer, local, remote)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        addr: &Multiaddr,
        role: Endpoint,
        port_use: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.replace(peer, id);
        self.gossipsub
            .handle_established_outbound_connection(id, peer, addr, role, port_use)
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        match event {
            FromSwarm::ConnectionEstablished(established) => self.established(established),
            FromSwarm::ConnectionClosed(closed) => self.closed(closed),
            FromSwarm::AddressChange(change)
                if !self.is_newest(&change.peer_id, change.connection_id) => {}
            other => self.gossipsub.on_swarm_event(other),
        }
    }

    fn on_connection_handler_event(
        &mut self,
        peer: PeerId,
        id: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        if self.is_newest(&peer, id) {
            self.gossipsub.on_connection_handler_event(peer, id, event);
        }
    }

    fn poll(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        self.gossipsub.poll(context)
    }
}

fn gossipsub(key: &Keypair) -> Result<Gossipsub, SpawnError> {
    let setup = |error: &dyn std::fmt::Display| SpawnError::Setup(format!("gossip: {error}"));
    // A team has 2 to 24 peers, so all may be in one mesh.
    let config = gossipsub::ConfigBuilder::default()
        .validation_mode(gossipsub::ValidationMode::Strict)
        .validate_messages()
        .mesh_n_low(1)
        .mesh_n(4)
        .mesh_n_high(8)
        .mesh_outbound_min(0)
        .flood_publish(true)
        .max_transmit_size(MAX_GOSSIP_LEN + ENVELOPE)
        .connection_handler_queue_len(QUEUE)
        .duplicate_cache_time(Duration::from_secs(120))
        .build()
        .map_err(|error| setup(&error))?;
    let filter = MaxCountSubscriptionFilter {
        filter: AllowAllSubscriptionFilter {},
        max_subscribed_topics: MAX_TOPICS,
        max_subscriptions_per_request: MAX_TOPICS,
    };
    let author = gossipsub::MessageAuthenticity::Signed(key.clone());
    let mut gossip = Gossipsub::new_with_subscription_filter(author, config, filter)
        .map_err(|error| setup(&error))?;
    // Whole teams may share one IP address.
    let score = gossipsub::PeerScoreParams {
        ip_colocation_factor_weight: 0.0,
        ..Default::default()
    };
    gossip
        .with_peer_score(score, gossipsub::PeerScoreThresholds::default())
        .map_err(|error| setup(&error))?;
    Ok(gossip)
}

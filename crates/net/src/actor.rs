//! The actor: owns the swarm, and turns what happens there into events.
//!
//! It never waits for the daemon, or the two could wait for each other: what the event channel
//! cannot take stays in an outbox, bounded because gossip and hints are dropped when it is full.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use futures::StreamExt;
use iroh_blobs::api::Store;
use libp2p::{
    Multiaddr, PeerId, Swarm,
    core::ConnectedPoint,
    gossipsub::{self, IdentTopic, PublishError, TopicHash},
    identity::Keypair,
    mdns, ping,
    swarm::{ConnectionId, SwarmEvent, dial_opts::DialOpts},
};
use podsync_core::{DeviceId, TeamId};
use tokio::{
    sync::{mpsc, oneshot},
    time::{interval, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    blobs::provide::Provider,
    config::{NetConfig, SpawnError},
    dial::{AfterFailure, DialError, Dialler, Manners},
    event::{GossipId, NetEvent, Verdict},
    exchange::Answerer,
    gate::Gate,
    peer_id::{bare_address, device_of, peer_of, split_address},
    peers::Peers,
    serve::Door,
    swarm::{self, Behaviour, BehaviourEvent},
};

/// How long a peer that no team lists may stay connected.
const STRANGER_STAY: Duration = Duration::from_secs(10);

/// How often strangers' time is looked at.
const TICK: Duration = Duration::from_secs(1);

/// Gossip and hints waiting for the daemon: at 64 KiB each, 8 MiB at most.
const MAX_OUTBOX: usize = 128;

/// Unlisted peers that have had their exchange and wait for the actor to notice.
const HAD_EXCHANGE_QUEUE: usize = 8;

/// Peers that one batch of discoveries may bring.
const MAX_DISCOVERED: usize = 64;

/// For connections to end politely when stopping.
const GRACE: Duration = Duration::from_secs(1);

/// Far below the score at which gossipsub ignores a peer and tells it nothing.
const STRANGER_SCORE: f64 = -1000.0;

pub(crate) type Waiter = oneshot::Sender<Result<(), DialError>>;

#[derive(Debug)]
pub(crate) enum Command {
    Dial {
        device: DeviceId,
        addrs: Vec<Multiaddr>,
        manners: Manners,
        waiter: Option<Waiter>,
    },
    Disconnect {
        device: DeviceId,
    },
    MembershipChanged,
    Subscribe {
        team: TeamId,
    },
    Unsubscribe {
        team: TeamId,
    },
    Publish {
        team: TeamId,
        bytes: Vec<u8>,
    },
    Report {
        id: GossipId,
        verdict: Verdict,
    },
}

/// What the actor hears from and speaks to.
pub(crate) struct Wiring {
    pub(crate) commands: mpsc::Receiver<Command>,
    pub(crate) events: mpsc::Sender<NetEvent>,
    pub(crate) peers: Peers,
    pub(crate) tasks: TaskTracker,
    pub(crate) cancel: CancellationToken,
}

pub(crate) struct Actor {
    local: DeviceId,
    swarm: Swarm<Behaviour>,
    gate: Arc<dyn Gate>,
    dialler: Dialler,
    waiters: BTreeMap<DeviceId, Vec<Waiter>>,
    /// Connected peers that no team lists, since when.
    strangers: BTreeMap<DeviceId, Instant>,
    had_exchange: mpsc::Receiver<DeviceId>,
    topics: BTreeMap<TopicHash, TeamId>,
    outbox: VecDeque<NetEvent>,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<NetEvent>,
    peers: Peers,
    cancel: CancellationToken,
}

impl Actor {
    pub(crate) fn new(
        config: &NetConfig,
        key: &Keypair,
        store: Store,
        gate: Arc<dyn Gate>,
        wiring: Wiring,
    ) -> Result<Self, SpawnError> {
        let Wiring {
            commands,
            events,
            peers,
            tasks,
            cancel,
        } = wiring;
        let mut swarm = swarm::build(key, config.mdns, &gate)?;
        let local = device_of(swarm.local_peer_id()).expect("our own key is ed25519");
        let mut dialler = Dialler::new(local);
        for addr in &config.static_peers {
            let (device, bare) = split_address(addr.clone())
                .ok_or_else(|| SpawnError::StaticPeer { addr: addr.clone() })?;
            dialler.keep(device, bare, Instant::now());
        }
        for (addr, multiaddr) in config.listen_addrs() {
            let listening = swarm.listen_on(multiaddr);
            listening.map_err(|error| SpawnError::Listen {
                addr,
                source: std::io::Error::other(error),
            })?;
        }
        let (had_exchange_sender, had_exchange) = mpsc::channel(HAD_EXCHANGE_QUEUE);
        let door = Door {
            gate: Arc::clone(&gate),
            provider: Provider::new(store, Arc::clone(&gate)),
            answerer: Answerer::new(events.clone()),
            peers: peers.clone(),
            events: events.clone(),
            had_exchange: had_exchange_sender,
            tasks,
            cancel: cancel.clone(),
        };
        door.open(&mut swarm.behaviour().streams.new_control())?;
        Ok(Self {
            local,
            swarm,
            gate,
            dialler,
            waiters: BTreeMap::new(),
            strangers: BTreeMap::new(),
            had_exchange,
            topics: BTreeMap::new(),
            outbox: VecDeque::new(),
            commands,
            events,
            peers,
            cancel,
        })
    }

    pub(crate) fn device(&self) -> DeviceId {
        self.local
    }

    pub(crate) fn streams(&self) -> libp2p_stream::Control {
        self.swarm.behaviour().streams.new_control()
    }

    /// Runs until cancelled, until the last handle is dropped, or until nobody hears the events.
    pub(crate) async fn run(mut self) {
        let cancel = self.cancel.clone();
        let events = self.events.clone();
        let mut tick = interval(TICK);
        loop {
            self.dial_due();
            let next_dial = self.dialler.next_due();
            tokio::select! {
                () = cancel.cancelled() => break,
                place = events.reserve(), if !self.outbox.is_empty() => match (place, self.outbox.pop_front()) {
                    (Ok(place), Some(event)) => place.send(event),
                    _ => break,
                },
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => break,
                },
                Some(device) = self.had_exchange.recv() => self.dismiss(device),
                event = self.swarm.select_next_some() => self.handle(event),
                () = sleep_until(next_dial.unwrap_or_else(Instant::now).into()), if next_dial.is_some() => {}
                _ = tick.tick() => self.dismiss_overdue(),
            }
        }
        self.cancel.cancel();
        self.hang_up().await;
    }

    fn obey(&mut self, command: Command) {
        match command {
            Command::Dial {
                device,
                addrs,
                manners,
                waiter,
            } => self.dial(device, addrs, manners, waiter),
            Command::Disconnect { device } => {
                self.dialler.forget(device);
                self.close(device);
            }
            Command::MembershipChanged => self.review_peers(),
            Command::Subscribe { team } => self.subscribe(team),
            Command::Unsubscribe { team } => {
                let topic = topic_of(team);
                self.topics.remove(&topic.hash());
                self.swarm.behaviour_mut().gossip.unsubscribe(&topic);
            }
            Command::Publish { team, bytes } => self.publish(team, bytes),
            Command::Report { id, verdict } => self.report(&id, verdict),
        }
    }

    fn handle(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::NewListenAddr { address, .. } => {
                self.tell(NetEvent::Listening { addr: address })
            }
            SwarmEvent::ConnectionEstablished {
                peer_id,
                endpoint,
                num_established,
                ..
            } => {
                self.established(&peer_id, &endpoint, num_established.get() == 1);
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                num_established: 0,
                cause,
                ..
            } => {
                self.closed(&peer_id, cause.map(|cause| cause.to_string()));
            }
            SwarmEvent::OutgoingConnectionError {
                peer_id: Some(peer),
                error,
                ..
            } => {
                self.dial_failed(&peer, error.to_string());
            }
            SwarmEvent::IncomingConnectionError {
                error,
                send_back_addr,
                ..
            } => {
                tracing::debug!(addr = %send_back_addr, %error, "a peer did not get in");
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "listening"),
            SwarmEvent::ListenerClosed {
                reason: Err(error),
                addresses,
                ..
            } => {
                tracing::warn!(%error, ?addresses, "no longer listening");
            }
            SwarmEvent::Behaviour(BehaviourEvent::Ping(ping)) => self.pinged(&ping),
            SwarmEvent::Behaviour(BehaviourEvent::Mdns(mdns::Event::Discovered(found))) => {
                self.discovered(found);
            }
            SwarmEvent::Behaviour(BehaviourEvent::Gossip(gossipsub::Event::Message {
                propagation_source,
                message_id,
                message,
            })) => self.gossiped(
                GossipId {
                    message: message_id,
                    from: propagation_source,
                },
                message,
            ),
            _ => {}
        }
    }
}

/// Connections.
impl Actor {
    fn dial(
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

    fn dial_due(&mut self) {
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

    fn dial_failed(&mut self, peer: &PeerId, reason: String) {
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
        self.tell_if_room(NetEvent::Unreachable { device, error });
    }

    fn established(&mut self, peer: &PeerId, endpoint: &ConnectedPoint, is_first: bool) {
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
                self.strangers.insert(device, Instant::now());
            }
            tracing::debug!(peer = device.short(), %addr, "connected");
            self.tell(NetEvent::Connected { device, addr });
        }
    }

    fn closed(&mut self, peer: &PeerId, cause: Option<String>) {
        let Some(device) = device_of(peer) else {
            return;
        };
        tracing::debug!(peer = device.short(), cause, "disconnected");
        self.peers.disconnected(device);
        self.strangers.remove(&device);
        self.dialler.disconnected(device, Instant::now());
        self.tell(NetEvent::Disconnected { device });
    }

    fn close(&mut self, device: DeviceId) {
        // An error means that it is closed already.
        let _ = self.swarm.disconnect_peer_id(peer_of(device));
    }

    /// The gate answers differently now.
    fn review_peers(&mut self) {
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

    /// A stranger has had its exchange: it stays if that made it a member.
    fn dismiss(&mut self, device: DeviceId) {
        self.score(device);
        if self.gate.is_member(device) {
            self.strangers.remove(&device);
        } else {
            self.close(device);
        }
    }

    fn dismiss_overdue(&mut self) {
        let overdue = |since: &Instant| since.elapsed() >= STRANGER_STAY;
        let overdue: Vec<_> = self
            .strangers
            .iter()
            .filter(|(_, since)| overdue(since))
            .map(|(device, _)| *device)
            .collect();
        for device in overdue {
            self.dismiss(device);
        }
    }

    fn pinged(&mut self, event: &ping::Event) {
        match &event.result {
            Ok(rtt) => {
                if let Some(device) = device_of(&event.peer) {
                    self.peers.update(device, |peer| peer.rtt = Some(*rtt));
                }
            }
            Err(ping::Failure::Unsupported) => {}
            Err(error) => {
                tracing::debug!(peer = %event.peer, %error, "no answer to a ping: closing");
                self.close_connection(event.connection);
            }
        }
    }

    fn close_connection(&mut self, connection: ConnectionId) {
        self.swarm.close_connection(connection);
    }

    fn discovered(&mut self, found: Vec<(PeerId, Multiaddr)>) {
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
            self.tell_if_room(NetEvent::Discovered { device, addrs });
        }
    }

    async fn hang_up(&mut self) {
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

/// Gossip.
impl Actor {
    fn subscribe(&mut self, team: TeamId) {
        let topic = topic_of(team);
        match self.swarm.behaviour_mut().gossip.subscribe(&topic) {
            Ok(_) => {
                self.topics.insert(topic.hash(), team);
            }
            Err(error) => tracing::warn!(team = team.short(), %error, "cannot subscribe"),
        }
    }

    fn publish(&mut self, team: TeamId, bytes: Vec<u8>) {
        match self
            .swarm
            .behaviour_mut()
            .gossip
            .publish(topic_of(team), bytes)
        {
            Ok(_) => {}
            Err(PublishError::NoPeersSubscribedToTopic | PublishError::Duplicate) => {}
            Err(error) => tracing::warn!(team = team.short(), %error, "cannot gossip"),
        }
    }

    fn gossiped(&mut self, id: GossipId, message: gossipsub::Message) {
        let from = device_of(&id.from).filter(|from| self.gate.is_member(*from));
        match (from, self.topics.get(&message.topic).copied()) {
            (Some(from), Some(team)) if self.outbox.len() < MAX_OUTBOX => {
                self.tell(NetEvent::Gossip {
                    team,
                    from,
                    bytes: message.data,
                    id,
                });
            }
            _ => self.report(&id, Verdict::Ignore),
        }
    }

    fn report(&mut self, id: &GossipId, verdict: Verdict) {
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        gossip.report_message_validation_result(&id.message, &id.from, verdict.into());
    }

    /// Strangers neither hear gossip nor are heard.
    fn score(&mut self, device: DeviceId) {
        let score = if self.gate.is_member(device) {
            0.0
        } else {
            STRANGER_SCORE
        };
        self.swarm
            .behaviour_mut()
            .gossip
            .set_application_score(&peer_of(device), score);
    }
}

/// Events.
impl Actor {
    /// Tells what must not be lost: there are never more of these than connections come and go
    /// while the daemon is busy with one event.
    fn tell(&mut self, event: NetEvent) {
        self.outbox.push_back(event);
    }

    fn tell_if_room(&mut self, event: NetEvent) {
        if self.outbox.len() < MAX_OUTBOX {
            self.tell(event);
        }
    }
}

fn topic_of(team: TeamId) -> IdentTopic {
    IdentTopic::new(format!("/podsync/gossip/1/{team}"))
}

//! The actor: owns the swarm and turns its happenings into events.
//!
//! It never waits for the daemon, or the two could deadlock. Events that the channel can't take
//! stay in the outbox.

mod connections;
mod gossip;
mod probe;

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::StreamExt;
use libp2p::{
    Multiaddr, Swarm,
    gossipsub::{self, TopicHash},
    identity::Keypair,
    mdns,
    swarm::{ConnectionId, SwarmEvent},
};
use podsync_core::{DeviceId, TeamId};
use tokio::{
    sync::{mpsc, oneshot},
    time::{MissedTickBehavior, interval},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use self::probe::{Answered, Probes};
use crate::{
    blobs::{files::Source, provide::Provider},
    config::{NetConfig, SpawnError},
    error::DialError,
    event::{GossipId, NetEvent, Verdict},
    exchange::Answerer,
    gate::Gate,
    interfaces::Interfaces,
    lane::{
        host::{Host, HostParts},
        pool::Pool,
        sockets,
        tls::Identity,
    },
    outbox::Outbox,
    path::Paths,
    peer_id::device_of,
    peers::Peers,
    serve::Door,
    served::Served,
    streams::Streams,
    swarm::{self, Behaviour, BehaviourEvent},
};

/// How often the time limits of strangers are checked.
const TICK: Duration = Duration::from_secs(1);

/// Unlisted peers that have used their exchange and wait for the actor.
const HAD_EXCHANGE_QUEUE: usize = 8;

pub(crate) type Waiter = oneshot::Sender<Result<(), DialError>>;

#[derive(Debug)]
pub(crate) enum Command {
    Dial {
        device: DeviceId,
        addrs: Vec<Multiaddr>,
        waiter: Waiter,
    },
    Probe {
        addr: Multiaddr,
        answered: Answered,
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

/// The actor's channels and shared state.
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
    paths: Paths,
    interfaces: Interfaces,
    /// Dial attempts in progress.
    dialled: BTreeMap<ConnectionId, (DeviceId, Waiter)>,
    probes: Probes,
    strangers: BTreeMap<DeviceId, connections::Stranger>,
    had_exchange: mpsc::Receiver<DeviceId>,
    topics: BTreeMap<TopicHash, TeamId>,
    outbox: Outbox,
    commands: mpsc::Receiver<Command>,
    events: mpsc::Sender<NetEvent>,
    peers: Peers,
    lanes: Pool,
    cancel: CancellationToken,
}

impl Actor {
    pub(crate) fn new(
        config: &NetConfig,
        key: &Keypair,
        source: Source,
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
        let paths = Paths::default();
        let mut swarm = swarm::build(key, config.mdns, &gate, &paths)?;
        let local = device_of(swarm.local_peer_id()).expect("our own key is ed25519");
        swarm::listen(&mut swarm, config)?;
        let (had_exchange_sender, had_exchange) = mpsc::channel(HAD_EXCHANGE_QUEUE);
        let control = || swarm.behaviour().streams.new_control();
        let identity = Identity::new(key)?;
        let streams = Streams::new(control(), peers.clone());
        let lanes = Pool::new(identity.clone(), streams, peers.clone(), paths.clone());
        let provider = Provider::new(source, Arc::clone(&gate), config.traffic.clone());
        let served = Served {
            peers: peers.clone(),
            events: events.clone(),
        };
        let host = HostParts {
            identity,
            gate: Arc::clone(&gate),
            provider: provider.clone(),
            served: served.clone(),
            tasks: tasks.clone(),
            cancel: cancel.clone(),
        };
        let door = Door {
            gate: Arc::clone(&gate),
            provider,
            answerer: Answerer::new(events.clone()),
            lanes: Host::start(host, sockets::listen(&config.listen)),
            served,
            had_exchange: had_exchange_sender,
            tasks,
            cancel: cancel.clone(),
        };
        door.open(&mut control())?;
        Ok(Self {
            local,
            swarm,
            gate,
            paths,
            interfaces: Interfaces::new(),
            dialled: BTreeMap::new(),
            probes: Probes::default(),
            strangers: BTreeMap::new(),
            had_exchange,
            topics: BTreeMap::new(),
            outbox: Outbox::default(),
            commands,
            events,
            peers,
            lanes,
            cancel,
        })
    }

    pub(crate) fn device(&self) -> DeviceId {
        self.local
    }

    pub(crate) fn streams(&self) -> Streams {
        Streams::new(
            self.swarm.behaviour().streams.new_control(),
            self.peers.clone(),
        )
    }

    pub(crate) fn lanes(&self) -> Pool {
        self.lanes.clone()
    }

    /// Runs until cancelled, until the last handle is dropped, or until the event receiver is gone.
    pub(crate) async fn run(mut self) {
        let cancel = self.cancel.clone();
        let events = self.events.clone();
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = cancel.cancelled() => break,
                place = events.reserve(), if !self.outbox.is_empty() => match (place, self.outbox.pop()) {
                    (Ok(place), Some(event)) => place.send(event),
                    _ => break,
                },
                command = self.commands.recv() => match command {
                    Some(command) => self.obey(command),
                    None => break,
                },
                Some(device) = self.had_exchange.recv() => self.had_exchange(device),
                change = self.interfaces.next() => self.network_changed(change),
                event = self.swarm.select_next_some() => self.handle(event),
                _ = tick.tick(), if !self.strangers.is_empty() || self.lanes.has_idle() => {
                    self.dismiss_overdue();
                    self.lanes.sweep();
                }
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
                waiter,
            } => self.dial(device, addrs, waiter),
            Command::Probe { addr, answered } => self.probe(addr, answered),
            Command::Disconnect { device } => self.close(device),
            Command::MembershipChanged => self.review_peers(),
            Command::Subscribe { team } => self.subscribe(team),
            Command::Unsubscribe { team } => self.unsubscribe(team),
            Command::Publish { team, bytes } => self.publish(team, bytes),
            Command::Report { id, verdict } => self.report(&id, verdict),
        }
    }

    fn handle(&mut self, event: SwarmEvent<BehaviourEvent>) {
        match event {
            SwarmEvent::NewListenAddr { address, .. } => {
                self.outbox.push(NetEvent::Listening { addr: address });
            }
            SwarmEvent::ExpiredListenAddr { address, .. } => {
                self.outbox.push(NetEvent::ListeningEnded { addr: address });
            }
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                num_established,
                ..
            } => {
                self.dialled_well(connection_id);
                let is_first = num_established.get() == 1;
                self.established(connection_id, &peer_id, &endpoint, is_first);
                if let Some(device) = device_of(&peer_id) {
                    self.probe_answered(connection_id, device);
                }
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
                peer_id: None,
                connection_id,
                error,
            } => self.probe_failed(connection_id, &error),
            SwarmEvent::OutgoingConnectionError {
                connection_id,
                error,
                ..
            } => {
                self.dial_failed(connection_id, &error);
            }
            SwarmEvent::IncomingConnectionError {
                error,
                send_back_addr,
                ..
            } => {
                tracing::debug!(addr = %send_back_addr, %error, "an incoming connection failed");
            }
            SwarmEvent::ListenerError { error, .. } => tracing::warn!(%error, "listening"),
            SwarmEvent::ListenerClosed {
                reason, addresses, ..
            } => {
                if let Err(error) = reason {
                    tracing::warn!(%error, ?addresses, "no longer listening");
                }
                for addr in addresses {
                    self.outbox.push(NetEvent::ListeningEnded { addr });
                }
            }
            SwarmEvent::Behaviour(BehaviourEvent::Ping(ping)) => self.pinged(&ping),
            SwarmEvent::Behaviour(
                BehaviourEvent::MdnsV4(mdns::Event::Discovered(found))
                | BehaviourEvent::MdnsV6(mdns::Event::Discovered(found)),
            ) => {
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

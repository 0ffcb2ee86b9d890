//! The handle: the daemon's interface to peers.
//!
//! Exchanges and fetches run in the caller's task, on streams opened past the actor; dropping the
//! future ends them. Everything else is a command to the actor.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures::{StreamExt, stream::FuturesUnordered};
use libp2p::{Multiaddr, StreamProtocol, identity::Keypair};
use podsync_core::{
    DeviceId, TeamId,
    wire::{MAX_GOSSIP_LEN, Protocol},
};
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    actor::{Actor, Command, Wiring},
    blobs::{
        self,
        fetch::{Asking, BlobRange, FetchError, FetchStats, Sink},
        files::Source,
    },
    config::{NetConfig, SpawnError},
    error::{DialError, NetGone, PublishError},
    event::{GossipId, NetEvent, Verdict},
    exchange::{self, RequestError},
    gate::Gate,
    lane::pool::Pool,
    limit::Traffic,
    peers::{Contact, PeerInfo, Peers},
    streams::{OpenError, Streams},
};

/// Events that wait for the daemon.
const EVENT_QUEUE: usize = 256;

/// Commands that wait for the actor. Callers wait for room.
const COMMAND_QUEUE: usize = 64;

/// How long an address is tried before the next is tried too.
const KNOCK_NEXT_AFTER: Duration = Duration::from_secs(2);

/// The network of one device. Clones share it.
#[derive(Clone)]
pub struct Net {
    device: DeviceId,
    commands: mpsc::Sender<Command>,
    streams: Streams,
    lanes: Pool,
    peers: Peers,
    traffic: Traffic,
    tasks: TaskTracker,
}

/// The first device that answers. None if all attempts fail.
async fn first_of(waiting: &mut FuturesUnordered<oneshot::Receiver<DeviceId>>) -> Option<DeviceId> {
    while let Some(answer) = waiting.next().await {
        if let Ok(device) = answer {
            return Some(device);
        }
    }
    None
}

impl Net {
    /// Starts listening with the key of `seed`, and serves the blobs of `source`. Ends when `cancel` is cancelled;
    /// see [`stopped`](Self::stopped). The process must have called [`install_crypto`](crate::install_crypto).
    pub fn spawn(
        config: &NetConfig,
        seed: [u8; 32],
        source: Source,
        gate: Arc<dyn Gate>,
        cancel: CancellationToken,
    ) -> Result<(Self, mpsc::Receiver<NetEvent>), SpawnError> {
        let key = Keypair::ed25519_from_bytes(seed).expect("any 32 bytes are an ed25519 seed");
        let (events, received) = mpsc::channel(EVENT_QUEUE);
        let (commands, command_queue) = mpsc::channel(COMMAND_QUEUE);
        let peers = Peers::default();
        let tasks = TaskTracker::new();
        let wiring = Wiring {
            commands: command_queue,
            events,
            peers: peers.clone(),
            tasks: tasks.clone(),
            cancel,
        };
        let actor = Actor::new(config, &key, source, gate, wiring)?;
        let net = Self {
            device: actor.device(),
            commands,
            streams: actor.streams(),
            lanes: actor.lanes(),
            peers,
            traffic: config.traffic.clone(),
            tasks: tasks.clone(),
        };
        tasks.spawn(actor.run());
        tasks.close();
        Ok((net, received))
    }

    /// What may pass in each direction.
    pub fn traffic(&self) -> &Traffic {
        &self.traffic
    }

    /// This device.
    pub fn device(&self) -> DeviceId {
        self.device
    }

    /// Makes one attempt to connect to `device`, at all these addresses at once, and waits for the result.
    /// Succeeds if it is already connected.
    pub async fn dial(&self, device: DeviceId, addrs: Vec<Multiaddr>) -> Result<(), DialError> {
        let (waiter, connected) = oneshot::channel();
        self.command(Command::Dial {
            device,
            addrs,
            waiter,
        })
        .await?;
        connected.await.map_err(|_| NetGone)?
    }

    /// Connects to any device that answers at one of these addresses, and returns it. None if none does. The
    /// addresses are tried one after the other; slow attempts continue beside the next.
    pub async fn probe(&self, addrs: Vec<Multiaddr>) -> Result<Option<DeviceId>, NetGone> {
        let mut waiting = FuturesUnordered::new();
        for addr in addrs {
            let (answered, answer) = oneshot::channel();
            self.command(Command::Probe { addr, answered }).await?;
            waiting.push(answer);
            let first = timeout(KNOCK_NEXT_AFTER, first_of(&mut waiting));
            if let Ok(Some(device)) = first.await {
                return Ok(Some(device));
            }
        }
        Ok(first_of(&mut waiting).await)
    }

    /// Closes the connection to `device`.
    pub async fn disconnect(&self, device: DeviceId) -> Result<(), NetGone> {
        self.command(Command::Disconnect { device }).await
    }

    /// Applies changed answers of the gate: disconnects removed devices, and lets added ones take
    /// part in gossip.
    pub async fn membership_changed(&self) -> Result<(), NetGone> {
        self.command(Command::MembershipChanged).await
    }

    /// Joins the gossip of `team`.
    pub async fn subscribe(&self, team: TeamId) -> Result<(), NetGone> {
        self.command(Command::Subscribe { team }).await
    }

    pub async fn unsubscribe(&self, team: TeamId) -> Result<(), NetGone> {
        self.command(Command::Unsubscribe { team }).await
    }

    /// Gossips to the connected members of `team`. It is no error if there are none.
    pub async fn publish(&self, team: TeamId, bytes: Vec<u8>) -> Result<(), PublishError> {
        if bytes.len() > MAX_GOSSIP_LEN {
            return Err(PublishError::TooLarge { len: bytes.len() });
        }
        Ok(self.command(Command::Publish { team, bytes }).await?)
    }

    /// Reports the daemon's verdict on a gossip message.
    pub async fn report(&self, id: GossipId, verdict: Verdict) -> Result<(), NetGone> {
        self.command(Command::Report { id, verdict }).await
    }

    /// Sends a request to a connected peer and waits for its answer.
    pub async fn request(
        &self,
        device: DeviceId,
        protocol: Protocol,
        request: Vec<u8>,
    ) -> Result<Vec<u8>, RequestError> {
        if request.len() > protocol.max_len() {
            return Err(RequestError::TooLarge {
                protocol,
                len: request.len(),
            });
        }
        let name = StreamProtocol::new(protocol.name());
        let stream = match self.streams.open(device, name).await {
            Ok(stream) => stream,
            Err(OpenError::NotConnected) => return Err(RequestError::NotConnected { device }),
            Err(OpenError::TimedOut) => return Err(RequestError::Timeout { device, protocol }),
            Err(OpenError::Unsupported) => {
                let what = "it does not offer the protocol";
                return Err(RequestError::Malformed {
                    device,
                    protocol,
                    what,
                });
            }
            Err(OpenError::Io(source)) => {
                return Err(RequestError::Cut {
                    device,
                    protocol,
                    source,
                });
            }
        };
        exchange::ask(device, protocol, stream, &request).await
    }

    /// Fetches a range of a blob from a connected peer into `sink`, verified as it arrives. `progress` gets
    /// the length of each verified group.
    pub async fn fetch(
        &self,
        device: DeviceId,
        want: &BlobRange,
        sink: &mut impl Sink,
        progress: impl Fn(u64),
    ) -> Result<FetchStats, FetchError> {
        let Some(asking) = Asking::new(device, want, &self.traffic) else {
            return Ok(FetchStats::default());
        };
        let count = |len| {
            self.peers.passed(device, |contact| {
                contact.hear();
                contact.fetched += len;
            });
            progress(len);
        };
        if let Some(fetched) = self.fetch_over_lane(device, &asking, sink, &count).await {
            return fetched;
        }
        let stream = match self.streams.open(device, blobs::PROTOCOL).await {
            Ok(stream) => stream,
            Err(OpenError::NotConnected) => return Err(FetchError::NotConnected { device }),
            Err(OpenError::TimedOut) => return Err(FetchError::Stalled { device }),
            Err(OpenError::Unsupported) => {
                return Err(FetchError::Refused {
                    device,
                    blob: want.blob,
                });
            }
            Err(OpenError::Io(error)) => return Err(asking.cut(&error)),
        };
        asking.fetch(stream, sink, count).await
    }

    /// None if there is no lane to the device. Nothing was fetched then.
    async fn fetch_over_lane(
        &self,
        device: DeviceId,
        asking: &Asking<'_>,
        sink: &mut impl Sink,
        progress: &impl Fn(u64),
    ) -> Option<Result<FetchStats, FetchError>> {
        loop {
            let mut taken = self.lanes.take(device).await?;
            let lane = taken.lane()?;
            let (ends, proof) = (lane.ends(), taken.proof());
            let begun = match ends.run_until_cancelled(asking.begin(lane)).await {
                Some(Ok(begun)) => begun,
                Some(Err(error)) => {
                    taken.ended_early(error);
                    continue;
                }
                None => return Some(Err(asking.cut(&ended()))),
            };
            let progress = |len| {
                proof.give();
                self.peers
                    .passed(device, |contact| contact.fetched_over_lane += len);
                progress(len);
            };
            let finished = ends.run_until_cancelled(asking.finish(begun, sink, progress));
            let (fetched, lane) = match finished.await {
                Some(finished) => finished,
                None => return Some(Err(asking.cut(&ended()))),
            };
            if let Some(lane) = lane {
                taken.give_back(lane);
            }
            return Some(fetched);
        }
    }

    /// What passed between this device and each peer that is connected, or is a member and was.
    pub fn contacts(&self) -> BTreeMap<DeviceId, Contact> {
        self.peers.contacts()
    }

    /// The peers connected now.
    pub fn connections(&self) -> Vec<PeerInfo> {
        self.peers.list()
    }

    pub fn is_connected(&self, device: DeviceId) -> bool {
        self.peers.is_connected(device)
    }

    /// Resolves when everything has ended after a cancellation: in little more than a second, which
    /// connections have to close cleanly.
    pub async fn stopped(&self) {
        self.tasks.wait().await;
    }

    async fn command(&self, command: Command) -> Result<(), NetGone> {
        self.commands.send(command).await.map_err(|_| NetGone)
    }
}

/// The error for a lane that ended with the connection it was agreed over.
fn ended() -> std::io::Error {
    std::io::Error::other("the connection to it ended")
}

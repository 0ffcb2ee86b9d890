//! The engine's actor: feeds it what happens, carries out what it decides.
//!
//! Nothing that takes time runs in the loop. Each effect is a task whose result comes back as an
//! input; writes go to the disk one transaction at a time, with everything queued meanwhile in the
//! next one.

mod effects;
pub(crate) mod handle;
mod reached;
mod records;
pub(crate) mod told;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::{Arc, PoisonError},
    time::Duration,
};

use podsync_core::{
    DeviceId, TeamId,
    engine::{
        Answer, CommandId, Engine, EngineError, Event, FetchId, GossipId, Input, PersistId, Record,
        ResponderId, TransferId,
    },
    wire,
};
use podsync_net::{Manners, Multiaddr, Net, NetEvent, Responder, Verdict};
use podsync_store::{Blobs, Log, StoreError};
use tokio::{
    sync::{broadcast, mpsc, oneshot},
    task::JoinSet,
    time::interval_at,
};
use tokio_util::sync::CancellationToken;

pub(crate) use self::records::stored;
use self::{
    handle::{Message, Node},
    reached::Reached,
    records::Pending,
    told::Told,
};
use crate::{clock::Clock, gate::SharedGate, hub::Hubs};

/// Messages that wait for the engine; senders wait with them.
const INBOX: usize = 256;
/// Effects under way; beyond this no event of the network is taken.
const MAX_EFFECTS: usize = 512;
/// Devices seen on the LAN that no team of ours lists: tried when this device wants to join one.
const MAX_STRANGERS: usize = 64;
/// How often members that aren't connected are tried where they were reached before.
const REDIAL_EVERY: Duration = Duration::from_secs(30);
/// With so many members connected, what others say of their addresses is only kept.
const ENOUGH_CONNECTED: usize = 12;
/// Members tried at once.
const REDIALLED_AT_ONCE: usize = 24;
/// Events that a slow listener may be behind.
const EVENTS: usize = 256;

/// What the loop stands on.
pub(crate) struct Ground {
    pub(crate) engine: Engine,
    pub(crate) net: Net,
    pub(crate) net_events: mpsc::Receiver<NetEvent>,
    pub(crate) log: Log,
    pub(crate) blobs: Blobs,
    pub(crate) gate: Arc<SharedGate>,
    pub(crate) hubs: Arc<Hubs>,
    pub(crate) listening: Arc<std::sync::Mutex<Vec<Multiaddr>>>,
    pub(crate) clock: Clock,
    pub(crate) cancel: CancellationToken,
}

/// Something that an effect's task reports.
enum Done {
    Input(Input),
    /// Received bytes, opened.
    Gossip {
        id: podsync_net::GossipId,
        team: TeamId,
        from: DeviceId,
        opened: Option<wire::GossipIn>,
    },
    Request {
        device: DeviceId,
        responder: Responder,
        opened: Option<wire::RequestIn>,
    },
    Nothing,
}

/// What a transaction was for, and what became of it.
type Written = (Vec<PersistId>, Result<(), StoreError>);

struct Actor {
    ground: Ground,
    inbox: mpsc::Receiver<Message>,
    /// For tasks that report more than once.
    progress: mpsc::Sender<Message>,
    events: broadcast::Sender<Event>,
    effects: JoinSet<Done>,
    writing: Option<tokio::task::JoinHandle<Written>>,
    writes: VecDeque<(PersistId, Vec<Record>)>,
    next_id: u64,
    replies: BTreeMap<CommandId, oneshot::Sender<Result<Answer, EngineError>>>,
    transfers: BTreeMap<TransferId, Pending>,
    responders: BTreeMap<ResponderId, Responder>,
    gossip: BTreeMap<GossipId, podsync_net::GossipId>,
    fetches: BTreeMap<FetchId, CancellationToken>,
    /// Joins under way: until they end, whoever is found on the LAN may be the one to ask.
    joining: BTreeSet<CommandId>,
    strangers: BTreeMap<DeviceId, Vec<Multiaddr>>,
    reached: Reached,
    told: Told,
    connected: BTreeSet<DeviceId>,
}

/// Starts the loop; it ends when the token is cancelled and its queued writes are on the disk.
pub(crate) fn spawn(
    ground: Ground,
    tasks: &tokio_util::task::TaskTracker,
) -> Result<Node, StoreError> {
    let reached = Reached::load(&ground.log)?;
    let (sender, inbox) = mpsc::channel(INBOX);
    let (events, _) = broadcast::channel(EVENTS);
    let node = Node::new(sender.clone(), events.clone());
    let actor = Actor {
        ground,
        inbox,
        progress: sender,
        events,
        effects: JoinSet::new(),
        writing: None,
        writes: VecDeque::new(),
        next_id: 0,
        replies: BTreeMap::new(),
        transfers: BTreeMap::new(),
        responders: BTreeMap::new(),
        gossip: BTreeMap::new(),
        fetches: BTreeMap::new(),
        joining: BTreeSet::new(),
        strangers: BTreeMap::new(),
        reached,
        told: Told::default(),
        connected: BTreeSet::new(),
    };
    tasks.spawn(actor.run());
    Ok(node)
}

impl Actor {
    async fn run(mut self) {
        self.settle();
        // Nobody knows yet that this device is there again.
        self.redial(Manners::AtOnce);
        let mut redial = interval_at(tokio::time::Instant::now() + REDIAL_EVERY, REDIAL_EVERY);
        redial.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            let due = self
                .ground
                .engine
                .poll_timeout()
                .map(|mono| self.ground.clock.instant(mono));
            tokio::select! {
                () = self.ground.cancel.cancelled() => break,
                Some(message) = self.inbox.recv() => self.take(message),
                Some(event) = self.ground.net_events.recv(), if self.effects.len() < MAX_EFFECTS => self.hear(event),
                Some(done) = self.effects.join_next() => self.finish(done.unwrap_or(Done::Nothing)),
                Some(written) = written(&mut self.writing) => self.written(written),
                () = sleep_until(due) => self.input(Input::Tick),
                _ = redial.tick() => self.redial(Manners::SmallerFirst),
            }
            self.settle();
        }
        self.drain().await;
    }

    /// What was decided before the end still reaches the disk.
    async fn drain(&mut self) {
        self.effects.abort_all();
        loop {
            self.start_writing();
            match written(&mut self.writing).await {
                Some(result) => self.written(result),
                None => break,
            }
        }
    }

    fn input(&mut self, input: Input) {
        self.ground.engine.handle(input, self.ground.clock.now());
    }

    /// Carries out everything that the engine has decided.
    fn settle(&mut self) {
        while let Some(output) = self.ground.engine.poll_output() {
            self.carry_out(output);
        }
        self.start_writing();
    }

    fn fresh_id(&mut self) -> u64 {
        self.next_id += 1;
        self.next_id
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Input(input) => self.input(*input),
            Message::Command { command, reply } => {
                let id = CommandId(self.fresh_id());
                self.replies.insert(id, reply);
                if matches!(*command, podsync_core::engine::Command::Join { .. }) {
                    self.joining.insert(id);
                    self.dial_strangers();
                }
                self.input(Input::Command {
                    id,
                    command: *command,
                });
            }
            Message::Want {
                mut want,
                progress,
                end,
            } => {
                let id = TransferId(self.fresh_id());
                want.transfer = id;
                self.transfers.insert(id, Pending { progress, end });
                self.input(Input::Want(want));
            }
            Message::Read(read) => read(&self.ground.engine),
        }
        self.cancel_abandoned();
    }

    /// A transfer that nobody waits for any more is called off.
    fn cancel_abandoned(&mut self) {
        let abandoned: Vec<_> = self
            .transfers
            .iter()
            .filter(|(_, pending)| pending.end.is_closed())
            .map(|(id, _)| *id)
            .collect();
        for transfer in abandoned {
            self.transfers.remove(&transfer);
            self.input(Input::CancelWant { transfer });
        }
    }

    fn hear(&mut self, event: NetEvent) {
        match event {
            NetEvent::Listening { addr } => {
                tracing::info!(%addr, "listening");
                let addresses = {
                    let mut listening = self
                        .ground
                        .listening
                        .lock()
                        .unwrap_or_else(PoisonError::into_inner);
                    listening.push(addr);
                    told::worth_telling(&listening)
                };
                self.input(Input::Listening { addresses });
            }
            NetEvent::Connected {
                device,
                addr,
                dialled,
            } => {
                tracing::info!(peer = %device.short(), %addr, "connected");
                self.connected.insert(device);
                if dialled {
                    let news = self.reached.note(device, addr);
                    self.keep(news.into_iter().collect());
                }
                self.input(Input::Connected { device });
            }
            NetEvent::Disconnected { device } => {
                tracing::info!(peer = %device.short(), "disconnected");
                self.connected.remove(&device);
                self.input(Input::Disconnected { device });
            }
            NetEvent::Discovered { device, addrs } => self.discovered(device, addrs),
            NetEvent::Unreachable { device, error } => {
                tracing::debug!(peer = %device.short(), %error, "not reached");
            }
            NetEvent::Gossip {
                team,
                from,
                bytes,
                id,
            } => {
                self.open(move || Done::Gossip {
                    id,
                    team,
                    from,
                    opened: logged(from, wire::open_gossip(&bytes)),
                });
            }
            NetEvent::Request {
                device,
                protocol,
                bytes,
                responder,
            } => {
                self.open(move || Done::Request {
                    device,
                    responder,
                    opened: logged(device, wire::open_request(protocol, &bytes)),
                });
            }
            NetEvent::Served {
                device,
                blob,
                bytes,
            } => {
                tracing::debug!(peer = %device.short(), pack = %blob.short(), bytes, "served");
            }
        }
    }

    /// Decodes and verifies on the blocking pool: signatures are dear.
    fn open(&mut self, work: impl FnOnce() -> Done + Send + 'static) {
        self.effects.spawn_blocking(work);
    }

    fn discovered(&mut self, device: DeviceId, addrs: Vec<Multiaddr>) {
        if self.ground.gate.lists(device) {
            self.dial(device, addrs, Manners::SmallerFirst);
            return;
        }
        if self.strangers.len() < MAX_STRANGERS {
            self.strangers.insert(device, addrs.clone());
        }
        if !self.joining.is_empty() {
            self.dial(device, addrs, Manners::AtOnce);
        }
    }

    /// A member's device says where it is.
    fn addresses_heard(&mut self, device: DeviceId, addresses: &[String]) {
        let listening = self
            .ground
            .listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let addrs = self.told.note(device, addresses, &listening);
        if !addrs.is_empty()
            && !self.connected.contains(&device)
            && self.connected.len() < ENOUGH_CONNECTED
            && self.ground.gate.lists(device)
        {
            self.dial(device, addrs, Manners::SmallerFirst);
        }
    }

    /// Tries members that aren't connected where they were reached before, then where they say that
    /// they are. Once both sides may know an address the smaller key goes first.
    fn redial(&mut self, manners: Manners) {
        let gate = Arc::clone(&self.ground.gate);
        let joining = !self.joining.is_empty();
        let connected = &self.connected;
        let gone = self
            .reached
            .retain(|device| joining || connected.contains(device) || gate.lists(*device));
        self.keep(gone);
        self.told.retain(|device| gate.lists(*device));
        let room = ENOUGH_CONNECTED.saturating_sub(self.connected.len());
        let mut due: BTreeMap<DeviceId, Vec<Multiaddr>> = BTreeMap::new();
        let away = |(device, _): &(DeviceId, &[Multiaddr])| {
            !self.connected.contains(device) && gate.lists(*device)
        };
        let known = self.reached.iter().filter(away).take(REDIALLED_AT_ONCE);
        let told = self.told.iter().filter(away).take(room);
        for (device, addrs) in known.chain(told) {
            due.entry(device).or_default().extend_from_slice(addrs);
        }
        for (device, addrs) in due {
            self.dial(device, addrs, manners);
        }
    }

    /// Writes down where devices were reached. What can't be written is found anew some time.
    fn keep(&mut self, records: Vec<podsync_store::Record>) {
        if records.is_empty() {
            return;
        }
        let log = self.ground.log.clone();
        self.effects.spawn_blocking(move || {
            if let Err(error) = log.commit(&records) {
                tracing::warn!(%error, "where a device was reached isn't kept");
            }
            Done::Nothing
        });
    }

    fn dial_strangers(&mut self) {
        for (device, addrs) in std::mem::take(&mut self.strangers) {
            self.dial(device, addrs, Manners::AtOnce);
        }
    }

    fn finish(&mut self, done: Done) {
        match done {
            Done::Nothing => {}
            Done::Input(input) => {
                if let Input::FetchDone { fetch } | Input::FetchFailed { fetch, .. } = &input {
                    self.fetches.remove(fetch);
                }
                self.input(input);
            }
            Done::Gossip {
                id, opened: None, ..
            } => self.report(id, Verdict::Reject),
            Done::Gossip {
                id,
                team,
                from,
                opened: Some(message),
            } => {
                let ours = GossipId(self.fresh_id());
                self.gossip.insert(ours, id);
                self.input(Input::Gossip {
                    id: ours,
                    team,
                    from,
                    message,
                });
            }
            // Dropping the responder tells the peer that it won't be answered.
            Done::Request { opened: None, .. } => {}
            Done::Request {
                device,
                responder,
                opened: Some(request),
            } => {
                let id = ResponderId(self.fresh_id());
                self.responders.insert(id, responder);
                self.input(Input::Request {
                    id,
                    device,
                    request,
                });
            }
        }
    }

    fn written(&mut self, (ids, result): Written) {
        self.writing = None;
        for id in ids {
            self.input(match &result {
                Ok(()) => Input::Persisted { id },
                Err(error) => Input::PersistFailed {
                    id,
                    why: error.to_string(),
                },
            });
        }
        self.settle();
    }

    fn start_writing(&mut self) {
        if self.writing.is_some() || self.writes.is_empty() {
            return;
        }
        let (ids, batches): (Vec<_>, Vec<_>) = self.writes.drain(..).unzip();
        let log = self.ground.log.clone();
        self.writing = Some(tokio::task::spawn_blocking(move || {
            let records: Vec<_> = batches
                .into_iter()
                .flatten()
                .map(records::to_store)
                .collect();
            (ids, log.commit(&records))
        }));
    }
}

async fn written<T>(writing: &mut Option<tokio::task::JoinHandle<T>>) -> Option<T> {
    // A panic while writing must not look like success: it is passed on.
    match writing {
        Some(task) => Some(task.await.expect("writing to the log doesn't panic")),
        None => None,
    }
}

async fn sleep_until(due: Option<tokio::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn logged<T>(device: DeviceId, opened: Result<T, wire::Rejected>) -> Option<T> {
    opened
        .inspect_err(|error| tracing::warn!(peer = %device.short(), %error, "it sent what can't be believed"))
        .ok()
}

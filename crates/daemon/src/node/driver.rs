//! The loop: it feeds events into the engine and the address book, and carries out their outputs.

use std::sync::{Arc, PoisonError};

use podsync_core::{
    DeviceId,
    engine::{Command, Engine, Event, GateChange, Input, Output, Provider},
    wire,
};
use podsync_net::{Multiaddr, Net, NetEvent, Verdict};
use podsync_store::{Blobs, Log, StoreError};
use tokio::sync::{broadcast, mpsc};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    address_book,
    correlation::{Correlation, Pending},
    effects::{Done, Effects},
    handle::{Message, Node, NotReached, TransferProgress},
    records,
    writes::{Writes, Written},
};
use crate::{
    addresses::{self, Addresses},
    clock::Clock,
    events::{Events, heard},
    gate::SharedGate,
    hub::state::Hubs,
    versions::Versions,
};

/// Messages that wait for the engine. Senders wait while the queue is full.
const INBOX: usize = 256;
/// Most effects in progress. At this number the loop takes no more network events.
const MAX_EFFECTS: usize = 512;
/// Most events that a slow listener may be behind.
const EVENTS: usize = 256;

/// The parts that the loop is started with.
pub(crate) struct Parts {
    pub(crate) engine: Engine,
    /// Devices to always stay connected to, with their addresses.
    pub(crate) pinned: Vec<(DeviceId, Multiaddr)>,
    pub(crate) net: Net,
    pub(crate) net_events: mpsc::Receiver<NetEvent>,
    pub(crate) log: Log,
    pub(crate) blobs: Blobs,
    pub(crate) versions: Arc<Versions>,
    pub(crate) gate: Arc<SharedGate>,
    pub(crate) hubs: Arc<Hubs>,
    pub(crate) listening: Arc<std::sync::Mutex<Vec<Multiaddr>>>,
    pub(crate) clock: Clock,
    /// The event list for people and programs.
    pub(crate) told: Events,
    pub(crate) cancel: CancellationToken,
}

/// Starts the loop; it ends when the token is cancelled and its queued writes are on the disk.
pub(crate) fn spawn(parts: Parts, tasks: &TaskTracker) -> Result<Node, StoreError> {
    let reached = address_book::load(&parts.log)?;
    let now = parts.clock.now().mono;
    let (sender, inbox) = mpsc::channel(INBOX);
    let (events, _) = broadcast::channel(EVENTS);
    let node = Node::new(sender.clone(), events.clone());
    let addresses = Addresses::new(parts.net.device(), parts.pinned, reached, now);
    let driver = Driver {
        engine: parts.engine,
        addresses,
        correlation: Correlation::default(),
        effects: Effects::new(
            parts.net,
            parts.blobs,
            parts.versions,
            parts.hubs,
            parts.log.clone(),
            sender,
        ),
        writes: Writes::new(parts.log),
        gate: parts.gate,
        listening: parts.listening,
        clock: parts.clock,
        net_events: parts.net_events,
        inbox,
        events,
        told: parts.told,
        cancel: parts.cancel,
    };
    tasks.spawn(driver.run());
    Ok(node)
}

struct Driver {
    engine: Engine,
    addresses: Addresses,
    correlation: Correlation,
    effects: Effects,
    writes: Writes,
    gate: Arc<SharedGate>,
    listening: Arc<std::sync::Mutex<Vec<Multiaddr>>>,
    clock: Clock,
    net_events: mpsc::Receiver<NetEvent>,
    inbox: mpsc::Receiver<Message>,
    events: broadcast::Sender<Event>,
    told: Events,
    cancel: CancellationToken,
}

impl Driver {
    async fn run(mut self) {
        self.settle();
        loop {
            let due = self.engine.poll_timeout();
            let due = due.map(|mono| self.clock.instant(mono));
            let dial_due = self.clock.instant(self.addresses.poll_timeout());
            tokio::select! {
                () = self.cancel.cancelled() => break,
                Some(message) = self.inbox.recv() => self.take(message),
                Some(event) = self.net_events.recv(), if self.effects.len() < MAX_EFFECTS => self.hear(event),
                Some(done) = self.effects.next() => self.finish(done),
                Some(written) = self.writes.next() => self.written(written),
                () = sleep_until(due) => self.input(Input::Tick),
                () = tokio::time::sleep_until(dial_due) => self.address_input(addresses::Input::Tick),
            }
            self.settle();
        }
        self.drain().await;
    }

    /// Decisions from before the end are still written to the disk.
    async fn drain(&mut self) {
        self.effects.abort_all();
        loop {
            self.writes.start();
            match self.writes.next().await {
                Some(written) => {
                    self.written(written);
                    self.settle();
                }
                None => break,
            }
        }
    }

    fn input(&mut self, input: Input) {
        self.engine.handle(input, self.clock.now());
    }

    fn address_input(&mut self, input: addresses::Input) {
        self.addresses.handle(input, self.clock.now().mono);
    }

    /// Carries out all pending outputs.
    fn settle(&mut self) {
        loop {
            if let Some(output) = self.engine.poll_output() {
                self.carry_out(output);
            } else if let Some(output) = self.addresses.poll_output() {
                self.carry_out_address(output);
            } else {
                break;
            }
        }
        self.writes.start();
    }

    fn take(&mut self, message: Message) {
        match message {
            Message::Input(input) => self.input(*input),
            Message::Command { command, reply } => {
                let is_join = matches!(*command, Command::Join { .. });
                let id = self.correlation.command(reply, is_join);
                if is_join {
                    self.address_input(addresses::Input::Joining(true));
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
                want.transfer = self.correlation.transfer(Pending { progress, end });
                self.input(Input::Want(want));
            }
            Message::Connect {
                device,
                addresses,
                waiter,
            } => {
                self.correlation.wait_for(device, waiter);
                if self.effects.is_connected(device) {
                    self.correlation.reached(device, Ok(()));
                } else {
                    self.address_input(addresses::Input::Wanted { device, addresses });
                }
            }
            Message::Read(read) => read(&self.engine),
        }
        // Cancels transfers that nobody waits for any more.
        for transfer in self.correlation.abandoned() {
            self.input(Input::CancelWant { transfer });
        }
    }

    fn hear(&mut self, event: NetEvent) {
        match event {
            NetEvent::Listening { addr: address } => {
                tracing::info!(%address, "listening");
                self.address_input(addresses::Input::Listening { address });
            }
            NetEvent::ListeningEnded { addr: address } => {
                tracing::info!(%address, "no longer listening");
                self.address_input(addresses::Input::ListeningEnded { address });
            }
            NetEvent::NetworkChanged => {
                self.address_input(addresses::Input::NetworkChanged);
            }
            NetEvent::Connected {
                device,
                addr: address,
                dialled,
            } => {
                tracing::info!(peer = %device.short(), %address, "connected");
                self.tell_of_peer(device, true, Some(address.to_string()));
                self.address_input(addresses::Input::Connected {
                    device,
                    address,
                    dialled,
                });
                self.correlation.reached(device, Ok(()));
                self.input(Input::Connected { device });
            }
            NetEvent::Disconnected { device } => {
                tracing::info!(peer = %device.short(), "disconnected");
                self.tell_of_peer(device, false, None);
                self.address_input(addresses::Input::Disconnected { device });
                self.input(Input::Disconnected { device });
            }
            NetEvent::Discovered {
                device,
                addrs: addresses,
            } => self.address_input(addresses::Input::Discovered { device, addresses }),
            NetEvent::Gossip {
                team,
                from,
                bytes,
                id,
            } => self.effects.open(move || Done::Gossip {
                id,
                team,
                from,
                opened: believed(from, wire::open_gossip(&bytes)),
            }),
            NetEvent::Request {
                device,
                protocol,
                bytes,
                responder,
            } => self.effects.open(move || Done::Request {
                device,
                responder,
                opened: believed(device, wire::open_request(protocol, &bytes)),
            }),
            NetEvent::Served {
                device,
                blob,
                bytes,
            } => {
                tracing::debug!(peer = %device.short(), pack = %blob.short(), bytes, "served");
            }
            NetEvent::Unreadable { blob } => self.effects.check(blob),
        }
    }

    fn finish(&mut self, done: Done) {
        match done {
            Done::Nothing => {}
            Done::DialFailed { device, taken } => {
                self.address_input(addresses::Input::DialFailed { device, taken });
            }
            Done::Checked { blob, is_damaged } => {
                self.effects.checked(blob);
                if is_damaged {
                    self.input(Input::Evicted { blob });
                }
            }
            Done::Input(input) => {
                if let Input::FetchDone { fetch } | Input::FetchFailed { fetch, .. } = &input {
                    self.correlation.fetch_ended(*fetch);
                }
                self.input(input);
            }
            Done::Gossip {
                id, opened: None, ..
            } => self.effects.report(id, Verdict::Reject),
            Done::Gossip {
                id,
                team,
                from,
                opened: Some(message),
            } => {
                let id = self.correlation.gossip(id);
                self.input(Input::Gossip {
                    id,
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
                let id = self.correlation.responder(responder);
                self.input(Input::Request {
                    id,
                    device,
                    request,
                });
            }
        }
    }

    fn written(&mut self, (ids, result): Written) {
        for id in ids {
            self.input(match &result {
                Ok(()) => Input::Persisted { id },
                Err(error) => Input::PersistFailed {
                    id,
                    why: error.to_string(),
                },
            });
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Persist { id, records } => self.writes.queue(id, records),
            Output::Gossip { team, bytes } => self.effects.gossip(team, bytes),
            Output::Validate { id, verdict } => {
                if let Some(theirs) = self.correlation.take_gossip(id) {
                    self.effects.report(theirs, records::net_verdict(verdict));
                }
            }
            Output::Request {
                id,
                device,
                protocol,
                bytes,
            } => self.effects.request(id, device, protocol, bytes),
            Output::Respond { id, bytes } => {
                if let Some(responder) = self.correlation.take_responder(id)
                    && let Err(error) = responder.respond(bytes)
                {
                    tracing::error!(%error, "an answer was not sent");
                }
            }
            Output::Fetch {
                fetch,
                team,
                provider,
                blob,
                range,
                total_len,
            } => {
                let want = podsync_net::BlobRange {
                    blob,
                    blob_len: total_len,
                    range,
                };
                let cancel = self.correlation.fetch(fetch);
                let source = self.effects.source(provider, team);
                self.effects.fetch(fetch, source, want, cancel);
            }
            Output::CancelFetch { fetch } => self.correlation.cancel_fetch(fetch),
            Output::Disconnect { device, why } => {
                tracing::info!(peer = %device.short(), ?why, "closing");
                self.effects.disconnect(device);
            }
            Output::JoinAtHub {
                team,
                urls,
                request,
            } => self.effects.join_at_hub(team, urls, request),
            Output::GateChanged(change) => self.change_gate(change),
            Output::Reply { command, result } => {
                self.correlation.reply(command, result);
                let joining = self.correlation.is_joining();
                self.address_input(addresses::Input::Joining(joining));
            }
            Output::Event(event) => self.tell(event),
        }
    }

    fn carry_out_address(&mut self, output: addresses::Output) {
        match output {
            addresses::Output::Dial { device, addresses } => self.effects.dial(device, addresses),
            addresses::Output::Unreachable { device } => {
                self.correlation.reached(device, Err(NotReached));
            }
            addresses::Output::Announce { addresses } => {
                let listening = self.addresses.listening();
                *self
                    .listening
                    .lock()
                    .unwrap_or_else(PoisonError::into_inner) = listening;
                self.input(Input::Listening { addresses });
            }
            addresses::Output::Remember { device, addresses } => {
                self.effects
                    .remember(address_book::record(device, &addresses));
            }
        }
    }

    fn change_gate(&mut self, change: GateChange) {
        let members = match &change {
            GateChange::Members { team, devices } => Some((*team, devices.clone())),
            GateChange::Robots { .. } | GateChange::Share { .. } | GateChange::Withdraw { .. } => {
                None
            }
        };
        self.gate.apply(change);
        if let Some((team, devices)) = members {
            self.effects.membership_changed(team);
            self.address_input(addresses::Input::Members { team, devices });
        }
    }

    fn tell_of_peer(&self, device: DeviceId, connected: bool, address: Option<String>) {
        if let Some(what) = heard::peer(&self.engine, device, connected, address) {
            self.told.tell(what);
        }
    }

    fn tell(&mut self, event: Event) {
        if let Some(what) = heard::heard(&self.engine, &event) {
            self.told.tell(what);
        }
        match &event {
            Event::TransferProgress {
                transfer,
                bytes,
                providers,
                ..
            } => self.correlation.progress(
                *transfer,
                TransferProgress {
                    bytes: *bytes,
                    providers: *providers,
                },
            ),
            Event::TransferDone { transfer, from } => {
                self.correlation.end_transfer(*transfer, Ok(()), from);
            }
            Event::TransferFailed {
                transfer,
                why,
                from,
            } => self
                .correlation
                .end_transfer(*transfer, Err(why.clone()), from),
            Event::AddressesHeard { device, addresses } => {
                tracing::debug!(peer = %device.short(), ?addresses, "announces where it is");
                self.address_input(addresses::Input::Announced {
                    device: *device,
                    addresses: addresses.clone(),
                });
            }
            Event::LiarFound { provider, blob } => match provider {
                Provider::Peer(device) => {
                    tracing::error!(peer = %device.short(), pack = %blob.short(), "a peer sent bytes whose hash is wrong");
                }
                Provider::Bucket => {
                    tracing::error!(pack = %blob.short(), "the bucket's object has a wrong hash");
                }
            },
            Event::ForkProof { team, device, seq } => {
                tracing::error!(team = %team.short(), peer = %device.short(), seq, "a feed contradicts itself and is quarantined");
            }
            Event::CaughtUp { team } => tracing::debug!(team = %team.short(), "caught up"),
            Event::NotLetIn { team } => {
                tracing::debug!(team = %team.short(), "no connected member lets this device in");
            }
            other => tracing::info!(event = ?other),
        }
        // Sending fails if nobody listens, which is fine.
        let _ = self.events.send(event);
    }
}

async fn sleep_until(due: Option<tokio::time::Instant>) {
    match due {
        Some(due) => tokio::time::sleep_until(due).await,
        None => std::future::pending().await,
    }
}

fn believed<T>(device: DeviceId, opened: Result<T, wire::Rejected>) -> Option<T> {
    opened
        .inspect_err(
            |error| tracing::warn!(peer = %device.short(), %error, "a peer's message is invalid"),
        )
        .ok()
}

//! The engine: policy without side effects. Events go in, actions come out.
//!
//! It reads no clock, disk, socket or random source. The daemon and the simulated network drive the
//! same type. One rule holds everywhere: a decision of this device takes effect only once it is
//! [`Input::Persisted`].

mod addresses;
mod admin;
mod answer;
mod caught_up;
mod command;
mod digest;
mod entropy;
mod error;
mod exchange;
mod gate;
mod gossip;
mod hub;
mod input;
mod join;
mod output;
mod provider;
mod publish;
mod record;
mod team;
pub mod transfer;
mod view;
mod want;
mod writes;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

pub use error::EngineError;
pub use gate::{Gate, GateChange};
pub use hub::OwnEntries;
pub use input::{
    Command, CommandId, FetchFailed, FetchId, GossipId, HubJoinFailure, HubNews, Input,
    InviteOptions, Now, PersistId, Publish, RequestFailed, RequestId, ResponderId, Robot,
    SavePrivate, TransferId, Want, WantedBlob,
};
pub use output::{Answer, Event, Farewell, HubJoin, Output, Record, Verdict};
pub use provider::{Provider, Sources};
pub use record::Restored;
pub use view::{DeviceHeard, FeedStatus};

use self::{
    caught_up::Refresh,
    command::Queued,
    entropy::Entropy,
    exchange::{Asked, Connection},
    hub::HubFeeds,
    join::PendingJoin,
    team::Team,
    want::Wants,
    writes::{After, OwnWrite, Writes},
};
use crate::{
    feed::{Entry, Head},
    id::{DeviceId, TeamId},
    keys::DeviceSecret,
    membership::{Membership, Operation},
    seal::SecretKey,
    signed::Verified,
};

/// How often a device signs a liveness statement.
const LIVENESS_EVERY: Duration = Duration::from_secs(3600);
/// When it signs the first one after the start.
const FIRST_LIVENESS_AFTER: Duration = Duration::from_secs(20);

/// The policy of one home.
pub struct Engine {
    secret: DeviceSecret,
    now: Now,
    entropy: Entropy,
    teams: BTreeMap<TeamId, TeamState>,
    connected: BTreeMap<DeviceId, Connection>,
    /// When each member's last connection ended, in Unix milliseconds. Connected members are left
    /// out.
    left_ms: BTreeMap<DeviceId, u64>,
    /// The addresses of this device.
    listening: Vec<String>,
    /// Open requests to peers.
    asked: BTreeMap<RequestId, Asked>,
    requests_minted: u64,
    joins: BTreeMap<TeamId, PendingJoin>,
    refreshes: Vec<Refresh>,
    wants: Wants,
    writes: Writes,
    outputs: VecDeque<Output>,
    /// The teams restored from the log, until [`Engine::start`].
    restored: BTreeMap<TeamId, RestoredTeam>,
}

/// A team and its pending work.
struct TeamState {
    team: Team,
    /// The members that the gate was last given.
    gated: BTreeSet<DeviceId>,
    /// Decisions that wait while an earlier one is being written.
    queued: VecDeque<Queued>,
    is_writing: bool,
    /// Feeds with an open request for missing entries.
    filling: BTreeSet<DeviceId>,
    hub_feeds: HubFeeds,
    next_liveness: Duration,
    rotation_at: Option<Duration>,
    /// When to gossip this device's address record.
    addresses_at: Option<Duration>,
    /// No member was connected when the last address record was sent.
    addresses_unheard: bool,
    /// The newest entry of this device's own feed that users were told of.
    own_seq: u64,
}

#[derive(Default)]
struct RestoredTeam {
    operations: Vec<Arc<Verified<Operation>>>,
    heads: Vec<Verified<Head>>,
    entries: Vec<Arc<Entry>>,
    private: Vec<crate::catalog::PrivateVersion>,
    invite_key: Option<SecretKey>,
}

impl Engine {
    /// An empty engine. `seed` must be fresh random bytes, new at every start.
    pub fn new(secret: DeviceSecret, seed: [u8; 32], now: Now) -> Self {
        Self {
            secret,
            now,
            entropy: Entropy::new(seed),
            teams: BTreeMap::new(),
            connected: BTreeMap::new(),
            left_ms: BTreeMap::new(),
            listening: Vec::new(),
            asked: BTreeMap::new(),
            requests_minted: 0,
            joins: BTreeMap::new(),
            refreshes: Vec::new(),
            wants: Wants::default(),
            writes: Writes::default(),
            outputs: VecDeque::new(),
            restored: BTreeMap::new(),
        }
    }

    /// Restores one record of the log. [`Engine::start`] follows the last one.
    pub fn restore(&mut self, record: Restored) {
        let (Restored::Operation(team, _)
        | Restored::Entry(team, _)
        | Restored::Head(team, _)
        | Restored::Fork(team, _)
        | Restored::Private(team, _)
        | Restored::InviteKey(team, _)) = record;
        let kept = self.restored.entry(team).or_default();
        match record {
            Restored::Operation(_, operation) => kept.operations.push(operation),
            Restored::InviteKey(_, seed) => kept.invite_key = Some(seed),
            Restored::Entry(_, entry) => kept.entries.push(entry),
            Restored::Head(_, head) | Restored::Fork(_, head) => kept.heads.push(head),
            Restored::Private(_, version) => kept.private.push(*version),
        }
    }

    /// Builds the teams from the restored records. Call it before the first input, even without
    /// records.
    pub fn start(&mut self, now: Now) {
        self.now = now;
        for (id, kept) in std::mem::take(&mut self.restored) {
            let founding = kept
                .operations
                .iter()
                .find(|operation| operation.value().parents.is_empty());
            let Some(mut membership) =
                founding.and_then(|founding| Membership::new(Verified::clone(founding)).ok())
            else {
                continue;
            };
            membership.insert_all(kept.operations);
            let mut team = Team::new(membership, &self.secret);
            if let Some(seed) = kept.invite_key {
                let invite = DeviceSecret::from_seed(*seed.expose());
                team.keys.extend(&team.membership, &invite);
            }
            team.restore(kept.heads, kept.entries);
            for version in kept.private {
                team.catalog.insert_private(version);
            }
            self.enter(id, team);
        }
    }

    /// Handles an input. [`Engine::poll_output`] then returns the resulting actions.
    pub fn handle(&mut self, input: Input, now: Now) {
        self.now = now;
        match input {
            Input::Connected { device } => self.on_connected(device),
            Input::Disconnected { device } => self.on_disconnected(device),
            Input::Listening { addresses } => self.on_listening(addresses),
            Input::Gossip {
                id,
                team,
                from,
                message,
            } => self.on_gossip(id, team, from, message),
            Input::Request {
                id,
                device,
                request,
            } => self.on_request(id, device, request),
            Input::Response { id, result } => self.on_response(id, result),
            Input::Persisted { id } => self.on_persisted(id),
            Input::PersistFailed { id, why } => self.on_persist_failed(id, why),
            Input::Held { blob, len, bytes } => self.on_held(blob, len, bytes),
            Input::Evicted { blob } => self.on_evicted(blob),
            Input::Hub { team, news } => self.on_hub(team, news),
            Input::Command { id, command } => self.on_command(id, command),
            Input::Want(want) => self.on_want(want),
            Input::BucketHas { team, blobs } => self.on_bucket_has(team, blobs),
            Input::BucketLacks { team, blobs } => self.on_bucket_lacks(team, &blobs),
            Input::CancelWant { transfer } => self.on_cancel_want(transfer),
            Input::FetchProgress { fetch, bytes } => self.on_fetch_progress(fetch, bytes),
            Input::FetchDone { fetch } => self.on_fetch_done(fetch),
            Input::FetchFailed { fetch, why } => self.on_fetch_failed(fetch, why),
            Input::Tick => {}
        }
        self.on_time();
        self.flush();
    }

    /// The next action for the daemon.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When the engine needs an [`Input::Tick`] at the latest, on the monotonic clock.
    pub fn poll_timeout(&self) -> Option<Duration> {
        let teams = self.teams.values().flat_map(|state| {
            [
                Some(state.next_liveness),
                state.rotation_at,
                state.addresses_at,
            ]
        });
        teams
            .chain([self.writes.timeout(), self.wants.timeout()])
            .chain(self.connected.values().map(Connection::timeout))
            .chain(self.joins.values().map(PendingJoin::timeout))
            .flatten()
            .min()
    }

    fn on_time(&mut self) {
        self.retry_writes();
        self.exchange_when_due();
        self.press_joins();
        let mono = self.now.mono;
        let ids: Vec<_> = self.teams.keys().copied().collect();
        for id in ids {
            let Some(state) = self.teams.get_mut(&id) else {
                continue;
            };
            if state.next_liveness <= mono {
                state.next_liveness = mono + LIVENESS_EVERY;
                self.state_liveness(id);
            }
            self.say_addresses_when_due(id);
            self.rotate_when_due(id);
        }
    }

    /// Emits the effects of the last input: writes first, then what depends on them.
    fn flush(&mut self) {
        let ids: Vec<_> = self.teams.keys().copied().collect();
        for id in ids {
            self.update_gate(id);
            let Some(state) = self.teams.get_mut(&id) else {
                continue;
            };
            let changes = state.team.take_changes();
            if changes.records.is_empty() {
                self.outputs
                    .extend(changes.events.into_iter().map(Output::Event));
            } else {
                let persist = self.writes.heard(&changes);
                self.outputs.push_back(Output::Persist {
                    id: persist,
                    records: changes.records,
                });
            }
        }
        self.run_transfers();
    }

    /// Adds a team: at start, when founding it or when joining it.
    fn enter(&mut self, id: TeamId, team: Team) {
        let state = TeamState {
            team,
            gated: BTreeSet::new(),
            queued: VecDeque::new(),
            is_writing: false,
            filling: BTreeSet::new(),
            hub_feeds: HubFeeds::default(),
            next_liveness: self.now.mono + FIRST_LIVENESS_AFTER,
            rotation_at: None,
            addresses_at: (!self.listening.is_empty()).then_some(self.now.mono),
            addresses_unheard: false,
            own_seq: 0,
        };
        self.teams.insert(id, state);
        self.own_feed_is_known(id);
        self.membership_moved(id);
        self.update_gate(id);
    }

    /// Updates the gate's members and shared blobs.
    fn update_gate(&mut self, id: TeamId) {
        let Some(state) = self.teams.get_mut(&id) else {
            return;
        };
        let change = state.team.catalog.take_shared();
        if !change.shared.is_empty() {
            let change = GateChange::Share {
                team: id,
                blobs: change.shared,
            };
            self.outputs.push_back(Output::GateChanged(change));
        }
        if !change.withdrawn.is_empty() {
            let change = GateChange::Withdraw {
                team: id,
                blobs: change.withdrawn,
            };
            self.outputs.push_back(Output::GateChanged(change));
        }
    }

    /// Applies new operations: updates the gate and connections, and plans a rotation that is due.
    fn membership_moved(&mut self, id: TeamId) {
        let Some(state) = self.teams.get_mut(&id) else {
            return;
        };
        let members: BTreeSet<_> = state
            .team
            .membership
            .state()
            .devices()
            .map(|record| record.device)
            .collect();
        if members != state.gated {
            let devices = members.iter().copied().collect();
            let robots = state.team.membership.state().robots().collect();
            let before = std::mem::replace(&mut state.gated, members);
            self.outputs
                .push_back(Output::GateChanged(GateChange::Robots {
                    team: id,
                    devices: robots,
                }));
            self.outputs
                .push_back(Output::GateChanged(GateChange::Members {
                    team: id,
                    devices,
                }));
            self.meet_and_part(id, &before);
        }
        self.plan_rotation(id);
    }

    /// Writes a decision of this device. It takes effect in [`Engine::done`].
    fn commit(&mut self, write: OwnWrite, records: Vec<Record>) {
        if let Some(state) = self.teams.get_mut(&write.team()) {
            state.is_writing = true;
        }
        self.announce_early(&write);
        let id = self.writes.own(write);
        self.outputs.push_back(Output::Persist { id, records });
    }

    fn on_persisted(&mut self, id: PersistId) {
        match self.writes.take(id) {
            Some(After::Own(write)) => {
                let team = write.team();
                self.done(*write);
                self.next_queued(team);
            }
            Some(After::Heard { events, .. }) => {
                self.outputs.extend(events.into_iter().map(Output::Event));
            }
            None => {}
        }
    }

    #[cfg(not(podsync_planted = "ignore-persist-failure"))]
    fn on_persist_failed(&mut self, id: PersistId, why: String) {
        self.outputs
            .push_back(Output::Event(Event::PersistFailed { why: why.clone() }));
        match self.writes.take(id) {
            Some(After::Own(write)) => {
                let team = write.team();
                self.undone(*write, why);
                self.next_queued(team);
            }
            Some(After::Heard { records, events }) => {
                self.writes.retry(records, events, self.now.mono)
            }
            None => {}
        }
    }

    #[cfg(podsync_planted = "ignore-persist-failure")]
    fn on_persist_failed(&mut self, id: PersistId, _: String) {
        self.on_persisted(id);
    }

    #[cfg(not(podsync_planted = "announce-before-persisted"))]
    fn announce_early(&mut self, _: &OwnWrite) {}

    #[cfg(podsync_planted = "announce-before-persisted")]
    fn announce_early(&mut self, write: &OwnWrite) {
        if let OwnWrite::Entry {
            team, entry, head, ..
        } = write
        {
            self.announce(*team, head, Some(entry));
        }
    }

    /// Retries failed writes. Heads may have advanced since then: writes the newest ones.
    fn retry_writes(&mut self) {
        let Some(mut changes) = self.writes.due(self.now.mono) else {
            return;
        };
        for record in &mut changes.records {
            if let Record::Head {
                team,
                device,
                bytes,
            } = record
                && let Some(head) = self
                    .teams
                    .get(team)
                    .and_then(|state| state.team.feed(device)?.head())
            {
                *bytes = head.bytes().clone();
            }
        }
        let id = self.writes.heard(&changes);
        self.outputs.push_back(Output::Persist {
            id,
            records: changes.records,
        });
    }
}

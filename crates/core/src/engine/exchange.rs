//! Keeps up with peers: compares heads on every connection and every 45 s, and requests only what
//! differs.
//!
//! An exchange only pulls; the peer runs its own. If a peer refuses us as a stranger, we ask again as
//! soon as it sends us a request: by then it knows us.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use super::{
    Engine, Event, Farewell, Output,
    input::{RequestFailed, RequestId},
};
use crate::{
    bounded::Bounded,
    codec::Format,
    feed::{Added, Entry, Head},
    id::{BlobId, DeviceId, OpId, TeamId},
    membership::{Operation, wire::MembershipRequest},
    signed::Verified,
    wire::{
        EntriesRequest, EntryRange, HeadsRequest, Liveness, MAX_ENTRY_RANGES, Protocol, Refusal,
        ResponseIn,
    },
};

/// How often heads are compared with each connected member.
const EXCHANGE_EVERY: Duration = Duration::from_secs(45);
/// The delay before an early comparison: see [`Engine::exchange_again`].
const EXCHANGE_AGAIN_AFTER: Duration = Duration::from_secs(5);
/// How long a device in none of our teams may stay connected: long enough for one exchange, to
/// join.
const STRANGER_STAYS: Duration = Duration::from_secs(10);
/// How far ahead of our clock a statement's time may be.
pub(super) const MAX_CLOCK_SKEW_MS: u64 = 10 * 60 * 1000;

/// What a request was for.
#[derive(Debug)]
pub(super) enum Asked {
    Heads {
        team: TeamId,
        device: DeviceId,
    },
    Entries {
        team: TeamId,
        device: DeviceId,
        feeds: Vec<DeviceId>,
    },
    Operations {
        team: TeamId,
        device: DeviceId,
    },
    Join {
        team: TeamId,
        device: DeviceId,
    },
    Have {
        team: TeamId,
        device: DeviceId,
        blobs: Vec<BlobId>,
    },
    /// Something that needs no answer.
    Notice,
}

/// A connected device.
#[derive(Debug)]
pub(super) struct Connection {
    /// When to disconnect it, unless it has become a member.
    stranger_until: Option<Duration>,
    pub(super) exchanges: BTreeMap<TeamId, Exchange>,
}

#[derive(Debug, Default)]
pub(super) struct Exchange {
    running: bool,
    last: Option<Duration>,
    next: Duration,
    refused: bool,
    /// Whether it has answered with what it knows since it connected.
    answered: bool,
    /// Whether heads were skipped because their devices were not known as members.
    left_out: bool,
}

impl Connection {
    pub(super) fn timeout(&self) -> Option<Duration> {
        let running = self.exchanges.values().filter(|exchange| !exchange.running);
        running
            .map(|exchange| exchange.next)
            .chain(self.stranger_until)
            .min()
    }
}

impl Engine {
    pub(super) fn on_connected(&mut self, device: DeviceId) {
        self.asked.retain(|_, asked| asked.device() != Some(device));
        let connection = Connection {
            stranger_until: None,
            exchanges: BTreeMap::new(),
        };
        self.connected.insert(device, connection);
        self.left_ms.remove(&device);
        self.witness_came(device);
        let teams = self.teams_of(&device);
        for team in &teams {
            self.exchange(*team, device);
            self.ask_haves_of(*team, device);
            self.say_addresses_to_first(*team);
        }
        if teams.is_empty() {
            self.receive_stranger(device);
        }
    }

    pub(super) fn on_disconnected(&mut self, device: DeviceId) {
        let was_connected = self.connected.remove(&device).is_some();
        if was_connected && !self.teams_of(&device).is_empty() {
            self.left_ms.insert(device, self.now.wall_ms);
        }
        // Responses that are still open belong to the old connection. Keep those with operations: they
        // prove themselves, and a device that refuses this one closes the connection right after its
        // answer.
        let stale = self.asked.extract_if(.., |_, asked| {
            asked.device() == Some(device) && !asked.is_for_operations()
        });
        for (_, asked) in stale.collect::<Vec<_>>() {
            self.forget_request(&asked);
        }
        self.provider_gone(&device);
        self.witness_gone(&device);
        self.finish_refreshes();
    }

    pub(super) fn on_response(&mut self, id: RequestId, result: Result<ResponseIn, RequestFailed>) {
        let Some(asked) = self.asked.remove(&id) else {
            return;
        };
        self.forget_request(&asked);
        let of = asked.tells_of();
        self.take_response(asked, result);
        if let Some(team) = of.filter(|team| self.is_caught_up(team)) {
            self.outputs
                .push_back(Output::Event(Event::CaughtUp { team }));
        }
        self.finish_refreshes();
    }

    fn take_response(&mut self, asked: Asked, result: Result<ResponseIn, RequestFailed>) {
        match (asked, result) {
            (
                Asked::Heads { team, device },
                Ok(ResponseIn::Heads {
                    membership,
                    heads,
                    liveness,
                    addresses,
                }),
            ) => {
                for record in addresses {
                    self.take_addresses(team, record);
                }
                if let Some(exchange) = self.exchange_with(team, device) {
                    exchange.answered = true;
                }
                self.on_heads(team, device, &membership, heads, liveness);
            }
            (
                Asked::Heads { team, device },
                Ok(ResponseIn::Refused(Refusal::NotAMember)) | Err(RequestFailed::Refused),
            ) => {
                if let Some(exchange) = self.exchange_with(team, device) {
                    exchange.refused = true;
                }
                // This device may have been removed meanwhile. A member shows that to the removed
                // device.
                self.ask_operations(team, device);
            }
            (
                Asked::Entries {
                    team,
                    device,
                    feeds,
                },
                Ok(ResponseIn::Entries { entries, .. }),
            ) => {
                self.on_entries(team, device, &feeds, entries);
            }
            (Asked::Operations { team, device }, Ok(ResponseIn::Operations { operations, .. })) => {
                self.on_operations(team, device, operations);
            }
            (Asked::Join { team, device }, result) => self.on_join_answer(team, device, result),
            (
                Asked::Have {
                    team,
                    device,
                    blobs,
                },
                Ok(ResponseIn::Haves(haves)),
            ) => {
                self.on_haves(team, device, blobs.into_iter().zip(haves));
            }
            (asked, Err(RequestFailed::Garbage)) => {
                if let Some(device) = asked.device() {
                    self.outputs.push_back(Output::Disconnect {
                        device,
                        why: Farewell::Misbehaves,
                    });
                }
            }
            (Asked::Have { team, device, .. }, Err(_)) => self.on_no_haves(team, device),
            // The peer was busy or the answer was lost. A runner can't wait for the next round.
            (
                Asked::Heads { team, device }
                | Asked::Entries { team, device, .. }
                | Asked::Operations { team, device },
                Err(_),
            ) if self.is_robot(team, &self.secret.id()) => {
                if let Some(exchange) = self.exchange_with(team, device) {
                    exchange.left_out = true;
                }
                self.exchange_again(team, device);
            }
            _ => {}
        }
    }

    /// Compares heads with a member, unless that is going on.
    pub(super) fn exchange(&mut self, team: TeamId, device: DeviceId) {
        let jitter = Duration::from_millis(self.entropy.below(5000));
        let now = self.now.mono;
        if self.is_robot(team, &device) {
            // A robot's runner knows its answers only, and its next runner starts with nothing.
            return;
        }
        let Some(connection) = self.connected.get_mut(&device) else {
            return;
        };
        let exchange = connection.exchanges.entry(team).or_default();
        if exchange.running {
            return;
        }
        *exchange = Exchange {
            running: true,
            last: Some(now),
            next: now + EXCHANGE_EVERY + jitter,
            refused: false,
            answered: exchange.answered,
            left_out: false,
        };
        let Some(state) = self.teams.get_mut(&team) else {
            return;
        };
        let request = HeadsRequest {
            team,
            membership: state.team.membership.digest(),
            buckets: state.team.buckets(),
        };
        self.ask(
            Asked::Heads { team, device },
            device,
            Protocol::Heads,
            request.encode(),
        );
    }

    /// Compares heads again soon: `device` seems to know something that we don't.
    pub(super) fn exchange_again(&mut self, team: TeamId, device: DeviceId) {
        let soonest = self.now.mono;
        if let Some(exchange) = self.exchange_with(team, device) {
            let after = exchange
                .last
                .map_or(soonest, |last| last + EXCHANGE_AGAIN_AFTER);
            exchange.next = if exchange.refused {
                soonest
            } else {
                exchange.next.min(after.max(soonest))
            };
        }
    }

    pub(super) fn exchange_when_due(&mut self) {
        let now = self.now.mono;
        let mut due = Vec::new();
        let mut strangers = Vec::new();
        for (device, connection) in &self.connected {
            if connection.stranger_until.is_some_and(|until| until <= now) {
                strangers.push(*device);
            }
            let exchanges = connection.exchanges.iter();
            let ripe = exchanges.filter(|(_, exchange)| !exchange.running && exchange.next <= now);
            due.extend(ripe.map(|(team, _)| (*team, *device)));
        }
        for (team, device) in due {
            self.exchange(team, device);
            self.ask_haves_of(team, device);
        }
        for device in strangers {
            self.part_from_stranger(device);
        }
    }

    /// After a membership change: starts exchanges with new members and ends them with removed
    /// ones.
    pub(super) fn meet_and_part(&mut self, team: TeamId, before: &BTreeSet<DeviceId>) {
        let Some(state) = self.teams.get(&team) else {
            return;
        };
        let now = &state.gated;
        let came: Vec<_> = now
            .difference(before)
            .filter(|device| self.connected.contains_key(device))
            .copied()
            .collect();
        let went: Vec<_> = before.difference(now).copied().collect();
        for device in came {
            if let Some(connection) = self.connected.get_mut(&device) {
                connection.stranger_until = None;
            }
            self.exchange(team, device);
            self.ask_haves_of(team, device);
        }
        for device in went {
            if let Some(connection) = self.connected.get_mut(&device) {
                connection.exchanges.remove(&team);
            }
            self.provider_left(team, &device);
            if self.connected.contains_key(&device) && self.teams_of(&device).is_empty() {
                self.outputs.push_back(Output::Disconnect {
                    device,
                    why: Farewell::Removed,
                });
            }
        }
    }

    /// Asks for the operations that we lack.
    pub(super) fn ask_operations(&mut self, team: TeamId, device: DeviceId) {
        let running = |asked: &Asked| matches!(asked, Asked::Operations { team: of, device: at } if *of == team && *at == device);
        if !self.connected.contains_key(&device) || self.asked.values().any(running) {
            return;
        }
        let Some(state) = self.teams.get(&team) else {
            return;
        };
        let request = MembershipRequest::fetch(team, state.team.membership.heads());
        self.ask(
            Asked::Operations { team, device },
            device,
            Protocol::Membership,
            request.encode(),
        );
    }

    /// Requests missing entries, newest first, of feeds without an open request.
    pub(super) fn ask_entries(&mut self, team: TeamId, device: DeviceId) {
        if !self.connected.contains_key(&device) || self.writes.is_clogged() {
            return;
        }
        let Some(state) = self.teams.get_mut(&team) else {
            return;
        };
        let idle = state
            .team
            .feeds()
            .filter(|feed| !state.filling.contains(&feed.device()));
        let ranges: Vec<_> = idle
            .flat_map(|feed| {
                let device = feed.device();
                feed.gaps()
                    .into_iter()
                    .map(move |(from, to)| EntryRange { device, from, to })
            })
            .take(MAX_ENTRY_RANGES)
            .collect();
        if ranges.is_empty() {
            return;
        }
        let feeds: BTreeSet<_> = ranges.iter().map(|range| range.device).collect();
        state.filling.extend(&feeds);
        let feeds = feeds.into_iter().collect();
        let request = EntriesRequest {
            team,
            ranges: Bounded::first(ranges),
        };
        self.ask(
            Asked::Entries {
                team,
                device,
                feeds,
            },
            device,
            Protocol::Entries,
            request.encode(),
        );
    }

    pub(super) fn ask(
        &mut self,
        asked: Asked,
        device: DeviceId,
        protocol: Protocol,
        bytes: Vec<u8>,
    ) {
        self.requests_minted += 1;
        let id = RequestId(self.requests_minted);
        self.asked.insert(id, asked);
        self.outputs.push_back(Output::Request {
            id,
            device,
            protocol,
            bytes,
        });
    }

    /// Adds operations from a peer, and requests the parents that they lack.
    pub(super) fn on_operations(
        &mut self,
        team: TeamId,
        device: DeviceId,
        operations: Vec<Arc<Verified<Operation>>>,
    ) -> bool {
        let (new, is_whole) = self.take_operations(team, &operations);
        if new {
            // Heads of devices that were not members until now were skipped: fetch them again.
            if let Some(exchange) = self.exchange_with(team, device) {
                exchange.left_out = exchange.answered || exchange.running;
            }
            self.exchange_again(team, device);
        }
        // Ask again after a full answer. Stop when one brings nothing new.
        if new || !is_whole {
            self.ask_operations(team, device);
        }
        new
    }

    /// Adds operations from any source. Returns whether some were new, and whether all their parents
    /// are here.
    pub(super) fn take_operations(
        &mut self,
        team: TeamId,
        operations: &[Arc<Verified<Operation>>],
    ) -> (bool, bool) {
        let Some(state) = self.teams.get_mut(&team) else {
            return (false, true);
        };
        if operations.is_empty() || self.writes.is_clogged() {
            return (false, true);
        }
        let mut missing = BTreeSet::new();
        let new = state
            .team
            .add_operations(operations, &mut missing, &self.secret);
        if new {
            self.membership_moved(team);
        }
        (new, missing.is_empty())
    }

    /// Adds heads from any source.
    pub(super) fn take_heads(&mut self, team: TeamId, heads: Vec<Verified<Head>>) {
        if let Some(state) = self.teams.get_mut(&team) {
            for head in heads {
                state.team.add_head(head);
            }
        }
    }

    /// Adds entries of these feeds from any source, newest first. True if some were new.
    pub(super) fn take_entries(
        &mut self,
        team: TeamId,
        feeds: &[DeviceId],
        entries: Vec<Arc<Entry>>,
    ) -> bool {
        let Some(state) = self.teams.get_mut(&team) else {
            return false;
        };
        let mut progress = false;
        for entry in entries {
            if feeds.contains(&entry.header().device) {
                let added = state.team.add_entry(entry);
                progress |= matches!(added, Added::New | Added::Forked);
            }
        }
        self.own_feed_filled(team);
        progress
    }

    /// Keeps a statement if it is the newest of its signer. One from the future tells only of its signer's clock.
    pub(super) fn take_liveness(&mut self, team: TeamId, liveness: Verified<Liveness>) -> bool {
        let latest = self.now.wall_ms.saturating_add(MAX_CLOCK_SKEW_MS);
        let Some(state) = self.teams.get_mut(&team) else {
            return false;
        };
        let (signer, time) = (liveness.signer(), liveness.value().time_ms);
        if liveness.team() != team || !state.team.is_member(&signer) {
            return false;
        }
        if time > latest {
            state.team.ahead.insert(signer, time);
            return false;
        }
        let known = state.team.liveness.get(&signer);
        if known.is_some_and(|known| time <= known.value().time_ms) {
            return false;
        }
        state.team.ahead.remove(&signer);
        state.team.liveness.insert(signer, liveness);
        true
    }

    fn on_heads(
        &mut self,
        team: TeamId,
        device: DeviceId,
        membership: &[OpId],
        heads: Vec<Verified<Head>>,
        liveness: Option<Verified<Liveness>>,
    ) {
        if !self.writes.is_clogged() {
            self.take_heads(team, heads);
        }
        let Some(state) = self.teams.get(&team) else {
            return;
        };
        if membership
            .iter()
            .any(|id| !state.team.membership.contains(id))
        {
            self.ask_operations(team, device);
        }
        if let Some(liveness) = liveness {
            self.take_liveness(team, liveness);
        }
        self.ask_entries(team, device);
    }

    fn on_entries(
        &mut self,
        team: TeamId,
        device: DeviceId,
        feeds: &[DeviceId],
        entries: Vec<Arc<Entry>>,
    ) {
        if self.take_entries(team, feeds, entries) {
            self.ask_entries(team, device);
        }
    }

    fn forget_request(&mut self, asked: &Asked) {
        match asked {
            Asked::Heads { team, device } => {
                if let Some(exchange) = self.exchange_with(*team, *device) {
                    exchange.running = false;
                }
            }
            Asked::Entries { team, feeds, .. } => {
                if let Some(state) = self.teams.get_mut(team) {
                    state.filling.retain(|feed| !feeds.contains(feed));
                }
            }
            _ => {}
        }
    }

    fn exchange_with(&mut self, team: TeamId, device: DeviceId) -> Option<&mut Exchange> {
        self.connected.get_mut(&device)?.exchanges.get_mut(&team)
    }

    /// The teams that a device belongs to with us.
    pub(super) fn teams_of(&self, device: &DeviceId) -> Vec<TeamId> {
        let teams = self
            .teams
            .iter()
            .filter(|(_, state)| state.gated.contains(device));
        teams.map(|(id, _)| *id).collect()
    }

    /// Handles a connection from a device in no team here. Asks it for operations, since it may be
    /// a member that is not known here yet. If it wants to join, it may stay for a while.
    fn receive_stranger(&mut self, device: DeviceId) {
        let until = self.now.mono + STRANGER_STAYS;
        if let Some(connection) = self.connected.get_mut(&device) {
            connection.stranger_until = Some(until);
        }
        let teams: Vec<_> = self.teams.keys().copied().collect();
        for team in teams {
            self.ask_operations(team, device);
        }
    }

    fn part_from_stranger(&mut self, device: DeviceId) {
        let until = self.now.mono + STRANGER_STAYS;
        if let Some(connection) = self.connected.get_mut(&device) {
            if self.joins.is_empty() {
                connection.stranger_until = None;
                self.outputs.push_back(Output::Disconnect {
                    device,
                    why: Farewell::Stranger,
                });
            } else {
                connection.stranger_until = Some(until);
            }
        }
    }
}

impl Exchange {
    /// Resets what it answered before, so that it is asked again.
    pub(super) fn ask_anew(&mut self) {
        self.answered = false;
    }

    /// Whether it has sent all that it knows.
    pub(super) fn is_whole(&self) -> bool {
        self.answered && !self.running && !self.left_out
    }
}

impl Asked {
    /// The team that the answer is about.
    pub(super) fn tells_of(&self) -> Option<TeamId> {
        match self {
            Self::Heads { team, .. }
            | Self::Entries { team, .. }
            | Self::Operations { team, .. } => Some(*team),
            Self::Join { .. } | Self::Have { .. } | Self::Notice => None,
        }
    }

    fn is_for_operations(&self) -> bool {
        matches!(self, Self::Operations { .. } | Self::Join { .. })
    }

    pub(super) fn device(&self) -> Option<DeviceId> {
        match self {
            Self::Heads { device, .. }
            | Self::Entries { device, .. }
            | Self::Operations { device, .. }
            | Self::Join { device, .. }
            | Self::Have { device, .. } => Some(*device),
            Self::Notice => None,
        }
    }
}

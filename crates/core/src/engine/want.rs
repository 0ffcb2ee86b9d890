//! Holdings: tells peers what this store has, and tells transfers what peers have.
//!
//! A pulling device asks every connected member once and then gets updates, so two devices that
//! pull the same version feed each other. Blobs are mentioned only to members of a team that shares
//! them.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    time::Duration,
};

use super::{
    Engine, EngineError, Event, Output,
    exchange::Asked,
    input::{FetchFailed, FetchId, TransferId, Want},
    provider::Provider,
    transfer::{Action, Slots, Transfer},
};
use crate::{
    bounded::Bounded,
    codec::Format,
    id::{BlobId, DeviceId, TeamId},
    manifest::PACK_MAX_LEN,
    units::Units,
    wire::{Have, HaveRequest, HaveResponse, MAX_HAVE_BLOBS, Protocol, Refusal},
};

/// The most blobs for which one device gets updates.
const MAX_INTEREST: usize = 4 * MAX_HAVE_BLOBS;
/// How long updates are collected before they are sent.
const NEWS_AFTER: Duration = Duration::from_millis(500);
/// How long after a failed question a device is asked again what it has.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(2);
/// How often users see progress.
const PROGRESS_EVERY: Duration = Duration::from_millis(200);
/// How long a device that sent wrong bytes is not used.
const LIAR_FOR: Duration = Duration::from_secs(3600);
/// How long a blob counts as gone that the bucket refused. It may be there again.
const BUCKET_LACKS_FOR: Duration = Duration::from_secs(60);
/// The most blobs of a team's bucket that are known of: 32 TiB of packs.
const MAX_BUCKET_BLOBS: usize = 1 << 20;
/// The most transfers at once.
const MAX_TRANSFERS: usize = 16;

/// Transfers, and the holdings that matter to them.
#[derive(Default)]
pub(super) struct Wants {
    transfers: BTreeMap<TransferId, Running>,
    slots: Slots,
    /// The holdings of our own store.
    held: BTreeMap<BlobId, (u64, Units)>,
    /// What each team's bucket has.
    in_bucket: BTreeMap<TeamId, BTreeSet<BlobId>>,
    /// Blobs that should be in a team's bucket and were not, and when they may be asked for again.
    not_in_bucket: BTreeMap<(TeamId, BlobId), Duration>,
    /// Blobs for which a device wants updates.
    interest: BTreeMap<(DeviceId, TeamId), BTreeSet<BlobId>>,
    /// Blobs of which we have more since the last update.
    news: BTreeSet<BlobId>,
    news_at: Option<Duration>,
    /// Devices that didn't answer what they have, and when they are asked again.
    unanswered: BTreeMap<(DeviceId, TeamId), Duration>,
    liars: BTreeMap<DeviceId, Duration>,
}

struct Running {
    transfer: Transfer,
    /// The bytes and the number of providers that users saw last.
    reported: (u64, usize),
    /// When they may see more bytes.
    tell_at: Duration,
}

impl Wants {
    pub(super) fn timeout(&self) -> Option<Duration> {
        let transfers = self
            .transfers
            .values()
            .filter_map(|running| running.transfer.timeout());
        let again = self.unanswered.values().copied();
        transfers.chain(self.news_at).chain(again).min()
    }

    fn have(&self, blob: &BlobId) -> Have {
        self.held
            .get(blob)
            .map_or(Have::None, |(len, units)| Have::of(*units, *len))
    }
}

impl Engine {
    pub(super) fn on_want(&mut self, want: Want) {
        let (id, team, now) = (want.transfer, want.team, self.now.mono);
        if self.wants.transfers.len() >= MAX_TRANSFERS || !self.teams.contains_key(&team) {
            let why = if self.teams.contains_key(&team) {
                EngineError::Busy
            } else {
                EngineError::UnknownTeam(team)
            };
            let event = Event::TransferFailed {
                transfer: id,
                why,
                from: Vec::new(),
            };
            return self.outputs.push_back(Output::Event(event));
        }
        let mut transfer = Transfer::new(want, self.entropy.seed(), now);
        self.wants.liars.retain(|_, until| *until > now);
        for liar in self.wants.liars.keys() {
            transfer.ban(*liar);
        }
        self.doubt_no_longer(team);
        if let Some(in_bucket) = self.wants.in_bucket.get(&team) {
            offer_bucket(&mut transfer, in_bucket);
        }
        self.wants.transfers.insert(
            id,
            Running {
                transfer,
                reported: (0, 0),
                tell_at: now,
            },
        );
        let connected: Vec<_> = self.connected.keys().copied().collect();
        for device in connected {
            self.ask_haves_of(team, device);
        }
    }

    pub(super) fn on_cancel_want(&mut self, id: TransferId) {
        if let Some(mut running) = self.wants.transfers.remove(&id) {
            running.transfer.cancel(&mut self.wants.slots);
            let actions = running.transfer.take_actions();
            self.carry_out(id, actions);
            let from = running.transfer.credit();
            let event = Event::TransferFailed {
                transfer: id,
                why: EngineError::Cancelled,
                from,
            };
            self.outputs.push_back(Output::Event(event));
            self.say_enough(running.transfer.team);
        }
    }

    pub(super) fn on_fetch_progress(&mut self, fetch: FetchId, bytes: u64) {
        let (now, wants) = (self.now.mono, &mut self.wants);
        for running in wants.transfers.values_mut() {
            running
                .transfer
                .fetch_progress(fetch, bytes, now, &mut wants.slots);
        }
    }

    pub(super) fn on_fetch_done(&mut self, fetch: FetchId) {
        let (now, wants) = (self.now.mono, &mut self.wants);
        let done = wants
            .transfers
            .values_mut()
            .find_map(|r| r.transfer.fetch_done(fetch, now, &mut wants.slots));
        if let Some((blob, len, units)) = done {
            self.hold(blob, len, units);
        }
    }

    pub(super) fn on_fetch_failed(&mut self, fetch: FetchId, why: FetchFailed) {
        let (now, wants) = (self.now.mono, &mut self.wants);
        let failed = wants.transfers.values_mut().find_map(|running| {
            let transfer = &mut running.transfer;
            let (provider, blob) = transfer.fetch_failed(fetch, why, now, &mut wants.slots)?;
            Some((provider, transfer.team, blob))
        });
        if let Some((Provider::Bucket, team, blob)) = failed
            && why == FetchFailed::Refused
        {
            self.on_bucket_lacks(team, &[blob]);
            let again = self.now.mono + BUCKET_LACKS_FOR;
            self.wants.not_in_bucket.insert((team, blob), again);
        }
    }

    /// Counts blobs as in the bucket again that it lacked a while ago.
    fn doubt_no_longer(&mut self, team: TeamId) {
        let (now, wants) = (self.now.mono, &mut self.wants);
        let due = wants
            .not_in_bucket
            .extract_if(.., |(of, _), until| *of == team && *until <= now);
        let due = due.map(|((_, blob), _)| blob);
        wants.in_bucket.entry(team).or_default().extend(due);
    }

    pub(super) fn on_bucket_has(&mut self, team: TeamId, blobs: Vec<BlobId>) {
        if !self.teams.contains_key(&team) {
            return;
        }
        let wants = &mut self.wants;
        let in_bucket = wants.in_bucket.entry(team).or_default();
        let room = MAX_BUCKET_BLOBS.saturating_sub(in_bucket.len());
        in_bucket.extend(blobs.into_iter().take(room));
        for transfer in of_team(&mut wants.transfers, team) {
            offer_bucket(transfer, in_bucket);
        }
    }

    pub(super) fn on_bucket_lacks(&mut self, team: TeamId, blobs: &[BlobId]) {
        let wants = &mut self.wants;
        if let Some(in_bucket) = wants.in_bucket.get_mut(&team) {
            for blob in blobs {
                in_bucket.remove(blob);
            }
        }
        for blob in blobs {
            wants.not_in_bucket.remove(&(team, *blob));
        }
        for transfer in of_team(&mut wants.transfers, team) {
            for blob in blobs {
                transfer.provider_has(Provider::Bucket, *blob, Units::NONE);
            }
        }
    }

    pub(super) fn on_held(&mut self, blob: BlobId, len: u64, bytes: Range<u64>) {
        if len <= PACK_MAX_LEN {
            self.hold(blob, len, Units::inside(bytes, len));
        }
    }

    pub(super) fn on_evicted(&mut self, blob: BlobId) {
        self.wants.held.remove(&blob);
        self.gather_news(blob);
    }

    /// Asks a member what it has of everything that is being transferred in a team.
    pub(super) fn ask_haves_of(&mut self, team: TeamId, device: DeviceId) {
        if !self.connected.contains_key(&device)
            || !self.serves(team, &device)
            || self.is_robot(team, &device)
        {
            return;
        }
        let running = self
            .wants
            .transfers
            .values()
            .filter(|running| running.transfer.team == team && running.transfer.asks_peers());
        let blobs: BTreeSet<BlobId> = running
            .flat_map(|running| running.transfer.wanted().map(|(blob, _)| *blob))
            .collect();
        let blobs: Vec<_> = blobs.into_iter().collect();
        for blobs in blobs.chunks(MAX_HAVE_BLOBS) {
            let request = HaveRequest::Ask {
                team,
                blobs: Bounded::first(blobs.iter().copied()),
            };
            let asked = Asked::Have {
                team,
                device,
                blobs: blobs.to_vec(),
            };
            self.ask(asked, device, Protocol::Have, request.encode());
        }
    }

    /// A member didn't say what it has: nothing is fetched from it until it does.
    pub(super) fn on_no_haves(&mut self, team: TeamId, device: DeviceId) {
        let again = self.now.mono + ASK_AGAIN_AFTER;
        self.wants.unanswered.insert((device, team), again);
    }

    fn ask_haves_again(&mut self) {
        let now = self.now.mono;
        let due = self.wants.unanswered.extract_if(.., |_, due| *due <= now);
        for ((device, team), _) in due.collect::<Vec<_>>() {
            self.ask_haves_of(team, device);
        }
    }

    /// Handles a member's list of what it has.
    pub(super) fn on_haves(
        &mut self,
        team: TeamId,
        device: DeviceId,
        haves: impl Iterator<Item = (BlobId, Have)>,
    ) {
        if !self.serves(team, &device) {
            return;
        }
        let haves: Vec<_> = haves.collect();
        for transfer in of_team(&mut self.wants.transfers, team) {
            for (blob, have) in &haves {
                if let Some(len) = transfer.len_of(blob) {
                    transfer.provider_has(Provider::Peer(device), *blob, have.units(len));
                }
            }
        }
    }

    pub(super) fn answer_have(&mut self, device: DeviceId, request: HaveRequest) -> HaveResponse {
        let (HaveRequest::Ask { team, .. }
        | HaveRequest::Delta { team, .. }
        | HaveRequest::Enough { team }) = request;
        if !self.serves(team, &device) {
            return HaveResponse::Refused(Refusal::NotAMember);
        }
        match request {
            HaveRequest::Ask { blobs, .. } => {
                let haves: Vec<_> = blobs.iter().map(|blob| self.have_for(team, blob)).collect();
                let interest = self.wants.interest.entry((device, team)).or_default();
                let partly = blobs
                    .iter()
                    .zip(&haves)
                    .filter(|(_, have)| **have != Have::All);
                for (blob, _) in partly {
                    if interest.len() < MAX_INTEREST {
                        interest.insert(*blob);
                    }
                }
                HaveResponse::Haves(Bounded::first(haves))
            }
            HaveRequest::Delta { news, .. } => {
                self.on_haves(team, device, news.into_iter());
                HaveResponse::Noted
            }
            HaveRequest::Enough { .. } => {
                // One runner of the robot is done; others may not be.
                if !self.is_robot(team, &device) {
                    self.wants.interest.remove(&(device, team));
                }
                HaveResponse::Noted
            }
        }
    }

    pub(super) fn provider_gone(&mut self, device: &DeviceId) {
        let wants = &mut self.wants;
        wants.interest.retain(|(of, _), _| of != device);
        wants.unanswered.retain(|(of, _), _| of != device);
        for running in wants.transfers.values_mut() {
            let gone = Provider::Peer(*device);
            running.transfer.provider_gone(&gone, &mut wants.slots);
            running.transfer.provider_may_return(gone);
        }
    }

    /// Handles a device that left this team.
    pub(super) fn provider_left(&mut self, team: TeamId, device: &DeviceId) {
        let wants = &mut self.wants;
        wants.interest.remove(&(*device, team));
        for transfer in of_team(&mut wants.transfers, team) {
            transfer.provider_gone(&Provider::Peer(*device), &mut wants.slots);
        }
    }

    /// Polls every transfer and carries out its actions.
    pub(super) fn run_transfers(&mut self) {
        self.tell_news();
        self.ask_haves_again();
        let now = self.now.mono;
        let ids: Vec<_> = self.wants.transfers.keys().copied().collect();
        for id in ids {
            self.open_the_bucket(id);
            let Some(running) = self.wants.transfers.get_mut(&id) else {
                continue;
            };
            let actions = running.transfer.poll(now, &mut self.wants.slots);
            let (bytes, of) = running.transfer.progress();
            let providers = running.transfer.active_providers();
            // Where nobody sends any more, no byte changes.
            if (bytes, providers) != running.reported && running.tell_at <= now {
                if bytes != running.reported.0 {
                    running.tell_at = now + PROGRESS_EVERY;
                }
                running.reported = (bytes, providers);
                let event = Event::TransferProgress {
                    transfer: id,
                    bytes,
                    of,
                    providers,
                };
                self.outputs.push_back(Output::Event(event));
            }
            self.carry_out(id, actions);
        }
    }

    /// Lets a transfer ask the bucket once no connected member owes an answer about what it has.
    fn open_the_bucket(&mut self, id: TransferId) {
        let Some(running) = self.wants.transfers.get_mut(&id) else {
            return;
        };
        let team = running.transfer.team;
        let owed = |asked: &Asked| matches!(asked, Asked::Have { team: of, .. } if *of == team);
        if running.transfer.awaits_answers() && !self.asked.values().any(owed) {
            running.transfer.peers_answered();
        }
    }

    fn team_of_transfer(&self, id: TransferId) -> Option<TeamId> {
        let running = self.wants.transfers.get(&id)?;
        Some(running.transfer.team)
    }

    fn carry_out(&mut self, id: TransferId, actions: Vec<Action>) {
        let Some(team) = self.team_of_transfer(id) else {
            return;
        };
        for action in actions {
            let output = match action {
                Action::Fetch {
                    fetch,
                    provider,
                    blob,
                    range,
                    total_len,
                } => Output::Fetch {
                    fetch,
                    team,
                    provider,
                    blob,
                    range,
                    total_len,
                },
                Action::Cancel { fetch } => Output::CancelFetch { fetch },
                Action::Starved { missing } => Output::Event(Event::TransferStarved {
                    transfer: id,
                    missing,
                }),
                Action::Liar { provider, blob } => {
                    if let Provider::Peer(device) = provider {
                        self.remember_liar(device);
                    }
                    Output::Event(Event::LiarFound { provider, blob })
                }
                Action::Done => {
                    let Some(from) = self.close_transfer(id) else {
                        continue;
                    };
                    Output::Event(Event::TransferDone { transfer: id, from })
                }
                Action::Failed { why } => {
                    let Some(from) = self.close_transfer(id) else {
                        continue;
                    };
                    Output::Event(Event::TransferFailed {
                        transfer: id,
                        why,
                        from,
                    })
                }
            };
            self.outputs.push_back(output);
        }
    }

    fn close_transfer(&mut self, id: TransferId) -> Option<Vec<(Provider, u64)>> {
        let running = self.wants.transfers.remove(&id)?;
        self.say_enough(running.transfer.team);
        Some(running.transfer.credit())
    }

    fn remember_liar(&mut self, device: DeviceId) {
        self.wants.liars.insert(device, self.now.mono + LIAR_FOR);
        for running in self.wants.transfers.values_mut() {
            running.transfer.ban(device);
        }
    }

    /// Tells the members of a team that nothing is being pulled there any more.
    fn say_enough(&mut self, team: TeamId) {
        if self
            .wants
            .transfers
            .values()
            .any(|running| running.transfer.team == team)
        {
            return;
        }
        let connected: Vec<_> = self.connected.keys().copied().collect();
        for device in connected {
            if self.serves(team, &device) {
                let request = HaveRequest::Enough { team };
                self.ask(Asked::Notice, device, Protocol::Have, request.encode());
            }
        }
    }

    fn hold(&mut self, blob: BlobId, len: u64, units: Units) {
        let (_, held) = self.wants.held.entry(blob).or_insert((len, Units::NONE));
        let more = !held.contains(units);
        *held |= units;
        let wants = &mut self.wants;
        for running in wants.transfers.values_mut() {
            running.transfer.held(&blob, units, &mut wants.slots);
        }
        if more {
            self.gather_news(blob);
        }
    }

    fn gather_news(&mut self, blob: BlobId) {
        if self
            .wants
            .interest
            .values()
            .any(|blobs| blobs.contains(&blob))
        {
            self.wants.news.insert(blob);
            self.wants.news_at.get_or_insert(self.now.mono + NEWS_AFTER);
        }
    }

    fn tell_news(&mut self) {
        if self
            .wants
            .news_at
            .take_if(|at| *at <= self.now.mono)
            .is_none()
        {
            return;
        }
        let news = std::mem::take(&mut self.wants.news);
        let mut messages = Vec::new();
        for ((device, team), interest) in &self.wants.interest {
            let of_interest = news.intersection(interest);
            let haves: Vec<_> = of_interest
                .map(|blob| (*blob, self.have_for(*team, blob)))
                .collect();
            if self.connected.contains_key(device) {
                messages.extend(haves.chunks(MAX_HAVE_BLOBS).map(|news| {
                    let news = Bounded::first(news.iter().copied());
                    (*device, HaveRequest::Delta { team: *team, news })
                }));
            }
        }
        for (device, message) in messages {
            self.ask(Asked::Notice, device, Protocol::Have, message.encode());
        }
    }

    /// What we have of a blob, if the blob is shared with this team.
    fn have_for(&self, team: TeamId, blob: &BlobId) -> Have {
        let shared = self
            .teams
            .get(&team)
            .is_some_and(|state| state.team.catalog.is_shared(blob));
        // A robot offers nothing: the next runner with the same key may not have it.
        if shared && !self.is_robot(team, &self.secret.id()) {
            self.wants.have(blob)
        } else {
            Have::None
        }
    }
}

fn of_team(
    transfers: &mut BTreeMap<TransferId, Running>,
    team: TeamId,
) -> impl Iterator<Item = &mut Transfer> {
    let transfers = transfers.values_mut().map(|running| &mut running.transfer);
    transfers.filter(move |transfer| transfer.team == team)
}

/// Tells a transfer which of its blobs the bucket has.
fn offer_bucket(transfer: &mut Transfer, in_bucket: &BTreeSet<BlobId>) {
    let wanted = transfer.wanted();
    let there: Vec<_> = wanted
        .filter(|(blob, _)| in_bucket.contains(blob))
        .map(|(blob, len)| (*blob, len))
        .collect();
    for (blob, len) in there {
        transfer.provider_has(Provider::Bucket, blob, Units::whole(len));
    }
}

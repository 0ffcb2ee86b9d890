//! One transfer: which ranges to fetch from which providers, and when it has failed.
//!
//! It is a state machine. Its inputs are what each provider has and how each fetch ended; its
//! outputs are fetches to start and stop. A range is in exactly one of three states: pending, in
//! one or a few fetches, or done.

mod bucket;
mod choose;
mod pace;
mod patience;
mod slots;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    time::Duration,
};

use super::{
    entropy::Entropy,
    error::EngineError,
    input::{FetchFailed, FetchId, TransferId, Want},
    provider::{Provider, Sources},
};
use crate::{
    id::{BlobId, DeviceId, TeamId},
    units::{Units, byte_range},
};
use pace::Pace;
pub use slots::Slots;

/// The most blobs of a transfer: all packs of the largest version, and its manifest.
pub const MAX_BLOBS: usize = crate::feed::MAX_BLOBS;
/// The shortest range that is asked for, unless less is left: 4 MiB.
pub const MIN_RANGE_UNITS: u64 = 4;
/// The longest range that is asked for: 16 MiB.
pub const MAX_RANGE_UNITS: u64 = 16;
/// The shortest and the longest range per bucket request, unless less is left. Each request costs
/// money and a round trip, so large transfers fetch whole packs.
pub const MIN_BUCKET_RANGE_UNITS: u64 = 8;
pub const MAX_BUCKET_RANGE_UNITS: u64 = 64;
/// Fetches at one peer: one active and one queued behind it.
pub const MAX_PER_PROVIDER: usize = 2;
/// Fetches at all peers, over all transfers.
pub const MAX_IN_ALL: usize = 8;
/// Fetches at the bucket, over all transfers. One connection to a distant server is slow, but several
/// fill the line.
pub const MAX_AT_BUCKET: usize = 6;
/// How long connected members may take to say what they have before the bucket is asked.
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);
/// How long connected members may take to say what they have before the transfer can fail. Its patience may be over
/// before it begins.
const HEARD_WITHIN: Duration = Duration::from_secs(3);
/// How long a peer that was asked may send nothing before the bucket is asked for the same.
const HEDGED_AFTER: Duration = Duration::from_secs(3);
/// How often a range is in flight at once when nothing else is left to ask for.
const MAX_COPIES: usize = 2;
/// How long a transfer has no provider before users are told.
const STARVED_AFTER: Duration = Duration::from_secs(3);
/// The minimum wait for a peer that sent something and is gone: laptops sleep and networks change.
const INTERRUPTION: Duration = Duration::from_secs(120);
/// How long a provider rests after its first failure; twice as long after each further one.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(60);

/// A step that a transfer asks for, or its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Fetch {
        fetch: FetchId,
        provider: Provider,
        blob: BlobId,
        range: Range<u64>,
        total_len: u64,
    },
    Cancel {
        fetch: FetchId,
    },
    /// Nobody has what is missing.
    Starved {
        missing: u64,
    },
    Liar {
        provider: Provider,
        blob: BlobId,
    },
    /// Nothing is missing any more.
    Done,
    Failed {
        why: EngineError,
    },
}

/// The state machine of one transfer.
pub struct Transfer {
    pub id: TransferId,
    pub team: TeamId,
    /// Blobs of which something is pending or in flight.
    blobs: BTreeMap<BlobId, Work>,
    providers: BTreeMap<Provider, Account>,
    fetches: BTreeMap<FetchId, Fetch>,
    sources: Sources,
    /// When the bucket may be used. None if it already may.
    bucket_from: Option<Duration>,
    /// Until when connected members may still say what they have. None once they have.
    answers_by: Option<Duration>,
    prefer: Option<DeviceId>,
    patience: Duration,
    /// Peers that sent something and have disconnected since.
    interrupted: BTreeSet<Provider>,
    /// Since when no provider has what is missing, and whether users were told.
    starved: Option<(Duration, bool)>,
    /// Total bytes to fetch, and the bytes that are here.
    total: u64,
    done: u64,
    credit: BTreeMap<Provider, u64>,
    pace: Pace,
    choice: Entropy,
    actions: Vec<Action>,
}

struct Work {
    len: u64,
    pending: Units,
    /// Whether any fetch of this blob was started.
    begun: bool,
    /// How many providers have something of it.
    rarity: u32,
    /// The longest range to ask for; halved when one fails.
    longest: u64,
}

/// A transfer's record of one provider.
#[derive(Default)]
struct Account {
    have: BTreeMap<BlobId, Units>,
    banned: bool,
    /// Blobs of which it sent wrong bytes. One bad object does not ban the bucket.
    lied_about: BTreeSet<BlobId>,
    /// Whether it said of a blob that its own copy is damaged.
    is_damaged: bool,
    failures: u32,
    failed_at: Option<Duration>,
    rests_until: Duration,
    /// Bytes a second, smoothed; none before the first measure.
    rate: Option<f64>,
}

impl Account {
    /// Whether its last fetch succeeded, or it had none yet.
    fn promises(&self) -> bool {
        self.failures == 0
    }

    /// Whether it sent bytes that fail their hash.
    fn has_lied(&self) -> bool {
        !self.lied_about.is_empty()
    }

    /// Whether its own copy of something is damaged. Wrong bytes that it sent weigh more.
    fn has_damage(&self) -> bool {
        self.is_damaged && !self.has_lied()
    }

    /// Whether it disconnected or stalled in its last fetch, without having lied.
    fn has_failed(&self) -> bool {
        self.failures > 0 && !self.has_lied()
    }
}

struct Fetch {
    provider: Provider,
    blob: BlobId,
    run: Range<u64>,
    len: u64,
    bytes: u64,
    /// Bytes at the last measure.
    measured: u64,
    started: Duration,
    moved: Duration,
}

impl Fetch {
    fn units(&self) -> Units {
        Units::span(self.run.start, self.run.end)
    }

    fn range(&self) -> Range<u64> {
        byte_range(&self.run, self.len)
    }

    /// The units whose every byte has arrived.
    fn arrived(&self) -> Units {
        let range = self.range();
        Units::inside(
            range.start..range.start + self.bytes.min(range.end - range.start),
            self.len,
        ) & self.units()
    }

    fn left(&self) -> u64 {
        let range = self.range();
        (range.end - range.start).saturating_sub(self.bytes)
    }
}

impl Transfer {
    pub fn new(want: Want, seed: [u8; 32], now: Duration) -> Self {
        let mut blobs: BTreeMap<BlobId, Work> = BTreeMap::new();
        for wanted in want.blobs.into_iter().take(MAX_BLOBS) {
            let pending = wanted.missing & Units::whole(wanted.len);
            if !pending.is_empty() {
                let work = Work {
                    len: wanted.len,
                    pending,
                    begun: false,
                    rarity: 0,
                    longest: MAX_BUCKET_RANGE_UNITS,
                };
                blobs.entry(wanted.blob).or_insert(work).pending |= pending;
            }
        }
        Self {
            id: want.transfer,
            team: want.team,
            total: blobs
                .values()
                .map(|work| work.pending.byte_len(work.len))
                .sum(),
            blobs,
            providers: BTreeMap::new(),
            fetches: BTreeMap::new(),
            sources: want.sources,
            bucket_from: Self::bucket_opens(want.sources, now),
            answers_by: (want.sources != Sources::Bucket).then_some(now + HEARD_WITHIN),
            prefer: want.prefer,
            patience: want.patience,
            interrupted: BTreeSet::new(),
            starved: None,
            done: 0,
            credit: BTreeMap::new(),
            pace: Pace::new(now),
            choice: Entropy::new(seed),
            actions: Vec::new(),
        }
    }

    /// The blobs that still miss something.
    pub fn wanted(&self) -> impl Iterator<Item = (&BlobId, u64)> {
        self.blobs.iter().map(|(blob, work)| (blob, work.len))
    }

    /// The length of a blob that still misses something.
    pub fn len_of(&self, blob: &BlobId) -> Option<u64> {
        self.blobs.get(blob).map(|work| work.len)
    }

    /// Bytes that are here, and the total.
    pub fn progress(&self) -> (u64, u64) {
        let in_flight: u64 = self.fetches.values().map(|fetch| fetch.bytes).sum();
        ((self.done + in_flight).min(self.total), self.total)
    }

    /// Whether it may use peers.
    pub fn asks_peers(&self) -> bool {
        self.sources != Sources::Bucket
    }

    /// The number of providers that send, or are expected to.
    pub fn active_providers(&self) -> usize {
        self.fetches
            .values()
            .filter(|fetch| self.is_expected(fetch))
            .map(|fetch| fetch.provider)
            .collect::<BTreeSet<_>>()
            .len()
    }

    /// Verified bytes by provider, most first.
    pub fn credit(&self) -> Vec<(Provider, u64)> {
        let mut credit: Vec<_> = self
            .credit
            .iter()
            .map(|(provider, bytes)| (*provider, *bytes))
            .collect();
        credit.sort_by_key(|(provider, bytes)| (std::cmp::Reverse(*bytes), *provider));
        credit
    }

    /// Sets what a provider has of a blob. Replaces what it said before.
    pub fn provider_has(&mut self, provider: Provider, blob: BlobId, have: Units) {
        if !self.sources.allow(&provider) {
            return;
        }
        let Some(work) = self.blobs.get_mut(&blob) else {
            return;
        };
        let account = self.providers.entry(provider).or_default();
        if account.lied_about.contains(&blob) {
            return;
        }
        if self.interrupted.remove(&provider) {
            // Earlier failures ended with the old connection.
            account.failures = 0;
            account.rests_until = Duration::ZERO;
            self.starved = None;
        }
        let before = account.have.contains_key(&blob);
        match (before, !have.is_empty()) {
            (false, true) => work.rarity += 1,
            (true, false) => work.rarity -= 1,
            _ => {}
        }
        if have.is_empty() {
            account.have.remove(&blob);
        } else {
            account.have.insert(blob, have);
        }
    }

    /// Excludes a device that lied before.
    pub fn ban(&mut self, device: DeviceId) {
        let account = self.providers.entry(Provider::Peer(device)).or_default();
        account.banned = true;
    }

    /// Handles wrong bytes. A device that sent them is excluded. The bucket is not: it holds what
    /// members put there, so one damaged object says nothing about the next.
    #[cfg(not(podsync_planted = "trust-lying-bucket"))]
    fn distrust(&mut self, provider: Provider, blob: BlobId) {
        match provider {
            Provider::Peer(device) => self.ban(device),
            Provider::Bucket => self.provider_has(provider, blob, Units::NONE),
        }
        let account = self.providers.entry(provider).or_default();
        account.lied_about.insert(blob);
    }

    #[cfg(podsync_planted = "trust-lying-bucket")]
    fn distrust(&mut self, provider: Provider, _: BlobId) {
        if let Provider::Peer(device) = provider {
            self.ban(device);
        }
    }

    /// Handles the end of a connection. The provider has nothing until it announces it again.
    pub fn provider_gone(&mut self, provider: &Provider, slots: &mut Slots) {
        let its = |fetch: &Fetch| fetch.provider == *provider;
        let fetches: Vec<_> = self
            .fetches
            .iter()
            .filter(|(_, fetch)| its(fetch))
            .map(|(id, _)| *id)
            .collect();
        for fetch in fetches {
            self.actions.push(Action::Cancel { fetch });
            self.end(fetch, slots);
        }
        slots.gone(provider);
        self.forget_haves(provider);
        // Whom the transfer waits for is told again: another device is offline now.
        if let Some((_, said)) = &mut self.starved {
            *said = false;
        }
    }

    /// Marks a disconnected provider as one that may reconnect.
    pub fn provider_may_return(&mut self, provider: Provider) {
        if self.credit.contains_key(&provider) {
            self.interrupted.insert(provider);
        }
    }

    /// Marks units as stored, from this transfer or from elsewhere.
    pub fn held(&mut self, blob: &BlobId, units: Units, slots: &mut Slots) {
        let Some(work) = self.blobs.get_mut(blob) else {
            return;
        };
        self.done += (work.pending & units).byte_len(work.len);
        work.pending = work.pending.without(units);
        let covered = |fetch: &Fetch| fetch.blob == *blob && units.contains(fetch.units());
        let twins: Vec<_> = self
            .fetches
            .iter()
            .filter(|(_, fetch)| covered(fetch))
            .map(|(id, _)| *id)
            .collect();
        for id in twins {
            if let Some(fetch) = self.take(id, slots) {
                self.actions.push(Action::Cancel { fetch: id });
                if fetch.left() == 0 {
                    self.thank(fetch.provider, fetch.bytes);
                }
                self.settle(&fetch, fetch.units());
            }
        }
        self.close(blob);
    }

    pub fn fetch_progress(&mut self, fetch: FetchId, bytes: u64, now: Duration, slots: &mut Slots) {
        if let Some(fetch) = self.fetches.get_mut(&fetch)
            && bytes > fetch.bytes
        {
            fetch.bytes = bytes;
            fetch.moved = now;
            slots.moved(&fetch.provider, now);
        }
    }

    /// Ends a successful fetch and returns what it stored. None if the fetch belongs to another
    /// transfer.
    pub fn fetch_done(
        &mut self,
        id: FetchId,
        now: Duration,
        slots: &mut Slots,
    ) -> Option<(BlobId, u64, Units)> {
        let fetch = self.take(id, slots)?;
        let range = fetch.range();
        slots.delivered(&fetch.provider, range.end - range.start, now);
        if let Some(account) = self.providers.get_mut(&fetch.provider) {
            account.failures = 0;
        }
        let units = fetch.units();
        self.thank(fetch.provider, units.byte_len(fetch.len));
        self.settle(&fetch, units);
        // Cancels other fetches of the same range.
        self.held(&fetch.blob, units, slots);
        Some((fetch.blob, fetch.len, units))
    }

    /// Ends a failed fetch and returns its provider and blob. None if the fetch belongs to another
    /// transfer.
    pub fn fetch_failed(
        &mut self,
        id: FetchId,
        why: FetchFailed,
        now: Duration,
        slots: &mut Slots,
    ) -> Option<(Provider, BlobId)> {
        let fetch = self.fetches.get(&id)?;
        let (provider, blob, started) = (fetch.provider, fetch.blob, fetch.started);
        self.end(id, slots);
        match why {
            FetchFailed::Local => {
                self.cancel(slots);
                self.actions.push(Action::Failed {
                    why: EngineError::LocalDisk,
                });
            }
            FetchFailed::Refused => self.provider_has(provider, blob, Units::NONE),
            FetchFailed::Damaged => {
                self.provider_has(provider, blob, Units::NONE);
                let account = self.providers.entry(provider).or_default();
                account.is_damaged = true;
                // The damage explains why it failed before. It may send other blobs.
                account.failures = 0;
                account.rests_until = Duration::ZERO;
            }
            FetchFailed::Liar => {
                self.distrust(provider, blob);
                self.actions.push(Action::Liar { provider, blob });
            }
            FetchFailed::Cut | FetchFailed::Stalled | FetchFailed::NotConnected => {
                self.rest(provider, started, now)
            }
        }
        Some((provider, blob))
    }

    /// Cancels all fetches.
    pub fn cancel(&mut self, slots: &mut Slots) {
        for (id, fetch) in std::mem::take(&mut self.fetches) {
            slots.give_back(&fetch.provider);
            let arrived = fetch.arrived().byte_len(fetch.len);
            self.thank(fetch.provider, arrived);
            self.actions.push(Action::Cancel { fetch: id });
        }
    }

    /// Checks the timers, starts possible fetches, and returns the actions.
    pub fn poll(&mut self, now: Duration, slots: &mut Slots) -> Vec<Action> {
        if self.is_over() {
            return std::mem::take(&mut self.actions);
        }
        slots.look(now);
        self.judge_pace(now, slots);
        while self.start_one(now, slots) {}
        if self.blobs.is_empty() {
            self.actions.push(Action::Done);
        } else {
            self.watch_starvation(now, slots);
        }
        std::mem::take(&mut self.actions)
    }

    /// The remaining actions of a cancelled transfer.
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// The latest time for the next poll.
    pub fn timeout(&self) -> Option<Duration> {
        let rests = self
            .providers
            .values()
            .filter(|account| !account.banned)
            .map(|account| account.rests_until);
        let due = rests.chain(self.bucket_from);
        let due = due.filter(|until| *until > self.pace.now()).min();
        let pace = (!self.fetches.is_empty()).then(|| self.pace.next());
        let starved = self.starved.map(|(since, said)| {
            let end = self.gives_up_at(since);
            if said {
                end
            } else {
                end.min(since + STARVED_AFTER)
            }
        });
        [due, pace, starved].into_iter().flatten().min()
    }

    fn is_over(&self) -> bool {
        self.actions
            .iter()
            .any(|action| matches!(action, Action::Done | Action::Failed { .. }))
    }

    /// Whether a provider has something that is pending. It may be in its rest after a failure.
    fn is_of_use(&self, account: &Account) -> bool {
        let has = |(blob, have): (&BlobId, &Units)| {
            self.blobs
                .get(blob)
                .is_some_and(|work| !(work.pending & *have).is_empty())
        };
        !account.banned && account.have.iter().any(has)
    }

    /// Lets a provider rest after a failed fetch. Fetches that were under way together count as one
    /// failure.
    fn rest(&mut self, provider: Provider, started: Duration, now: Duration) {
        let account = self.providers.entry(provider).or_default();
        if account.failures > 0 && account.failed_at.is_some_and(|at| started <= at) {
            return;
        }
        let rest = FIRST_REST * 2_u32.saturating_pow(account.failures.min(8));
        account.failures += 1;
        account.failed_at = Some(now);
        account.rests_until = now + rest.min(LONGEST_REST);
    }

    fn forget_haves(&mut self, provider: &Provider) {
        let Some(account) = self.providers.get_mut(provider) else {
            return;
        };
        for blob in std::mem::take(&mut account.have).keys() {
            if let Some(work) = self.blobs.get_mut(blob) {
                work.rarity -= 1;
            }
        }
    }

    fn take(&mut self, id: FetchId, slots: &mut Slots) -> Option<Fetch> {
        let fetch = self.fetches.remove(&id)?;
        slots.give_back(&fetch.provider);
        Some(fetch)
    }

    /// Ends an incomplete fetch: keeps what arrived and makes the rest pending again.
    fn end(&mut self, id: FetchId, slots: &mut Slots) {
        let Some(fetch) = self.take(id, slots) else {
            return;
        };
        let arrived = fetch.arrived();
        if !arrived.is_empty() {
            self.starved = None;
        }
        self.thank(fetch.provider, arrived.byte_len(fetch.len));
        self.settle(&fetch, arrived);
        self.put_back(&fetch, arrived);
        self.close(&fetch.blob);
    }

    #[cfg(not(podsync_planted = "lose-failed-range"))]
    fn put_back(&mut self, fetch: &Fetch, arrived: Units) {
        let others = self.in_flight(&fetch.blob);
        if let Some(work) = self.blobs.get_mut(&fetch.blob) {
            work.pending |= fetch.units().without(arrived).without(others);
            let failed = fetch.run.end - fetch.run.start;
            work.longest = (work.longest.min(failed) / 2).max(MIN_RANGE_UNITS);
        }
    }

    #[cfg(podsync_planted = "lose-failed-range")]
    fn put_back(&mut self, _: &Fetch, _: Units) {}

    /// Counts the units of an ended fetch as done. Units still in another fetch are counted when
    /// that ends.
    fn settle(&mut self, fetch: &Fetch, arrived: Units) {
        let others = self.in_flight(&fetch.blob);
        self.done += arrived.without(others).byte_len(fetch.len);
    }

    fn in_flight(&self, blob: &BlobId) -> Units {
        let fetches = self.fetches.values().filter(|fetch| fetch.blob == *blob);
        fetches.fold(Units::NONE, |all, fetch| all | fetch.units())
    }

    /// Forgets a blob of which nothing is missing.
    fn close(&mut self, blob: &BlobId) {
        let nothing_left = self.in_flight(blob).is_empty()
            && self
                .blobs
                .get(blob)
                .is_some_and(|work| work.pending.is_empty());
        if nothing_left {
            self.blobs.remove(blob);
            for account in self.providers.values_mut() {
                account.have.remove(blob);
            }
        }
    }

    fn thank(&mut self, provider: Provider, bytes: u64) {
        if bytes > 0 {
            *self.credit.entry(provider).or_insert(0) += bytes;
        }
    }
}

#[cfg(test)]
mod tests;

//! One transfer: which ranges of which blobs are asked of whom, and when that has failed.
//!
//! It is a machine of its own: told who has what and what became of each fetch, it says what to
//! start and to stop. A range is in exactly one of three places: pending, in one or a few fetches,
//! or done. Whatever ends a fetch moves it on.

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
/// The shortest and the longest range that is asked of the bucket, unless less is left: each is a
/// request that costs something and begins with a round trip to the region, so where much is missing
/// it is whole packs.
pub const MIN_BUCKET_RANGE_UNITS: u64 = 8;
pub const MAX_BUCKET_RANGE_UNITS: u64 = 64;
/// Fetches at one peer: one on the wire and one behind it.
pub const MAX_PER_PROVIDER: usize = 2;
/// Fetches at all peers, over all transfers.
pub const MAX_IN_ALL: usize = 8;
/// Fetches at the bucket, over all transfers: a server far away gives one connection little, and many
/// as much as the line takes.
pub const MAX_AT_BUCKET: usize = 6;
/// How long connected members may take to say what they have before the bucket is asked.
const ANSWERED_WITHIN: Duration = Duration::from_secs(1);
/// How long a peer that was asked may send nothing before the bucket is asked for the same.
const HEDGED_AFTER: Duration = Duration::from_secs(3);
/// How often a range is in flight at once when nothing else is left to ask for.
const MAX_COPIES: usize = 2;
/// How long a transfer is without a provider before people are told.
const STARVED_AFTER: Duration = Duration::from_secs(3);
/// How long a transfer at least bears that a peer which sent something is gone: laptops sleep, and networks
/// change.
const INTERRUPTION: Duration = Duration::from_secs(120);
/// How long a provider rests after its first failure; twice as long after each further one.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(60);

/// What a transfer wants done, or has come to.
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

/// The machine.
pub struct Transfer {
    pub id: TransferId,
    pub team: TeamId,
    /// Blobs of which something is pending or in flight.
    blobs: BTreeMap<BlobId, Work>,
    providers: BTreeMap<Provider, Account>,
    fetches: BTreeMap<FetchId, Fetch>,
    sources: Sources,
    /// When the bucket may be asked; none where it may be already.
    bucket_from: Option<Duration>,
    prefer: Option<DeviceId>,
    patience: Duration,
    /// Peers that sent something and whose connection has ended since.
    interrupted: BTreeSet<Provider>,
    /// Since when nobody has what is missing, and whether that was said.
    starved: Option<(Duration, bool)>,
    /// Bytes to get in all, and those that are there.
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
    /// Whether any of it was asked for.
    begun: bool,
    /// How many providers have something of it.
    rarity: u32,
    /// The longest range to ask for; halved when one fails.
    longest: u64,
}

/// What a transfer knows of a provider.
#[derive(Default)]
struct Account {
    have: BTreeMap<BlobId, Units>,
    banned: bool,
    /// Blobs of which it sent wrong bytes. The bucket isn't banned for one bad object.
    lied_about: BTreeSet<BlobId>,
    failures: u32,
    failed_at: Option<Duration>,
    rests_until: Duration,
    /// Bytes a second, smoothed; none before the first measure.
    rate: Option<f64>,
}

impl Account {
    /// Whether it delivered when it was last asked, or wasn't asked yet.
    fn promises(&self) -> bool {
        self.failures == 0
    }

    /// Whether it sent bytes that are not the blob.
    fn has_lied(&self) -> bool {
        !self.lied_about.is_empty()
    }

    /// Whether it went away or stopped sending when it was last asked, and did nothing worse.
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

    /// Bytes that are there, of those that are to be had.
    pub fn progress(&self) -> (u64, u64) {
        let in_flight: u64 = self.fetches.values().map(|fetch| fetch.bytes).sum();
        ((self.done + in_flight).min(self.total), self.total)
    }

    /// Whether peers are of interest to it.
    pub fn asks_peers(&self) -> bool {
        self.sources != Sources::Bucket
    }

    /// Who is being fetched from.
    pub fn active_providers(&self) -> usize {
        self.fetches
            .values()
            .map(|fetch| fetch.provider)
            .collect::<BTreeSet<_>>()
            .len()
    }

    /// Who sent how much that counted, most first.
    pub fn credit(&self) -> Vec<(Provider, u64)> {
        let mut credit: Vec<_> = self
            .credit
            .iter()
            .map(|(provider, bytes)| (*provider, *bytes))
            .collect();
        credit.sort_by_key(|(provider, bytes)| (std::cmp::Reverse(*bytes), *provider));
        credit
    }

    /// What a provider has of a blob: in place of what it said before.
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
            // What failed, failed with the connection.
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

    /// A device that lied before is not asked at all.
    pub fn ban(&mut self, device: DeviceId) {
        let account = self.providers.entry(Provider::Peer(device)).or_default();
        account.banned = true;
    }

    /// A device sent wrong bytes, or the bucket did: of the one nothing is believed any more, the other
    /// holds what members have put there, so that one damaged object says nothing about the next.
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

    /// A connection ended: nothing can be had there until it is said anew.
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
    }

    /// The connection to one that is gone may come back.
    pub fn provider_may_return(&mut self, provider: Provider) {
        if self.credit.contains_key(&provider) {
            self.interrupted.insert(provider);
        }
    }

    /// Units that have come to be in the store, from this transfer or otherwise.
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

    /// What has come to be in the store; none where the fetch isn't of this transfer.
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
        // The same range is of no use a second time.
        self.held(&fetch.blob, units, slots);
        Some((fetch.blob, fetch.len, units))
    }

    /// Who failed to send what; none where the fetch isn't of this transfer.
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

    /// Calls off all fetches.
    pub fn cancel(&mut self, slots: &mut Slots) {
        for (id, fetch) in std::mem::take(&mut self.fetches) {
            slots.give_back(&fetch.provider);
            let arrived = fetch.arrived().byte_len(fetch.len);
            self.thank(fetch.provider, arrived);
            self.actions.push(Action::Cancel { fetch: id });
        }
    }

    /// Looks at the time, starts what can be started, and says what is to be done.
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

    /// What a cancelled transfer still wants done.
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// When to poll next, if nothing happens before.
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
            since
                + if said {
                    self.patience()
                } else {
                    STARVED_AFTER.min(self.patience())
                }
        });
        [due, pace, starved].into_iter().flatten().min()
    }

    fn is_over(&self) -> bool {
        self.actions
            .iter()
            .any(|action| matches!(action, Action::Done | Action::Failed { .. }))
    }

    /// Whether a provider has something that is pending. It may be resting.
    fn is_of_use(&self, account: &Account) -> bool {
        let has = |(blob, have): (&BlobId, &Units)| {
            self.blobs
                .get(blob)
                .is_some_and(|work| !(work.pending & *have).is_empty())
        };
        !account.banned && account.have.iter().any(has)
    }

    /// A fetch that was `started` then has failed. Those that were under way together fail together, and
    /// that is one failure.
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

    /// Ends a fetch that didn't arrive in full: what did is kept, the rest goes to others.
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

    /// Counts units of an ended fetch as done, unless they are still in flight elsewhere: then they
    /// are counted when that ends.
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

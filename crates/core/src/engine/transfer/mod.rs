//! One transfer: which ranges of which blobs are asked of whom, and when that has failed.
//!
//! It is a machine of its own: told who has what and what became of each fetch, it says what to
//! start and to stop. A range is in exactly one of three places: pending, in one or two fetches, or
//! done. Whatever ends a fetch moves it on.

mod choose;
mod pace;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    time::Duration,
};

use super::{
    entropy::Entropy,
    error::EngineError,
    input::{FetchFailed, FetchId, TransferId, Want},
};
use crate::{
    id::{BlobId, DeviceId, TeamId},
    units::{Units, byte_range},
};
use pace::Pace;

/// The most blobs of a transfer: all packs of the largest version, and its manifest.
pub const MAX_BLOBS: usize = crate::feed::MAX_BLOBS;
/// The shortest range that is asked for, unless less is left: 4 MiB.
pub const MIN_RANGE_UNITS: u64 = 4;
/// The longest range that is asked for: 16 MiB.
pub const MAX_RANGE_UNITS: u64 = 16;
/// Fetches at one provider: one on the wire and one behind it.
pub const MAX_PER_PROVIDER: usize = 2;
/// Fetches in all, over all transfers.
pub const MAX_IN_ALL: usize = 8;
/// How often a range is in flight at once when nothing else is left to ask for.
const MAX_COPIES: usize = 2;
/// How long a transfer is without a provider before people are told.
const STARVED_AFTER: Duration = Duration::from_secs(3);
/// How long a provider rests after its first failure; twice as long after each further one.
const FIRST_REST: Duration = Duration::from_secs(1);
const LONGEST_REST: Duration = Duration::from_secs(60);

/// What a transfer wants done, or has come to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    Fetch {
        fetch: FetchId,
        device: DeviceId,
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
        device: DeviceId,
        blob: BlobId,
    },
    /// Nothing is missing any more.
    Done,
    Failed {
        why: EngineError,
    },
}

/// Fetches in flight, over all transfers of an engine.
#[derive(Debug, Default)]
pub struct Slots {
    in_all: usize,
    by_device: BTreeMap<DeviceId, usize>,
    minted: u64,
}

impl Slots {
    fn is_free(&self, device: &DeviceId) -> bool {
        self.in_all < MAX_IN_ALL && self.at(device) < MAX_PER_PROVIDER
    }

    fn at(&self, device: &DeviceId) -> usize {
        self.by_device.get(device).copied().unwrap_or(0)
    }

    fn take(&mut self, device: DeviceId) -> FetchId {
        self.in_all += 1;
        *self.by_device.entry(device).or_insert(0) += 1;
        self.minted += 1;
        FetchId(self.minted)
    }

    fn give_back(&mut self, device: &DeviceId) {
        self.in_all -= 1;
        if let Some(count) = self.by_device.get_mut(device) {
            *count -= 1;
            if *count == 0 {
                self.by_device.remove(device);
            }
        }
    }
}

/// The machine.
pub struct Transfer {
    pub id: TransferId,
    pub team: TeamId,
    /// Blobs of which something is pending or in flight.
    blobs: BTreeMap<BlobId, Work>,
    providers: BTreeMap<DeviceId, Provider>,
    fetches: BTreeMap<FetchId, Fetch>,
    prefer: Option<DeviceId>,
    patience: Duration,
    /// Since when nobody has what is missing, and whether that was said.
    starved: Option<(Duration, bool)>,
    /// Bytes to get in all, and those that are there.
    total: u64,
    done: u64,
    credit: BTreeMap<DeviceId, u64>,
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

#[derive(Default)]
struct Provider {
    have: BTreeMap<BlobId, Units>,
    banned: bool,
    failures: u32,
    rests_until: Duration,
    /// Bytes a second, smoothed; none before the first measure.
    rate: Option<f64>,
}

struct Fetch {
    device: DeviceId,
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
                    longest: MAX_RANGE_UNITS,
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
            prefer: want.prefer,
            patience: want.patience,
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

    /// Devices that are being fetched from.
    pub fn active_providers(&self) -> usize {
        self.fetches
            .values()
            .map(|fetch| fetch.device)
            .collect::<BTreeSet<_>>()
            .len()
    }

    /// Who sent how much that counted, most first.
    pub fn credit(&self) -> Vec<(DeviceId, u64)> {
        let mut credit: Vec<_> = self
            .credit
            .iter()
            .map(|(device, bytes)| (*device, *bytes))
            .collect();
        credit.sort_by_key(|(device, bytes)| (std::cmp::Reverse(*bytes), *device));
        credit
    }

    /// What a provider has of a blob: in place of what it said before.
    pub fn provider_has(&mut self, device: DeviceId, blob: BlobId, have: Units) {
        let Some(work) = self.blobs.get_mut(&blob) else {
            return;
        };
        let provider = self.providers.entry(device).or_default();
        let before = provider
            .have
            .get(&blob)
            .is_some_and(|units| !units.is_empty());
        match (before, !have.is_empty()) {
            (false, true) => work.rarity += 1,
            (true, false) => work.rarity -= 1,
            _ => {}
        }
        if have.is_empty() {
            provider.have.remove(&blob);
        } else {
            provider.have.insert(blob, have);
        }
    }

    /// A provider that lied before is not asked at all.
    pub fn ban(&mut self, device: DeviceId) {
        self.providers.entry(device).or_default().banned = true;
    }

    /// A connection ended: nothing can be had there until it is said anew.
    pub fn provider_gone(&mut self, device: &DeviceId, slots: &mut Slots) {
        let its = |fetch: &Fetch| fetch.device == *device;
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
        self.forget_haves(device);
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
                    self.thank(fetch.device, fetch.bytes);
                }
                self.settle(&fetch, fetch.units());
            }
        }
        self.close(blob);
    }

    pub fn fetch_progress(&mut self, fetch: FetchId, bytes: u64, now: Duration) {
        if let Some(fetch) = self.fetches.get_mut(&fetch)
            && bytes > fetch.bytes
        {
            fetch.bytes = bytes;
            fetch.moved = now;
        }
    }

    /// What has come to be in the store; none where the fetch isn't of this transfer.
    pub fn fetch_done(&mut self, id: FetchId, slots: &mut Slots) -> Option<(BlobId, u64, Units)> {
        let fetch = self.take(id, slots)?;
        if let Some(provider) = self.providers.get_mut(&fetch.device) {
            provider.failures = 0;
        }
        let units = fetch.units();
        self.thank(fetch.device, units.byte_len(fetch.len));
        self.settle(&fetch, units);
        // The same range is of no use a second time.
        self.held(&fetch.blob, units, slots);
        Some((fetch.blob, fetch.len, units))
    }

    /// False where the fetch isn't of this transfer.
    pub fn fetch_failed(
        &mut self,
        id: FetchId,
        why: FetchFailed,
        now: Duration,
        slots: &mut Slots,
    ) -> bool {
        let Some((device, blob)) = self
            .fetches
            .get(&id)
            .map(|fetch| (fetch.device, fetch.blob))
        else {
            return false;
        };
        self.end(id, slots);
        match why {
            FetchFailed::Local => {
                self.cancel(slots);
                self.actions.push(Action::Failed {
                    why: EngineError::LocalDisk,
                });
            }
            FetchFailed::Refused => self.provider_has(device, blob, Units::NONE),
            FetchFailed::Liar => {
                self.ban(device);
                self.actions.push(Action::Liar { device, blob });
            }
            FetchFailed::Cut | FetchFailed::Stalled | FetchFailed::NotConnected => {
                self.rest(device, now)
            }
        }
        true
    }

    /// Calls off all fetches.
    pub fn cancel(&mut self, slots: &mut Slots) {
        for (id, fetch) in std::mem::take(&mut self.fetches) {
            slots.give_back(&fetch.device);
            let arrived = fetch.arrived().byte_len(fetch.len);
            self.thank(fetch.device, arrived);
            self.actions.push(Action::Cancel { fetch: id });
        }
    }

    /// Looks at the time, starts what can be started, and says what is to be done.
    pub fn poll(&mut self, now: Duration, slots: &mut Slots) -> Vec<Action> {
        if self.is_over() {
            return std::mem::take(&mut self.actions);
        }
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
            .filter(|provider| !provider.banned)
            .map(|p| p.rests_until);
        let rest = rests.filter(|until| *until > self.pace.now()).min();
        let pace = (!self.fetches.is_empty()).then(|| self.pace.next());
        let starved = self.starved.map(|(since, said)| {
            since
                + if said {
                    self.patience
                } else {
                    STARVED_AFTER.min(self.patience)
                }
        });
        [rest, pace, starved].into_iter().flatten().min()
    }

    fn is_over(&self) -> bool {
        self.actions
            .iter()
            .any(|action| matches!(action, Action::Done | Action::Failed { .. }))
    }

    fn watch_starvation(&mut self, now: Duration, slots: &mut Slots) {
        // Who failed last time is asked again, but isn't what anybody should wait for: a provider with
        // a broken disk offers everything and delivers nothing, for ever.
        let promises = |provider: &Provider| provider.failures == 0;
        let can_come = self.fetches.values().any(|fetch| {
            !fetch.arrived().is_empty() || self.providers.get(&fetch.device).is_none_or(promises)
        }) || self
            .providers
            .values()
            .any(|provider| promises(provider) && self.is_of_use(provider));
        if can_come {
            self.starved = None;
            return;
        }
        let (since, said) = self.starved.unwrap_or((now, false));
        let missing = self
            .blobs
            .values()
            .map(|work| work.pending.byte_len(work.len))
            .sum();
        if now.saturating_sub(since) >= self.patience {
            // Fetches at those who failed before may be under way: their places are needed by others.
            self.cancel(slots);
            self.actions.push(Action::Failed {
                why: EngineError::NoProvider {
                    missing,
                    failed: self.failing(),
                },
            });
        } else if !said && now.saturating_sub(since) >= STARVED_AFTER {
            self.actions.push(Action::Starved { missing });
            self.starved = Some((since, true));
        } else {
            self.starved = Some((since, said));
        }
    }

    /// Who was asked and gave nothing, or something wrong.
    fn failing(&self) -> Vec<DeviceId> {
        let failing = |provider: &Provider| provider.banned || provider.failures > 0;
        self.providers
            .iter()
            .filter(|(_, provider)| failing(provider))
            .map(|(device, _)| *device)
            .collect()
    }

    /// Whether a provider has something that is pending. It may be resting.
    fn is_of_use(&self, provider: &Provider) -> bool {
        let has = |(blob, have): (&BlobId, &Units)| {
            self.blobs
                .get(blob)
                .is_some_and(|work| !(work.pending & *have).is_empty())
        };
        !provider.banned && provider.have.iter().any(has)
    }

    fn rest(&mut self, device: DeviceId, now: Duration) {
        let provider = self.providers.entry(device).or_default();
        let rest = FIRST_REST * 2_u32.saturating_pow(provider.failures.min(8));
        provider.failures += 1;
        provider.rests_until = now + rest.min(LONGEST_REST);
    }

    fn forget_haves(&mut self, device: &DeviceId) {
        let Some(provider) = self.providers.get_mut(device) else {
            return;
        };
        for blob in std::mem::take(&mut provider.have).keys() {
            if let Some(work) = self.blobs.get_mut(blob) {
                work.rarity -= 1;
            }
        }
    }

    fn take(&mut self, id: FetchId, slots: &mut Slots) -> Option<Fetch> {
        let fetch = self.fetches.remove(&id)?;
        slots.give_back(&fetch.device);
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
        self.thank(fetch.device, arrived.byte_len(fetch.len));
        self.settle(&fetch, arrived);
        self.put_back(&fetch, arrived);
        self.close(&fetch.blob);
    }

    #[cfg(not(podsync_planted = "lose-failed-range"))]
    fn put_back(&mut self, fetch: &Fetch, arrived: Units) {
        let others = self.in_flight(&fetch.blob);
        if let Some(work) = self.blobs.get_mut(&fetch.blob) {
            work.pending |= fetch.units().without(arrived).without(others);
            work.longest = (work.longest / 2).max(MIN_RANGE_UNITS);
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
            for provider in self.providers.values_mut() {
                provider.have.remove(blob);
            }
        }
    }

    fn thank(&mut self, device: DeviceId, bytes: u64) {
        if bytes > 0 {
            *self.credit.entry(device).or_insert(0) += bytes;
        }
    }
}

#[cfg(test)]
mod tests;

//! Chooses the next range and its provider.
//!
//! The provider with the fewest fetches goes first, so equal providers share the work. It gets the
//! rarest range that it has, at random among equals. So devices that pull the same version from one
//! source soon have different parts to exchange.

use std::{ops::Range, time::Duration};

use super::{
    Action, Fetch, MAX_COPIES, MAX_PER_PROVIDER, MAX_RANGE_UNITS, MIN_RANGE_UNITS, Provider, Slots,
    Transfer, bucket,
};
use crate::{
    id::BlobId,
    units::{UNIT_LEN, Units},
};

/// The range length for a provider of unknown rate.
const FIRST_RANGE_UNITS: u64 = 8;

impl Transfer {
    /// Starts one fetch. False if none can be started.
    pub(super) fn start_one(&mut self, now: Duration, slots: &mut Slots) -> bool {
        for provider in self.in_turn(now, slots) {
            let piece = self
                .next_piece(&provider, slots)
                .or_else(|| self.second_copy(&provider, slots));
            if let Some((blob, run)) = piece {
                self.start(provider, blob, run, now, slots);
                return true;
            }
        }
        false
    }

    /// Providers with room for a fetch. Peers come before the bucket, except those that it replaces. Then
    /// fewest fetches first; among equals the preferred one, then the fastest.
    fn in_turn(&self, now: Duration, slots: &Slots) -> Vec<Provider> {
        let is_open = |provider: &Provider| provider.peer().is_some() || self.bucket_is_open(now);
        let at_hand = self.bucket_is_at_hand(now);
        let turn = |provider: &Provider| match provider {
            Provider::Bucket => 1,
            Provider::Peer(_) if at_hand && !self.is_in_good_hands(provider, slots) => 2,
            Provider::Peer(_) => 0,
        };
        let mut providers: Vec<_> = self
            .providers
            .iter()
            .filter(|(provider, account)| {
                !account.banned
                    && account.rests_until <= now
                    && is_open(provider)
                    && slots.is_free(provider)
            })
            .map(|(provider, account)| {
                let rate = std::cmp::Reverse(account.rate.unwrap_or(0.0) as u64);
                (
                    turn(provider),
                    slots.at(provider),
                    self.prefer.is_none() || self.prefer != provider.peer(),
                    rate,
                    *provider,
                )
            })
            .collect();
        providers.sort_unstable();
        providers
            .into_iter()
            .map(|(.., provider)| provider)
            .collect()
    }

    fn next_piece(&mut self, provider: &Provider, slots: &Slots) -> Option<(BlobId, Range<u64>)> {
        let account = self.providers.get(provider)?;
        let peers = self.usable_peers(slots);
        let mut rarest = u32::MAX;
        let mut equals: Vec<(BlobId, Units)> = Vec::new();
        for (blob, work) in self
            .blobs
            .iter()
            .filter(|(_, work)| !work.pending.is_empty())
        {
            let Some(have) = account.have.get(blob) else {
                continue;
            };
            let mut units = work.pending & *have;
            if *provider == Provider::Bucket {
                units = units.without(bucket::left_to(&peers, blob));
            }
            if units.is_empty() || work.rarity > rarest {
                continue;
            }
            if work.rarity < rarest {
                rarest = work.rarity;
                equals.clear();
            }
            equals.push((*blob, units));
        }
        if equals.is_empty() {
            return None;
        }
        // A blob is durable once its wanted parts are complete. So finish begun blobs first: a crash
        // then costs little more than the data on the wire.
        let is_begun = |blob: &BlobId| self.blobs.get(blob).is_some_and(|work| work.begun);
        if equals.iter().any(|(blob, _)| is_begun(blob)) {
            equals.retain(|(blob, _)| is_begun(blob));
        }
        let (blob, units) = equals[self.choice.below(equals.len() as u64) as usize];
        let allowed = self.blobs.get(&blob)?.longest;
        if *provider == Provider::Bucket {
            let longest = self.longest_for_bucket().min(allowed);
            return Some((blob, bucket::cut(units, longest)?));
        }
        let longest = self.longest_for(provider).min(allowed);
        Some((blob, self.cut(units, longest)))
    }

    /// About one second's worth at the peer's rate, but little enough that every other provider has
    /// something to do at the end.
    fn longest_for(&self, provider: &Provider) -> u64 {
        let by_rate = self
            .providers
            .get(provider)
            .and_then(|account| account.rate)
            .map_or(FIRST_RANGE_UNITS, |rate| rate as u64 / UNIT_LEN);
        let able = self
            .providers
            .iter()
            .filter(|(provider, account)| provider.peer().is_some() && self.is_of_use(account))
            .count() as u64;
        let share = self.units_left() / (able.max(1) * MAX_PER_PROVIDER as u64);
        by_rate.min(share).clamp(MIN_RANGE_UNITS, MAX_RANGE_UNITS)
    }

    /// The pending units, counted only as far as it matters.
    pub(super) fn units_left(&self) -> u64 {
        self.blobs
            .values()
            .take(MAX_PER_PROVIDER * 64)
            .map(|work| u64::from(work.pending.count()))
            .sum()
    }

    /// A random run of at most `longest` units, cut so that no tiny rest is left beside it.
    fn cut(&mut self, units: Units, longest: u64) -> Range<u64> {
        let runs: Vec<_> = units.runs().collect();
        let run = &runs[self.choice.below(runs.len() as u64) as usize];
        let len = run.end - run.start;
        if len < longest + MIN_RANGE_UNITS && len <= MAX_RANGE_UNITS {
            return run.clone();
        }
        let places = (len - longest) / MIN_RANGE_UNITS + 1;
        let start = run.start + self.choice.below(places) * MIN_RANGE_UNITS;
        start..start + longest
    }

    /// If nothing is pending that this provider has: a range that another provider is fetching, the
    /// one with most left, so that the end doesn't wait for the slowest.
    fn second_copy(&self, provider: &Provider, slots: &Slots) -> Option<(BlobId, Range<u64>)> {
        let account = self.providers.get(provider)?;
        let overlapping = |of: &Fetch| {
            let (blob, units) = (of.blob, of.units());
            let fetches = self.fetches.values();
            fetches.filter(move |fetch| fetch.blob == blob && !(fetch.units() & units).is_empty())
        };
        // The bucket may take a range even if two stalled peers hold it.
        let has_room = |fetch: &&Fetch| match provider {
            Provider::Peer(_) => overlapping(fetch).count() < MAX_COPIES,
            Provider::Bucket => overlapping(fetch).all(|fetch| {
                fetch.provider.peer().is_some() && !self.is_in_good_hands(&fetch.provider, slots)
            }),
        };
        self.fetches
            .values()
            .filter(|fetch| fetch.provider != *provider && fetch.left() > 0)
            .filter(|fetch| {
                account
                    .have
                    .get(&fetch.blob)
                    .is_some_and(|have| have.contains(fetch.units()))
            })
            .filter(has_room)
            .max_by_key(|fetch| (fetch.left(), fetch.blob, fetch.run.start))
            .map(|fetch| (fetch.blob, fetch.run.clone()))
    }

    fn start(
        &mut self,
        provider: Provider,
        blob: BlobId,
        run: Range<u64>,
        now: Duration,
        slots: &mut Slots,
    ) {
        let Some(work) = self.blobs.get_mut(&blob) else {
            return;
        };
        work.pending = work.pending.without(Units::span(run.start, run.end));
        work.begun = true;
        let id = slots.take(provider, now);
        let fetch = Fetch {
            provider,
            blob,
            run,
            len: work.len,
            bytes: 0,
            measured: 0,
            started: now,
            moved: now,
        };
        self.actions.push(Action::Fetch {
            fetch: id,
            provider,
            blob,
            range: fetch.range(),
            total_len: fetch.len,
        });
        self.fetches.insert(id, fetch);
        self.pace.begin(now);
    }
}

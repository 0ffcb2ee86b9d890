//! Finds slow providers by comparing them with the others, not with a fixed rate.
//!
//! A stalled fetch is always cut off. A slow one is cut off only if another provider would be much
//! faster: a slow only provider is better than none.

use std::time::Duration;

use super::{Provider, Slots, Transfer};

/// How often rates are measured.
const MEASURE_EVERY: Duration = Duration::from_secs(1);
/// Without a byte for this long, a fetch has stalled.
const STALLED_AFTER: Duration = Duration::from_secs(10);
/// How long a fetch runs before its rate is judged.
const JUDGED_AFTER: Duration = Duration::from_secs(5);
/// How many times slower than the others' median is too slow.
const TOO_SLOW: f64 = 8.0;
/// A slow fetch that will end within this time may finish.
const NEARLY_DONE: Duration = Duration::from_secs(2);
/// Weight of the newest measure in a rate.
const SMOOTHING: f64 = 0.4;

pub(super) struct Pace {
    measured: Duration,
    now: Duration,
}

impl Pace {
    pub(super) fn new(now: Duration) -> Self {
        Self { measured: now, now }
    }

    pub(super) fn now(&self) -> Duration {
        self.now
    }

    pub(super) fn next(&self) -> Duration {
        self.measured + MEASURE_EVERY
    }

    /// The first fetch after a pause. Discards the old measurement.
    pub(super) fn begin(&mut self, now: Duration) {
        if now.saturating_sub(self.measured) > MEASURE_EVERY {
            self.measured = now;
        }
    }
}

impl Transfer {
    /// Measures rates, and cuts off what stalls or crawls.
    pub(super) fn judge_pace(&mut self, now: Duration, slots: &mut Slots) {
        self.pace.now = now;
        let elapsed = now.saturating_sub(self.pace.measured);
        if elapsed < MEASURE_EVERY {
            return;
        }
        self.pace.measured = now;
        self.measure(elapsed.as_secs_f64());
        let slow: Vec<_> = self
            .fetches
            .iter()
            .filter(|(_, fetch)| {
                now.saturating_sub(fetch.moved) >= STALLED_AFTER || self.crawls(fetch, now)
            })
            .map(|(id, fetch)| (*id, fetch.provider, fetch.started))
            .collect();
        for (id, provider, started) in slow {
            self.actions.push(super::Action::Cancel { fetch: id });
            self.end(id, slots);
            self.rest(provider, started, now);
        }
    }

    fn measure(&mut self, seconds: f64) {
        let mut moved: std::collections::BTreeMap<_, u64> = std::collections::BTreeMap::new();
        for fetch in self.fetches.values_mut() {
            *moved.entry(fetch.provider).or_insert(0) += fetch.bytes - fetch.measured;
            fetch.measured = fetch.bytes;
        }
        for (provider, bytes) in moved {
            if let Some(account) = self.providers.get_mut(&provider) {
                let rate = bytes as f64 / seconds;
                account.rate = Some(
                    account
                        .rate
                        .map_or(rate, |before| before + SMOOTHING * (rate - before)),
                );
            }
        }
    }

    fn crawls(&self, fetch: &super::Fetch, now: Duration) -> bool {
        let account = self.providers.get(&fetch.provider);
        let Some(rate) = account.and_then(|account| account.rate) else {
            return false;
        };
        if now.saturating_sub(fetch.started) < JUDGED_AFTER
            || fetch.left() as f64 <= rate * NEARLY_DONE.as_secs_f64()
        {
            return false;
        }
        // Compare only with providers that could take it over. The bucket takes over from no peer that
        // still sends.
        let mut others: Vec<f64> = self
            .providers
            .iter()
            .filter(|(provider, account)| {
                **provider != fetch.provider
                    && **provider != Provider::Bucket
                    && !account.banned
                    && account.rests_until <= now
                    && account
                        .have
                        .get(&fetch.blob)
                        .is_some_and(|have| have.contains(fetch.units()))
            })
            .filter_map(|(_, account)| account.rate)
            .collect();
        others.sort_by(f64::total_cmp);
        others
            .get(others.len() / 2)
            .is_some_and(|median| rate * TOO_SLOW < *median)
    }
}

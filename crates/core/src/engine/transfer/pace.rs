//! Who is too slow: judged against the others, not against a number.
//!
//! A fetch that brings nothing for long is cut off whatever the others do. One that merely crawls is
//! cut off only if somebody else would be much faster, for a lone provider is better than none.

use std::time::Duration;

use super::{Provider, Slots, Transfer};

/// How often rates are measured.
const MEASURE_EVERY: Duration = Duration::from_secs(1);
/// Without a byte for this long, a fetch has stalled.
const STALLED_AFTER: Duration = Duration::from_secs(10);
/// How long a fetch may warm up before its rate is judged.
const JUDGED_AFTER: Duration = Duration::from_secs(5);
/// Times slower than the median of the others that is too slow.
const TOO_SLOW: f64 = 8.0;
/// A fetch that ends within this is let finish.
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

    /// The first fetch after a pause: what was measured before it says nothing.
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
        // Only those who could take it over are a measure, and the bucket takes over from no peer that
        // moves.
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

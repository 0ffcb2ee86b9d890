//! Who is too slow: judged against the others, not against a number.
//!
//! A fetch that brings nothing for long is cut off whatever the others do. One that merely crawls is
//! cut off only if somebody else would be much faster, for a lone provider is better than none.

use std::time::Duration;

use super::{Slots, Transfer};

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
            .map(|(id, fetch)| (*id, fetch.device))
            .collect();
        for (id, device) in slow {
            self.actions.push(super::Action::Cancel { fetch: id });
            self.end(id, slots);
            self.rest(device, now);
        }
    }

    fn measure(&mut self, seconds: f64) {
        let mut moved: std::collections::BTreeMap<_, u64> = std::collections::BTreeMap::new();
        for fetch in self.fetches.values_mut() {
            *moved.entry(fetch.device).or_insert(0) += fetch.bytes - fetch.measured;
            fetch.measured = fetch.bytes;
        }
        for (device, bytes) in moved {
            if let Some(provider) = self.providers.get_mut(&device) {
                let rate = bytes as f64 / seconds;
                provider.rate = Some(
                    provider
                        .rate
                        .map_or(rate, |before| before + SMOOTHING * (rate - before)),
                );
            }
        }
    }

    fn crawls(&self, fetch: &super::Fetch, now: Duration) -> bool {
        let Some(rate) = self
            .providers
            .get(&fetch.device)
            .and_then(|provider| provider.rate)
        else {
            return false;
        };
        if now.saturating_sub(fetch.started) < JUDGED_AFTER
            || fetch.left() as f64 <= rate * NEARLY_DONE.as_secs_f64()
        {
            return false;
        }
        // Only those who could take it over are a measure.
        let mut others: Vec<f64> = self
            .providers
            .iter()
            .filter(|(device, provider)| {
                **device != fetch.device
                    && !provider.banned
                    && provider.rests_until <= now
                    && provider
                        .have
                        .get(&fetch.blob)
                        .is_some_and(|have| have.contains(fetch.units()))
            })
            .filter_map(|(_, provider)| provider.rate)
            .collect();
        others.sort_by(f64::total_cmp);
        others
            .get(others.len() / 2)
            .is_some_and(|median| rate * TOO_SLOW < *median)
    }
}

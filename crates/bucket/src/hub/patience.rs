//! Timeouts and retries for hub and bucket.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// Limits of time and attempts. The default is for real use; tests use less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// One attempt of a call to the hub.
    pub one_try: Duration,
    /// All attempts of a call.
    pub call: Duration,
    /// A transfer that moves nothing for this long is cut.
    pub stalled: Duration,
    /// Attempts after the first.
    pub retries: usize,
    pub first_pause: Duration,
    pub longest_pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            // The hub gives up after 120 s. A repeated call then hits a cache.
            one_try: Duration::from_secs(60),
            call: Duration::from_secs(120),
            stalled: Duration::from_secs(30),
            retries: 4,
            first_pause: Duration::from_millis(250),
            longest_pause: Duration::from_secs(10),
        }
    }
}

impl Patience {
    pub(crate) fn pauses(&self) -> ExponentialBuilder {
        ExponentialBuilder::default()
            .with_min_delay(self.first_pause)
            .with_max_delay(self.longest_pause)
            .with_max_times(self.retries)
            .with_jitter()
    }

    pub(crate) fn build_pauses(&self) -> ExponentialBackoff {
        self.pauses().build()
    }
}

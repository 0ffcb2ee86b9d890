//! How long is waited for hub and bucket, and how often they are asked again.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBackoff, ExponentialBuilder};

/// Bounds of time and tries. The default is for people; tests have less.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Patience {
    /// For a connection.
    pub connect: Duration,
    /// One try of a call to the hub.
    pub one_try: Duration,
    /// All tries of a call.
    pub call: Duration,
    /// A transfer that moves nothing for this long is cut.
    pub stalled: Duration,
    /// Tries after the first one.
    pub retries: usize,
    pub first_pause: Duration,
    pub longest_pause: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            // The hub gives up by itself after 120 s; whoever asks again meets a cache.
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

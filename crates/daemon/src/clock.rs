//! The clocks that the engine is given: a monotonic one and the wall clock.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use podsync_core::engine::Now;

/// A monotonic clock. It counts from its creation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Clock(Instant);

impl Clock {
    pub(crate) fn start() -> Self {
        Self(Instant::now())
    }

    pub(crate) fn now(self) -> Now {
        Now {
            mono: self.0.elapsed(),
            wall_ms: now_ms(),
        }
    }

    /// When the monotonic clock shows `mono`.
    pub(crate) fn instant(self, mono: Duration) -> tokio::time::Instant {
        tokio::time::Instant::from_std(self.0 + mono)
    }
}

/// Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    unix_ms(SystemTime::now())
}

/// Unix milliseconds of a time that this machine's clock showed.
pub(crate) fn unix_ms(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    let since = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
    since.saturating_add_signed(skew_ms())
}

/// The offset that a test adds to this machine's clock.
#[cfg(feature = "failpoints")]
fn skew_ms() -> i64 {
    let seconds = std::env::var("PODSYNC_TEST_CLOCK_S").ok();
    let seconds: Option<i64> = seconds.and_then(|seconds| seconds.parse().ok());
    seconds.map_or(0, |seconds| seconds.saturating_mul(1000))
}

#[cfg(not(feature = "failpoints"))]
fn skew_ms() -> i64 {
    0
}

//! The clocks that the engine is given: one that only goes forward, and the wall's.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use podsync_core::engine::Now;

/// Counts from its start.
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
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

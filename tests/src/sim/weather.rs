//! The conditions of network and disks.

use std::{ops::Range, time::Duration};

/// The conditions that a world is made with.
#[derive(Debug, Clone)]
pub struct Climate {
    /// One way, for each message.
    pub latency: Range<Duration>,
    /// The chance that a message is lost. Its waiting receiver runs into a timeout.
    pub loss: f64,
    /// How long a commit takes.
    pub commit: Range<Duration>,
    /// How long until an end notices that its connection is gone.
    pub notice: Range<Duration>,
    /// How long until a broken link is tried again.
    pub redial: Range<Duration>,
}

impl Climate {
    /// A good LAN and healthy disks.
    pub fn fair() -> Self {
        Self {
            latency: millis(1, 20),
            loss: 0.0,
            commit: millis(1, 10),
            notice: millis(0, 1_000),
            redial: millis(5_000, 15_000),
        }
    }

    /// Messages late and lost, disks busy.
    pub fn foul() -> Self {
        Self {
            latency: millis(1, 2_000),
            loss: 0.1,
            commit: millis(1, 500),
            notice: millis(0, 20_000),
            ..Self::fair()
        }
    }
}

fn millis(from: u64, to: u64) -> Range<Duration> {
    Duration::from_millis(from)..Duration::from_millis(to)
}

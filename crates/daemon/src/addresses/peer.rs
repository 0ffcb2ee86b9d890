//! One device: connected, being dialled, or away and due to be dialled again.

use std::time::Duration;

use podsync_net::Multiaddr;

use super::known::Known;

/// Pauses between attempts. They double each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The longest pause for a while after a lost connection: the device is likely to be back soon.
const LONGEST_PAUSE_WHEN_LOST: Duration = Duration::from_secs(3);
const LOST_LATELY: Duration = Duration::from_secs(300);
/// A connection that ends sooner counts as a failed attempt: a device without free places closes it at once.
const LASTED: Duration = Duration::from_secs(10);

/// Most attempts at one device at once. Each is for another network or has newer addresses.
const MAX_ATTEMPTS: u32 = 3;

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) known: Known,
    /// Whether a caller waits for the connection.
    pub(super) wanted: bool,
    link: Link,
    /// Failed attempts since the last connection.
    failures: u32,
    /// When the last long connection ended.
    lost: Option<Duration>,
}

#[derive(Debug, Clone, Copy)]
enum Link {
    Away {
        due: Duration,
    },
    /// An attempt that was begun before the network changed may run beside one that was begun after.
    Dialled {
        attempts: u32,
    },
    Connected {
        since: Duration,
    },
}

impl Peer {
    pub(super) fn away(due: Duration) -> Self {
        Self {
            known: Known::default(),
            wanted: false,
            link: Link::Away { due },
            failures: 0,
            lost: None,
        }
    }

    pub(super) fn is_connected(&self) -> bool {
        matches!(self.link, Link::Connected { .. })
    }

    pub(super) fn is_dialled(&self) -> bool {
        matches!(self.link, Link::Dialled { .. })
    }

    /// When to dial it next, if it is away.
    pub(super) fn due(&self) -> Option<Duration> {
        match self.link {
            Link::Away { due } => Some(due),
            Link::Dialled { .. } | Link::Connected { .. } => None,
        }
    }

    /// There is news of the device: dials it at this time at the latest.
    pub(super) fn dial_by(&mut self, at: Duration) {
        if let Link::Away { due } = &mut self.link {
            *due = at.min(*due);
            self.failures = 0;
        }
    }

    /// There is news of the device's addresses. Dials it by this time, or returns what to dial beside an attempt
    /// that began before the news.
    pub(super) fn dial_by_news(&mut self, at: Duration, near: bool) -> Vec<Multiaddr> {
        self.dial_by(at);
        self.beside(near)
    }

    /// Returns what to dial beside a running attempt. Empty if no attempt runs.
    fn beside(&mut self, near: bool) -> Vec<Multiaddr> {
        match &mut self.link {
            Link::Dialled { attempts } if *attempts < MAX_ATTEMPTS => {
                let addresses = self.known.dialled(near);
                *attempts += u32::from(!addresses.is_empty());
                addresses
            }
            Link::Away { .. } | Link::Dialled { .. } | Link::Connected { .. } => Vec::new(),
        }
    }

    /// Dials the device now, regardless of earlier failures. Returns what to dial beside a running attempt.
    pub(super) fn begin_anew(&mut self, near: bool, now: Duration) -> Vec<Multiaddr> {
        self.failures = 0;
        if let Link::Away { due } = &mut self.link {
            *due = now;
        }
        self.beside(near)
    }

    /// Returns what to dial. Empty if no address is known: then the device stays away until there is news.
    pub(super) fn begin_attempt(&mut self, near: bool) -> Vec<Multiaddr> {
        let addresses = self.known.dialled(near);
        self.link = if addresses.is_empty() {
            Link::Away { due: Duration::MAX }
        } else {
            Link::Dialled { attempts: 1 }
        };
        addresses
    }

    /// Ends an attempt. Returns whether it was the last one that ran, so that a pause follows.
    pub(super) fn attempt_failed(&mut self, now: Duration) -> bool {
        let Link::Dialled { attempts } = self.link else {
            return false;
        };
        if attempts > 1 {
            let attempts = attempts - 1;
            self.link = Link::Dialled { attempts };
            return false;
        }
        self.fail(now);
        true
    }

    pub(super) fn connected(&mut self, now: Duration) {
        self.link = Link::Connected { since: now };
        self.wanted = false;
    }

    /// `turn` is when this side dials a device after both sides lost the connection.
    pub(super) fn disconnected(&mut self, turn: Duration, now: Duration) {
        let Link::Connected { since } = self.link else {
            return;
        };
        let lasted = now.saturating_sub(since);
        if lasted < LASTED {
            self.fail(now);
        } else {
            self.failures = 0;
            self.lost = Some(now);
            self.link = Link::Away { due: turn };
        }
    }

    fn fail(&mut self, now: Duration) {
        let pause = FIRST_PAUSE * 2_u32.saturating_pow(self.failures.min(8));
        let lost_lately = self
            .lost
            .is_some_and(|lost| now.saturating_sub(lost) < LOST_LATELY);
        let longest = if lost_lately {
            LONGEST_PAUSE_WHEN_LOST
        } else {
            LONGEST_PAUSE
        };
        self.failures += 1;
        self.link = Link::Away {
            due: now + pause.min(longest),
        };
    }
}

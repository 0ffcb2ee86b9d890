//! One device: connected, being dialled, or away and due to be dialled again.
//!
//! TCP is tried before QUIC, for it moves bytes at nearly twice the speed; QUIC is what is left where
//! TCP doesn't get through.

use std::time::Duration;

use podsync_net::Multiaddr;

use super::known::{Known, Route};

/// Between attempts: doubled each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The longest pause for a while after a connection was lost: it is likely to be there again soon.
const LONGEST_PAUSE_WHEN_LOST: Duration = Duration::from_secs(3);
const LOST_LATELY: Duration = Duration::from_secs(300);
/// A connection that ends sooner is one more failure: whoever is full hangs up at once.
const LASTED: Duration = Duration::from_secs(10);
/// Where TCP got through before, QUIC is tried in each third attempt only.
const QUIC_EVERY: u32 = 3;

/// Attempts at one device at once, each of another network.
const MAX_ATTEMPTS: u32 = 3;

#[derive(Debug)]
pub(super) struct Peer {
    pub(super) known: Known,
    /// Somebody waits for it.
    pub(super) wanted: bool,
    link: Link,
    /// Attempts that failed since it was connected last.
    failures: u32,
    /// When a connection that had lasted ended.
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
        route: Route,
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

    /// Has it dialled at this time at the latest: there is news of it.
    pub(super) fn dial_by(&mut self, at: Duration) {
        if let Link::Away { due } = &mut self.link {
            *due = at.min(*due);
            self.failures = 0;
        }
    }

    /// Has it dialled now, whatever became of earlier attempts; what to dial beside one that is under way.
    pub(super) fn begin_anew(&mut self, near: bool, now: Duration) -> Vec<Multiaddr> {
        self.failures = 0;
        match &mut self.link {
            Link::Away { due } => {
                *due = now;
                Vec::new()
            }
            Link::Dialled { attempts, route } if *attempts < MAX_ATTEMPTS => {
                let addresses = self.known.over(*route, near);
                *attempts += u32::from(!addresses.is_empty());
                addresses
            }
            Link::Dialled { .. } | Link::Connected { .. } => Vec::new(),
        }
    }

    /// What to dial; nothing where no address is known, and then it is away until there is news.
    pub(super) fn begin_attempt(&mut self, near: bool) -> Vec<Multiaddr> {
        for route in [Route::Tcp, Route::Quic] {
            let addresses = self.known.over(route, near);
            if !addresses.is_empty() {
                self.link = Link::Dialled { attempts: 1, route };
                return addresses;
            }
        }
        self.link = Link::Away { due: Duration::MAX };
        Vec::new()
    }

    /// What the next attempt runs over: QUIC means now, TCP means later. None where nothing follows.
    pub(super) fn attempt_failed(&mut self, now: Duration) -> Option<Route> {
        let Link::Dialled { attempts, route } = self.link else {
            return None;
        };
        if attempts > 1 {
            self.link = Link::Dialled {
                attempts: attempts - 1,
                route,
            };
            return None;
        }
        let has_quic = !self.known.over(Route::Quic, true).is_empty();
        let quics_turn =
            !self.known.is_reached_over_tcp() || (self.failures + 1).is_multiple_of(QUIC_EVERY);
        if route == Route::Tcp && has_quic && quics_turn {
            self.link = Link::Dialled {
                attempts: 1,
                route: Route::Quic,
            };
            return Some(Route::Quic);
        }
        self.fail(now);
        Some(Route::Tcp)
    }

    pub(super) fn connected(&mut self, now: Duration) {
        self.link = Link::Connected { since: now };
        self.wanted = false;
    }

    /// `turn` is when this side dials one that both sides have just lost.
    pub(super) fn disconnected(&mut self, turn: Duration, now: Duration) {
        let Link::Connected { since } = self.link else {
            return;
        };
        if now.saturating_sub(since) < LASTED {
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

//! One device: connected, being dialled, or away and due to be dialled again.
//!
//! TCP is tried before QUIC, for it moves bytes at nearly twice the speed; QUIC is what is left where
//! TCP doesn't get through. Over IPv6 that may show only once it carries something: where a link takes less
//! than a full packet and nobody is told, TCP goes on sending full ones. QUIC begins with small ones.

use std::time::Duration;

use podsync_net::Multiaddr;

use super::known::{Known, Route, is_tcp, is_v6};

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

/// A connection over TCP and IPv6 that ends sooner may have died of full packets.
const YOUNG: Duration = Duration::from_secs(60);
/// How many of them put QUIC first, and for how long after the last one.
const ENOUGH_DIED_YOUNG: u32 = 2;
const QUIC_FIRST_FOR: Duration = Duration::from_secs(600);

/// Attempts at one device at once, each of another network or begun with newer addresses.
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
    /// Connections over TCP and IPv6 that ended young, and when the last one did.
    died_young: u32,
    died_young_at: Duration,
}

/// What follows an attempt that failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// One over this, now.
    Over(Route),
    /// Nothing, until a pause is over.
    Pause,
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
        /// Over TCP and IPv6.
        may_die_of_full_packets: bool,
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
            died_young: 0,
            died_young_at: Duration::ZERO,
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

    /// There is news of where it is: has it dialled by this time, or gives what to dial beside an attempt that
    /// was begun without the news.
    pub(super) fn dial_by_news(&mut self, at: Duration, near: bool) -> Vec<Multiaddr> {
        self.dial_by(at);
        self.beside(near)
    }

    /// What to dial beside an attempt that is under way; nothing where there is none.
    fn beside(&mut self, near: bool) -> Vec<Multiaddr> {
        match &mut self.link {
            Link::Dialled { attempts, route } if *attempts < MAX_ATTEMPTS => {
                let addresses = self.known.over(*route, near);
                *attempts += u32::from(!addresses.is_empty());
                addresses
            }
            Link::Away { .. } | Link::Dialled { .. } | Link::Connected { .. } => Vec::new(),
        }
    }

    /// Has it dialled now, whatever became of earlier attempts; what to dial beside one that is under way.
    pub(super) fn begin_anew(&mut self, near: bool, now: Duration) -> Vec<Multiaddr> {
        self.failures = 0;
        self.died_young = 0;
        if let Link::Away { due } = &mut self.link {
            *due = now;
        }
        self.beside(near)
    }

    /// What to dial; nothing where no address is known, and then it is away until there is news.
    pub(super) fn begin_attempt(&mut self, near: bool, now: Duration) -> Vec<Multiaddr> {
        for route in self.routes(now) {
            let addresses = self.known.over(route, near);
            if !addresses.is_empty() {
                self.link = Link::Dialled { attempts: 1, route };
                return addresses;
            }
        }
        self.link = Link::Away { due: Duration::MAX };
        Vec::new()
    }

    /// None where another attempt runs, or none did.
    pub(super) fn attempt_failed(&mut self, near: bool, now: Duration) -> Option<Next> {
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
        let [first, second] = self.routes(now);
        let has_second = !self.known.over(second, near).is_empty();
        let seconds_turn = second == Route::Tcp
            || !self.known.is_reached_over_tcp()
            || (self.failures + 1).is_multiple_of(QUIC_EVERY);
        if route == first && has_second && seconds_turn {
            self.link = Link::Dialled {
                attempts: 1,
                route: second,
            };
            return Some(Next::Over(second));
        }
        self.fail(now);
        Some(Next::Pause)
    }

    fn routes(&self, now: Duration) -> [Route; 2] {
        let is_lately = now.saturating_sub(self.died_young_at) < QUIC_FIRST_FOR;
        if self.died_young >= ENOUGH_DIED_YOUNG && is_lately {
            [Route::Quic, Route::Tcp]
        } else {
            [Route::Tcp, Route::Quic]
        }
    }

    pub(super) fn connected(&mut self, address: &Multiaddr, now: Duration) {
        self.link = Link::Connected {
            since: now,
            may_die_of_full_packets: is_tcp(address) && is_v6(address),
        };
        self.wanted = false;
    }

    /// `turn` is when this side dials one that both sides have just lost.
    pub(super) fn disconnected(&mut self, turn: Duration, now: Duration) {
        let Link::Connected {
            since,
            may_die_of_full_packets,
        } = self.link
        else {
            return;
        };
        let lasted = now.saturating_sub(since);
        if may_die_of_full_packets && lasted < YOUNG {
            self.died_young = self.died_young.saturating_add(1);
            self.died_young_at = now;
        } else if may_die_of_full_packets {
            self.died_young = 0;
        }
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

//! One device: connected, being dialled, or away and due to be dialled again.
//!
//! TCP is tried before QUIC, for it is nearly twice as fast. QUIC is used if TCP doesn't get through. Over IPv6
//! this may show only once data is sent: if a link drops full packets silently, TCP goes on sending them. QUIC
//! begins with small packets.

use std::time::Duration;

use podsync_net::Multiaddr;

use super::known::{Known, Route, is_tcp, is_v6};

/// Pauses between attempts. They double each time, up to the longest.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);
/// The longest pause for a while after a lost connection: the device is likely to be back soon.
const LONGEST_PAUSE_WHEN_LOST: Duration = Duration::from_secs(3);
const LOST_LATELY: Duration = Duration::from_secs(300);
/// A connection that ends sooner counts as a failed attempt: a device without free places closes it at once.
const LASTED: Duration = Duration::from_secs(10);
/// Where TCP got through before, QUIC is tried in each third attempt only.
const QUIC_EVERY: u32 = 3;

/// A connection over TCP and IPv6 that ends sooner may have died of full packets.
const YOUNG: Duration = Duration::from_secs(60);
/// How many such connections put QUIC first, and for how long after the last one.
const ENOUGH_DIED_YOUNG: u32 = 2;
const QUIC_FIRST_FOR: Duration = Duration::from_secs(600);

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
    /// Connections over TCP and IPv6 that ended early, and when the last one did.
    died_young: u32,
    died_young_at: Duration,
}

/// What to do after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    /// Another attempt over this transport, now.
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
            Link::Dialled { attempts, route } if *attempts < MAX_ATTEMPTS => {
                let addresses = self.known.over(*route, near);
                *attempts += u32::from(!addresses.is_empty());
                addresses
            }
            Link::Away { .. } | Link::Dialled { .. } | Link::Connected { .. } => Vec::new(),
        }
    }

    /// Dials the device now, regardless of earlier failures. Returns what to dial beside a running attempt.
    pub(super) fn begin_anew(&mut self, near: bool, now: Duration) -> Vec<Multiaddr> {
        self.failures = 0;
        self.died_young = 0;
        if let Link::Away { due } = &mut self.link {
            *due = now;
        }
        self.beside(near)
    }

    /// Returns what to dial. Empty if no address is known: then the device stays away until there is news.
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

    /// Ends an attempt and returns what follows. `None` if another attempt still runs, or none ran.
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

    /// `turn` is when this side dials a device after both sides lost the connection.
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

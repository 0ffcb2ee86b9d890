//! Detects paths that drop large packets.
//!
//! A router with a smaller link says so by ICMP, and some firewalls drop that. Then small packets pass,
//! full ones are lost, and a connection dies as soon as it carries data. Two connections lost early make
//! that likely. The next ones then use small segments, in both directions, at little cost.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

/// Bytes of a TCP segment that pass almost everywhere: where Linux begins when it probes a path.
pub(super) const SMALL_SEGMENT: u32 = 1024;

/// A connection lost within this time counts as lost early.
const YOUNG: Duration = Duration::from_secs(60);
/// How many early losses raise the suspicion.
const ENOUGH: u32 = 2;
/// How long a loss counts, and how long segments stay small after the last one.
const REMEMBERED: Duration = Duration::from_secs(600);
/// Addresses remembered.
const MAX_ADDRESSES: usize = 64;

/// Addresses to which paths may be narrow.
#[derive(Debug, Default)]
pub(super) struct Narrow(BTreeMap<IpAddr, Losses>);

#[derive(Debug)]
struct Losses {
    count: u32,
    last: Instant,
}

impl Narrow {
    /// Notes the loss of a connection to this address that was established at `since`.
    pub(super) fn note_lost(&mut self, remote: IpAddr, since: Instant, now: Instant) {
        if now.duration_since(since) >= YOUNG {
            return;
        }
        self.0
            .retain(|_, losses| now.duration_since(losses.last) < REMEMBERED);
        if self.0.len() >= MAX_ADDRESSES && !self.0.contains_key(&remote) {
            return;
        }
        let losses = self.0.entry(remote);
        let losses = losses.or_insert(Losses {
            count: 0,
            last: now,
        });
        losses.count = losses.count.saturating_add(1);
        losses.last = now;
    }

    /// Whether connections to this address should use small segments.
    pub(super) fn is_suspected(&self, remote: IpAddr, now: Instant) -> bool {
        self.0.get(&remote).is_some_and(|losses| {
            losses.count >= ENOUGH && now.duration_since(losses.last) < REMEMBERED
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_young_losses_are_enough_for_ten_minutes() {
        let now = Instant::now();
        let ip = IpAddr::from([10, 0, 0, 1]);
        let mut narrow = Narrow::default();
        narrow.note_lost(ip, now, now + YOUNG);
        narrow.note_lost(ip, now, now + Duration::from_secs(5));
        assert!(!narrow.is_suspected(ip, now), "an old one doesn't count");
        let second = now + Duration::from_secs(9);
        narrow.note_lost(ip, now, second);
        assert!(narrow.is_suspected(ip, second));
        assert!(!narrow.is_suspected(IpAddr::from([10, 0, 0, 2]), second));
        assert!(!narrow.is_suspected(ip, second + REMEMBERED));
        for n in 0..=255 {
            narrow.note_lost(IpAddr::from([10, 0, 1, n]), second, second);
        }
        assert!(narrow.0.len() <= MAX_ADDRESSES);
    }
}

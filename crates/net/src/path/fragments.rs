//! Detects paths that drop large packets.
//!
//! A router with a smaller link says so by ICMP, and some firewalls drop that. Then small packets pass,
//! full ones are lost, and a connection dies as soon as it carries data. Two connections lost early make
//! that likely. The next ones then let routers fragment packets, at little cost. Only Linux needs to be
//! told, and only IPv4 has fragments; other systems and QUIC detect the limit themselves.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    time::{Duration, Instant},
};

/// A connection lost within this time counts as lost early.
const YOUNG: Duration = Duration::from_secs(60);
/// How many early losses raise the suspicion.
const ENOUGH: u32 = 2;
/// How long a loss counts, and how long fragments stay allowed after the last one.
const REMEMBERED: Duration = Duration::from_secs(600);
/// Addresses remembered.
const MAX_ADDRESSES: usize = 64;

#[derive(Debug, Default)]
pub(super) struct Fragments(BTreeMap<IpAddr, Losses>);

#[derive(Debug)]
struct Losses {
    count: u32,
    last: Instant,
}

impl Fragments {
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

    /// Whether connections to this address should allow fragments.
    pub(super) fn wanted(&self, remote: IpAddr, now: Instant) -> bool {
        self.0.get(&remote).is_some_and(|losses| {
            losses.count >= ENOUGH && now.duration_since(losses.last) < REMEMBERED
        })
    }
}

/// Lets routers fragment this connection's packets.
#[cfg(target_os = "linux")]
pub(super) fn allow(stream: &tokio::net::TcpStream) {
    use rustix::net::sockopt::{Ipv4PathMtuDiscovery, set_ip_mtu_discover};
    // IPv6 has no such option: the call fails there without harm.
    if let Err(error) = set_ip_mtu_discover(stream, Ipv4PathMtuDiscovery::DONT) {
        tracing::debug!(%error, "packets are not cut on this path");
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn allow(_: &tokio::net::TcpStream) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_young_losses_are_enough_for_ten_minutes() {
        let now = Instant::now();
        let ip = IpAddr::from([10, 0, 0, 1]);
        let mut fragments = Fragments::default();
        fragments.note_lost(ip, now, now + YOUNG);
        fragments.note_lost(ip, now, now + Duration::from_secs(5));
        assert!(!fragments.wanted(ip, now), "an old one doesn't count");
        let second = now + Duration::from_secs(9);
        fragments.note_lost(ip, now, second);
        assert!(fragments.wanted(ip, second));
        assert!(!fragments.wanted(IpAddr::from([10, 0, 0, 2]), second));
        assert!(!fragments.wanted(ip, second + REMEMBERED));
        for n in 0..=255 {
            fragments.note_lost(IpAddr::from([10, 0, 1, n]), second, second);
        }
        assert!(fragments.0.len() <= MAX_ADDRESSES);
    }
}

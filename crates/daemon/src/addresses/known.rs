//! The addresses of one device, by their source.
//!
//! A device may write anything into its record, and anybody may claim anything on the local network: all lists are
//! bounded, and only plain addresses of a record are dialled.

use std::net::IpAddr;

use podsync_core::wire::MAX_ADDRESSES;
use podsync_net::{Multiaddr, multiaddr::Protocol};

/// Most addresses kept at which one device was reached: it moves between a few networks.
pub const REACHED_KEPT: usize = 4;
/// Most addresses kept at which another device answered.
const MAX_TAKEN: usize = 32;
/// Most addresses kept of one device from the local network or a ticket.
const MAX_DISCOVERED: usize = 8;

#[derive(Debug, Default)]
pub(super) struct Known {
    /// From the settings.
    pinned: Vec<Multiaddr>,
    /// Where dialling it succeeded, the latest first.
    reached: Vec<Multiaddr>,
    /// From the local network or a ticket, the latest first.
    discovered: Vec<Multiaddr>,
    /// From the device's own announcement.
    announced: Vec<Multiaddr>,
    /// Where another device answered. Until there is news they are left out: each would end a whole attempt.
    taken: Vec<Multiaddr>,
    /// The address that it dialled from last. That port is temporary, but it may listen at its old port there.
    seen_at: Option<IpAddr>,
}

impl Known {
    pub(super) fn pin(&mut self, address: Multiaddr) {
        if !self.pinned.contains(&address) {
            self.pinned.push(address);
        }
    }

    pub(super) fn restore(&mut self, reached: Vec<Multiaddr>) {
        self.reached = reached;
        self.reached.truncate(REACHED_KEPT);
    }

    /// Adds it. Returns whether anything changed.
    pub(super) fn reached_at(&mut self, address: Multiaddr) -> bool {
        if self.reached.first() == Some(&address) {
            return false;
        }
        put_first(&mut self.reached, address, REACHED_KEPT);
        true
    }

    /// Adds addresses. Returns whether any is new.
    pub(super) fn discovered_at(&mut self, addresses: Vec<Multiaddr>) -> bool {
        let mut is_news = false;
        for address in addresses.into_iter().rev() {
            is_news |= !self.discovered.contains(&address);
            put_first(&mut self.discovered, address, MAX_DISCOVERED);
        }
        is_news
    }

    /// Replaces the announced addresses. Returns whether anything changed.
    pub(super) fn announced_at(&mut self, addresses: &[String]) -> bool {
        let parsed = addresses.iter().filter_map(|address| address.parse().ok());
        let plain = parsed.filter(is_plain).take(MAX_ADDRESSES).collect();
        let before = std::mem::replace(&mut self.announced, plain);
        let is_news = self.announced != before;
        if is_news {
            self.forget_taken();
        }
        is_news
    }

    /// Another device answered at an address. Returns whether that leaves less to dial.
    pub(super) fn taken_at(&mut self, address: Multiaddr) -> bool {
        let is_news = self.taken.len() < MAX_TAKEN
            && !self.taken.contains(&address)
            && !self.pinned.contains(&address);
        if is_news {
            self.taken.push(address);
        }
        is_news
    }

    pub(super) fn forget_taken(&mut self) {
        self.taken.clear();
    }

    pub(super) fn dialled_from(&mut self, address: &Multiaddr) {
        self.seen_at = ip(address);
    }

    pub(super) fn reached(&self) -> &[Multiaddr] {
        &self.reached
    }

    pub(super) fn forget_reached(&mut self) {
        self.reached.clear();
    }

    pub(super) fn is_pinned(&self) -> bool {
        !self.pinned.is_empty()
    }

    /// Whether it was heard of on the local network.
    pub(super) fn is_nearby(&self) -> bool {
        !self.discovered.is_empty()
    }

    /// Whether its addresses are confirmed by more than its own announcement.
    pub(super) fn is_found(&self) -> bool {
        self.is_pinned() || self.is_nearby() || !self.reached.is_empty()
    }

    /// What to dial. Its loopback addresses are used only if this device is `near`, on the same machine.
    pub(super) fn dialled(&self, near: bool) -> Vec<Multiaddr> {
        let announced = self.announced.iter();
        let announced = announced.filter(|address| near || !is_loopback(address));
        let all = self.pinned.iter().chain(&self.reached);
        // Discovered addresses may be of networks that the device has left.
        let all = all.chain(announced).chain(&self.discovered);
        let mut dialled: Vec<Multiaddr> = Vec::new();
        for address in all.filter(|address| is_tcp(address)) {
            let moved = self.seen_at.map(|seen| at_ip(address, seen));
            for address in std::iter::once(address.clone()).chain(moved) {
                if !self.taken.contains(&address) && !dialled.contains(&address) {
                    dialled.push(address);
                }
            }
        }
        dialled
    }
}

fn put_first(addresses: &mut Vec<Multiaddr>, address: Multiaddr, kept: usize) {
    addresses.retain(|known| *known != address);
    addresses.insert(0, address);
    addresses.truncate(kept);
}

fn ip(address: &Multiaddr) -> Option<IpAddr> {
    match address.iter().next()? {
        Protocol::Ip4(ip) => Some(ip.into()),
        Protocol::Ip6(ip) => Some(ip.into()),
        _ => None,
    }
}

/// The same port at another IP address.
fn at_ip(address: &Multiaddr, ip: IpAddr) -> Multiaddr {
    let rest = address.iter().skip(1);
    rest.fold(Multiaddr::from(ip), Multiaddr::with)
}

pub(super) fn is_loopback(address: &Multiaddr) -> bool {
    ip(address).is_some_and(|ip| ip.is_loopback())
}

/// Whether an address is link-local, so that dialling it needs the link's name.
pub(super) fn is_link_local(address: &Multiaddr) -> bool {
    matches!(ip(address), Some(IpAddr::V6(ip)) if ip.is_unicast_link_local())
}

/// Whether it runs over TCP. Older devices also name addresses over QUIC.
fn is_tcp(address: &Multiaddr) -> bool {
    address.iter().any(|part| matches!(part, Protocol::Tcp(_)))
}

/// An IP address with TCP on it: no name to look up, no relay.
fn is_plain(address: &Multiaddr) -> bool {
    let parts: Vec<_> = address.iter().collect();
    matches!(
        parts[..],
        [Protocol::Ip4(_) | Protocol::Ip6(_), Protocol::Tcp(_)]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialled(near: bool, announced: &[&str]) -> Vec<String> {
        let announced: Vec<_> = announced.iter().map(ToString::to_string).collect();
        let mut known = Known::default();
        known.announced_at(&announced);
        let dialled = known.dialled(near);
        dialled.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn only_plain_addresses_of_a_record_are_dialled() {
        let good = ["/ip4/10.0.0.7/tcp/7637", "/ip6/fd00::7/tcp/7637"];
        assert_eq!(dialled(false, &good), good);
        let bad = [
            "/dns4/example.org/tcp/80",
            "/ip4/10.0.0.7/tcp/7637/p2p/12D3KooWMQD1kdRGK5ZNoKecbvXwTjbWwYx6ktG8E2hVLz3jsW2M/p2p-circuit",
            "/ip4/10.0.0.7/udp/7637/quic-v1",
            "/unix/tmp",
            "nonsense",
            "/ip4/127.0.0.1/tcp/4566",
        ];
        assert!(dialled(false, &bad).is_empty());
        assert_eq!(
            dialled(true, &bad).len(),
            1,
            "loopback among homes of one machine"
        );
    }

    #[test]
    fn who_dialled_from_elsewhere_may_listen_there_at_its_old_port() {
        let at = |text: &str| -> Multiaddr { text.parse().unwrap() };
        let mut known = Known::default();
        known.announced_at(&["/ip4/10.0.0.7/tcp/7637".to_owned()]);
        known.dialled_from(&at("/ip4/10.9.0.2/tcp/40123"));
        let dialled = known.dialled(false);
        assert_eq!(
            dialled,
            [at("/ip4/10.0.0.7/tcp/7637"), at("/ip4/10.9.0.2/tcp/7637")]
        );
    }

    #[test]
    fn the_latest_addresses_come_first_and_few_are_kept() {
        let at = |port: u16| -> Multiaddr { format!("/ip4/10.0.0.7/tcp/{port}").parse().unwrap() };
        let mut known = Known::default();
        for port in 1..=6 {
            assert!(known.reached_at(at(port)));
        }
        assert!(!known.reached_at(at(6)), "that is no news");
        assert!(known.reached_at(at(4)));
        assert_eq!(known.reached(), [at(4), at(6), at(5), at(3)]);
        assert!(known.discovered_at((1..1000).map(at).collect()));
        assert_eq!(
            known.dialled(false).len(),
            MAX_DISCOVERED,
            "what a liar says is bounded, and none is dialled twice"
        );
    }
}

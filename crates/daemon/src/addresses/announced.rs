//! The addresses of this device that others are told.

use podsync_core::wire::MAX_ADDRESSES;
use podsync_net::Multiaddr;

use super::known::{is_link_local, is_loopback};

/// The best few of the addresses that this device listens at, as text. Loopback addresses are included only if
/// there are no others.
pub fn announced(listening: &[Multiaddr]) -> Vec<String> {
    let mut best = best_first(listening);
    if best.first().is_some_and(|address| !is_loopback(address)) {
        best.retain(|address| !is_loopback(address));
    }
    best.truncate(MAX_ADDRESSES);
    best.iter().map(ToString::to_string).collect()
}

/// Addresses that others can dial, loopback last. Link-local ones are left out.
pub(super) fn best_first(listening: &[Multiaddr]) -> Vec<Multiaddr> {
    let elsewhere = listening.iter().filter(|address| !is_link_local(address));
    let mut best: Vec<_> = elsewhere.cloned().collect();
    best.sort_by_key(is_loopback);
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_is_told_only_where_there_is_nothing_else() {
        let parse = |text: &str| text.parse::<Multiaddr>().unwrap();
        let near = parse("/ip4/127.0.0.1/tcp/1");
        let (v4, v6) = (parse("/ip4/10.0.0.7/tcp/1"), parse("/ip6/fd00::7/tcp/1"));
        assert_eq!(
            announced(std::slice::from_ref(&near)),
            ["/ip4/127.0.0.1/tcp/1"]
        );
        let of_a_link = parse("/ip6/fe80::1/tcp/1");
        assert_eq!(
            announced(&[near, of_a_link, v4, v6]),
            ["/ip4/10.0.0.7/tcp/1", "/ip6/fd00::7/tcp/1"]
        );
    }
}

//! Where devices say that they can be reached, and what of it is worth a try.
//!
//! A member may write anything into its record, so only plain addresses are dialled, and loopback
//! ones only by a device that has nothing else itself.

use std::collections::BTreeMap;

use podsync_core::{DeviceId, wire::MAX_ADDRESSES};
use podsync_net::Multiaddr;

/// Devices whose word is kept.
const MAX_DEVICES: usize = 256;

/// Addresses by device, as told.
#[derive(Default)]
pub(super) struct Told(BTreeMap<DeviceId, Vec<Multiaddr>>);

impl Told {
    /// Keeps what a device said; what of it may be dialled from here.
    pub(super) fn note(
        &mut self,
        device: DeviceId,
        addresses: &[String],
        listening: &[Multiaddr],
    ) -> Vec<Multiaddr> {
        let near = listening.iter().all(is_loopback);
        let worth: Vec<Multiaddr> = addresses
            .iter()
            .filter_map(|address| address.parse().ok())
            .filter(|address| is_plain(address) && (near || !is_loopback(address)))
            .take(MAX_ADDRESSES)
            .collect();
        if self.0.contains_key(&device) || self.0.len() < MAX_DEVICES {
            self.0.insert(device, worth.clone());
        }
        worth
    }

    pub(super) fn retain(&mut self, lists: impl Fn(&DeviceId) -> bool) {
        self.0.retain(|device, _| lists(device));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (DeviceId, &[Multiaddr])> {
        self.0
            .iter()
            .filter(|(_, addresses)| !addresses.is_empty())
            .map(|(device, addresses)| (*device, addresses.as_slice()))
    }
}

/// What others are told of the addresses that this device listens on: the few best, loopback only
/// where there is nothing else.
pub(crate) fn worth_telling(listening: &[Multiaddr]) -> Vec<String> {
    let (mut near, far): (Vec<_>, Vec<_>) = listening.iter().partition(|addr| is_loopback(addr));
    if !far.is_empty() {
        near = far;
    }
    let mut told: Vec<_> = near.iter().map(ToString::to_string).collect();
    told.sort_by_key(|address| !address.contains("/tcp/"));
    told.truncate(MAX_ADDRESSES);
    told
}

fn is_loopback(address: &Multiaddr) -> bool {
    let text = address.to_string();
    text.starts_with("/ip4/127.") || text.starts_with("/ip6/::1/")
}

/// An IP address with TCP or QUIC on it: no name to look up, no relay.
fn is_plain(address: &Multiaddr) -> bool {
    let text = address.to_string();
    let parts: Vec<_> = text.split('/').collect();
    matches!(
        parts[..],
        ["", "ip4" | "ip6", _, "tcp", _] | ["", "ip4" | "ip6", _, "udp", _, "quic-v1"]
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn note(listening: &str, told: &[&str]) -> Vec<String> {
        let told: Vec<_> = told.iter().map(ToString::to_string).collect();
        let device = DeviceId::from_bytes([1; 32]);
        let worth = Told::default().note(device, &told, &[listening.parse().unwrap()]);
        worth.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn only_plain_addresses_are_dialled() {
        let good = ["/ip4/10.0.0.7/tcp/7637", "/ip6/fd00::7/udp/7637/quic-v1"];
        assert_eq!(note("/ip4/10.0.0.8/tcp/1", &good), good);
        let bad = [
            "/dns4/example.org/tcp/80",
            "/ip4/10.0.0.7/tcp/7637/p2p/12D3KooWMQD1kdRGK5ZNoKecbvXwTjbWwYx6ktG8E2hVLz3jsW2M/p2p-circuit",
            "/unix/tmp",
            "nonsense",
            "/ip4/127.0.0.1/tcp/4566",
        ];
        assert!(note("/ip4/10.0.0.8/tcp/1", &bad).is_empty());
        assert_eq!(
            note("/ip4/127.0.0.1/tcp/1", &bad).len(),
            1,
            "loopback among homes of one machine"
        );
    }

    #[test]
    fn loopback_is_told_only_where_there_is_nothing_else() {
        let parse = |text: &str| text.parse::<Multiaddr>().unwrap();
        let near = parse("/ip4/127.0.0.1/tcp/1");
        let (quic, tcp) = (
            parse("/ip4/10.0.0.7/udp/1/quic-v1"),
            parse("/ip4/10.0.0.7/tcp/1"),
        );
        assert_eq!(
            worth_telling(std::slice::from_ref(&near)),
            ["/ip4/127.0.0.1/tcp/1"]
        );
        assert_eq!(
            worth_telling(&[near, quic, tcp]),
            ["/ip4/10.0.0.7/tcp/1", "/ip4/10.0.0.7/udp/1/quic-v1"]
        );
    }
}

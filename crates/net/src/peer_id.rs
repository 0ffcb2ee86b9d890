//! Converts between our device id and libp2p's peer id for the same key.
//!
//! A libp2p peer may hold a key that isn't ed25519. It has no device id and is refused.

use std::net::IpAddr;

use libp2p::{Multiaddr, PeerId, multiaddr};
use podsync_core::DeviceId;

pub(crate) fn device_of(peer: &PeerId) -> Option<DeviceId> {
    DeviceId::from_peer_id_bytes(&peer.to_bytes())
}

pub(crate) fn peer_of(device: DeviceId) -> PeerId {
    PeerId::from_bytes(&device.to_peer_id_bytes())
        .expect("the bytes of a device id have the form of a peer id")
}

/// The device in an address's `/p2p/` part, and the address without it. None without that part.
pub fn split_address(mut addr: Multiaddr) -> Option<(DeviceId, Multiaddr)> {
    match addr.pop()? {
        multiaddr::Protocol::P2p(peer) => Some((device_of(&peer)?, addr)),
        _ => None,
    }
}

/// The address without its `/p2p/` part, if it has one. None if that names another device.
pub(crate) fn bare_address(device: DeviceId, addr: Multiaddr) -> Option<Multiaddr> {
    match addr.iter().last()? {
        multiaddr::Protocol::P2p(_) => {
            split_address(addr).and_then(|(named, bare)| (named == device).then_some(bare))
        }
        _ => Some(addr),
    }
}

/// The IP address that an address begins with.
pub(crate) fn ip_of(addr: &Multiaddr) -> Option<IpAddr> {
    match addr.iter().next()? {
        multiaddr::Protocol::Ip4(ip) => Some(ip.into()),
        multiaddr::Protocol::Ip6(ip) => Some(ip.into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use libp2p::identity::Keypair;

    #[test]
    fn a_device_is_its_peer_id() {
        let peer = Keypair::ed25519_from_bytes([7; 32])
            .unwrap()
            .public()
            .to_peer_id();
        let device = device_of(&peer).unwrap();
        assert_eq!(peer_of(device), peer);
        assert_eq!(device.to_string(), peer.to_string());
    }

    #[test]
    fn an_address_for_another_device_is_refused() {
        let of = |seed| {
            Keypair::ed25519_from_bytes([seed; 32])
                .unwrap()
                .public()
                .to_peer_id()
        };
        let bare: Multiaddr = "/ip4/10.0.0.1/tcp/4000".parse().unwrap();
        let full = bare.clone().with(multiaddr::Protocol::P2p(of(1)));
        let (one, other) = (device_of(&of(1)).unwrap(), device_of(&of(2)).unwrap());
        assert_eq!(bare_address(one, full.clone()), Some(bare.clone()));
        assert_eq!(bare_address(other, full.clone()), None);
        assert_eq!(bare_address(other, bare.clone()), Some(bare.clone()));
        assert_eq!(split_address(full), Some((one, bare.clone())));
        assert_eq!(split_address(bare), None);
    }
}

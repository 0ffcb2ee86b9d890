//! Where other devices were reached: kept, so that a restart finds them again where mDNS doesn't.
//!
//! An address is kept once this device got through on it by dialling; what others merely say of
//! theirs never is.

use std::collections::BTreeMap;

use podsync_core::{DeviceId, codec::Format};
use podsync_net::Multiaddr;
use podsync_store::{Key, Log, Namespace, Record, StoreError};
use serde::{Deserialize, Serialize};

/// Devices whose addresses are kept.
const MAX_DEVICES: usize = 256;
/// Addresses kept of one device: it moves between a few networks.
const MAX_ADDRESSES: usize = 4;

const REACHED: Namespace = Namespace::new("reached");

/// Where a device was reached, the latest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Addresses {
    addresses: Vec<String>,
}

impl Format for Addresses {
    const NAME: &'static str = "addresses of a device";
    const VERSION: u8 = 1;
    const MAX_LEN: usize = 4 << 10;
}

/// Addresses by device, in memory and in the log.
#[derive(Default)]
pub(super) struct Reached(BTreeMap<DeviceId, Vec<Multiaddr>>);

impl Reached {
    pub(super) fn load(log: &Log) -> Result<Self, StoreError> {
        let mut reached = BTreeMap::new();
        for row in log.settings(REACHED)? {
            let (key, bytes) = row?;
            let Ok(device) = <[u8; 32]>::try_from(key).map(DeviceId::from_bytes) else {
                continue;
            };
            match Addresses::decode(&bytes) {
                Ok(kept) => {
                    let parsed = kept.addresses.iter().filter_map(|addr| addr.parse().ok());
                    reached.insert(device, parsed.take(MAX_ADDRESSES).collect());
                }
                Err(error) => {
                    tracing::warn!(peer = %device.short(), %error, "where it was reached can't be read; it has to be found anew");
                }
            }
        }
        Ok(Self(reached))
    }

    /// Notes that a device was reached; what to write, if that is news.
    pub(super) fn note(&mut self, device: DeviceId, addr: Multiaddr) -> Option<Record> {
        if !self.0.contains_key(&device) && self.0.len() >= MAX_DEVICES {
            return None;
        }
        let addresses = self.0.entry(device).or_default();
        if addresses.first() == Some(&addr) {
            return None;
        }
        addresses.retain(|known| *known != addr);
        addresses.insert(0, addr);
        addresses.truncate(MAX_ADDRESSES);
        let kept = Addresses {
            addresses: addresses.iter().map(ToString::to_string).collect(),
        };
        Some(Record::put(key(device), kept.encode()))
    }

    /// Forgets devices that no team lists; what to write.
    pub(super) fn retain(&mut self, lists: impl Fn(&DeviceId) -> bool) -> Vec<Record> {
        let gone = self.0.extract_if(.., |device, _| !lists(device));
        gone.map(|(device, _)| Record::delete(key(device)))
            .collect()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (DeviceId, &[Multiaddr])> {
        self.0
            .iter()
            .map(|(device, addresses)| (*device, addresses.as_slice()))
    }
}

fn key(device: DeviceId) -> Key {
    Key::Setting {
        namespace: REACHED,
        key: device.as_bytes().to_vec(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn addr(port: u16) -> Multiaddr {
        format!("/ip4/10.0.0.7/tcp/{port}").parse().unwrap()
    }

    #[test]
    fn the_latest_addresses_come_first_and_few_are_kept() {
        let mut reached = Reached::default();
        let device = DeviceId::from_bytes([1; 32]);
        for port in 1..=6 {
            assert!(reached.note(device, addr(port)).is_some());
        }
        assert!(reached.note(device, addr(6)).is_none(), "that is no news");
        assert!(reached.note(device, addr(4)).is_some());
        let (_, kept) = reached.iter().next().unwrap();
        assert_eq!(kept, [addr(4), addr(6), addr(5), addr(3)]);
    }

    #[test]
    fn devices_are_bounded_and_forgotten() {
        let mut reached = Reached::default();
        for number in 0..=MAX_DEVICES {
            let mut id = [0; 32];
            id[..8].copy_from_slice(&number.to_be_bytes());
            reached.note(DeviceId::from_bytes(id), addr(1));
        }
        assert_eq!(reached.iter().count(), MAX_DEVICES);
        assert_eq!(reached.retain(|_| false).len(), MAX_DEVICES);
        assert_eq!(reached.iter().count(), 0);
    }

    #[test]
    fn bytes_stay_as_they_are() {
        let kept = Addresses {
            addresses: vec![addr(7637).to_string()],
        };
        assert_eq!(
            kept.encode(),
            [&[1, 1, 22][..], b"/ip4/10.0.0.7/tcp/7637"].concat()
        );
        assert_eq!(Addresses::decode(&kept.encode()).unwrap(), kept);
    }
}

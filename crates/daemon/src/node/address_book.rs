//! Stores in the log where other devices were reached. After a restart they are found even without mDNS.

use podsync_core::{DeviceId, codec::Format};
use podsync_net::Multiaddr;
use podsync_store::{Key, Log, Namespace, Record, StoreError};
use serde::{Deserialize, Serialize};

use crate::addresses::REACHED_KEPT;

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

/// Reads all stored addresses. Records that can't be read are left out: their addresses will be found again.
pub(super) fn load(log: &Log) -> Result<Vec<(DeviceId, Vec<Multiaddr>)>, StoreError> {
    let mut reached = Vec::new();
    for row in log.settings(REACHED)? {
        let (key, bytes) = row?;
        let Ok(device) = <[u8; 32]>::try_from(key).map(DeviceId::from_bytes) else {
            continue;
        };
        match Addresses::decode(&bytes) {
            Ok(kept) => {
                let parsed = kept.addresses.iter().filter_map(|addr| addr.parse().ok());
                reached.push((device, parsed.take(REACHED_KEPT).collect()));
            }
            Err(error) => {
                tracing::warn!(peer = %device.short(), %error, "podsync can't read where it reached a device and has to find it again");
            }
        }
    }
    Ok(reached)
}

/// The change that stores these addresses. An empty list removes the device.
pub(super) fn record(device: DeviceId, addresses: &[Multiaddr]) -> Record {
    let key = Key::Setting {
        namespace: REACHED,
        key: device.as_bytes().to_vec(),
    };
    if addresses.is_empty() {
        return Record::delete(key);
    }
    let kept = Addresses {
        addresses: addresses.iter().map(ToString::to_string).collect(),
    };
    Record::put(key, kept.encode())
}

#[cfg(test)]
mod tests {
    use podsync_store::Home;

    use super::*;

    #[test]
    fn what_was_reached_lasts_until_it_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(&folder.path().join("home"), "a test").unwrap();
        let log = Log::open(&home).unwrap();
        let device = DeviceId::from_bytes([1; 32]);
        let reached: Vec<Multiaddr> = vec!["/ip4/10.0.0.7/tcp/7637".parse().unwrap()];
        log.commit(&[record(device, &reached)]).unwrap();
        assert_eq!(load(&log).unwrap(), [(device, reached)]);
        log.commit(&[record(device, &[])]).unwrap();
        assert_eq!(load(&log).unwrap(), []);
    }

    #[test]
    fn bytes_stay_as_they_are() {
        let kept = Addresses {
            addresses: vec!["/ip4/10.0.0.7/tcp/7637".to_owned()],
        };
        assert_eq!(
            kept.encode(),
            [&[1, 1, 22][..], b"/ip4/10.0.0.7/tcp/7637"].concat()
        );
        assert_eq!(Addresses::decode(&kept.encode()).unwrap(), kept);
    }
}

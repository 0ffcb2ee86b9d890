//! Lanes that were offered and are not opened yet.
//!
//! An offer holds a lane place from the start, so an offered lane is never refused for lack of one. An offer
//! that expires gives its place back.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use podsync_core::DeviceId;

use super::offer::Secret;
use crate::places::{Place, Places};

/// Lanes at once, of all peers together: each holds a socket and some 100 KiB of buffers.
const MAX_LANES: usize = 64;
/// The most lanes of one peer: as many as it may have streams.
const MAX_LANES_PER_PEER: usize = 16;

/// How long an offer is valid. An asker connects at once.
const GOOD_FOR: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(super) struct Offers {
    places: Places,
    open: Arc<Mutex<HashMap<Secret, Open>>>,
}

struct Open {
    device: DeviceId,
    place: Place,
    until: Instant,
}

impl Offers {
    pub(super) fn new() -> Self {
        Self {
            places: Places::new(MAX_LANES, MAX_LANES_PER_PEER),
            open: Arc::default(),
        }
    }

    /// Offers a lane under a fresh secret. False if there is no place.
    pub(super) fn make(
        &self,
        secret: Secret,
        (device, is_robot): (DeviceId, bool),
        now: Instant,
    ) -> bool {
        let mut open = self.lock();
        // Expired offers give their places back.
        open.retain(|_, offer| offer.until > now);
        let place = match is_robot {
            true => self.places.take_for_robot(device),
            false => self.places.take(device),
        };
        let Some(place) = place else {
            return false;
        };
        let until = now + GOOD_FOR;
        open.insert(
            secret,
            Open {
                device,
                place,
                until,
            },
        );
        true
    }

    /// The device that was given the secret, and the place of its lane. A secret works once.
    pub(super) fn take(&self, secret: Secret, now: Instant) -> Option<(DeviceId, Place)> {
        let offer = self.lock().remove(&secret)?;
        (offer.until > now).then_some((offer.device, offer.place))
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Secret, Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lane::offer::SECRET_LEN;

    fn secret(n: usize) -> Secret {
        let mut bytes = [0; SECRET_LEN];
        bytes[..8].copy_from_slice(&n.to_le_bytes());
        Secret::from_bytes(bytes)
    }

    fn device(n: u8) -> DeviceId {
        DeviceId::from_bytes([n; 32])
    }

    #[test]
    fn a_secret_works_once_and_for_a_while() {
        let (offers, now) = (Offers::new(), Instant::now());
        assert!(offers.make(secret(1), (device(1), false), now));
        assert!(offers.make(secret(2), (device(2), false), now));
        assert!(offers.take(secret(3), now).is_none());
        assert_eq!(
            offers.take(secret(1), now).map(|(device, _)| device),
            Some(device(1))
        );
        assert!(offers.take(secret(1), now).is_none());
        assert!(offers.take(secret(2), now + GOOD_FOR).is_none());
    }

    #[test]
    fn nobody_takes_the_places_of_others_and_what_is_not_taken_is_given_back() {
        let (offers, now) = (Offers::new(), Instant::now());
        for n in 0..MAX_LANES_PER_PEER {
            assert!(offers.make(secret(n), (device(1), false), now));
        }
        assert!(!offers.make(secret(100), (device(1), false), now));
        assert!(offers.make(secret(101), (device(2), false), now));
        let (_, standing) = offers.take(secret(0), now).unwrap();
        assert!(!offers.make(secret(102), (device(1), false), now));
        drop(standing);
        assert!(offers.make(secret(102), (device(1), false), now));
        assert!(offers.make(secret(103), (device(1), false), now + GOOD_FOR));
        assert_eq!(offers.lock().len(), 1);
    }
}

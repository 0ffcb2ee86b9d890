//! Serving slots: a bound in total and for each peer.
//!
//! A slot is taken before a byte is read. A peer that gets none is told so and not kept waiting. The
//! runners of a robot count as one peer and share three quarters of all slots.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use podsync_core::DeviceId;

#[derive(Clone)]
pub(crate) struct Places {
    total: usize,
    per_peer: usize,
    taken: Arc<Mutex<BTreeMap<DeviceId, usize>>>,
}

/// A slot, given back when dropped.
pub(crate) struct Place {
    places: Places,
    device: DeviceId,
}

impl Places {
    pub(crate) fn new(total: usize, per_peer: usize) -> Self {
        Self {
            total,
            per_peer,
            taken: Arc::default(),
        }
    }

    pub(crate) fn take(&self, device: DeviceId) -> Option<Place> {
        self.take_within(device, self.per_peer)
    }

    pub(crate) fn take_for_robot(&self, device: DeviceId) -> Option<Place> {
        self.take_within(device, self.total - self.total / 4)
    }

    fn take_within(&self, device: DeviceId, share: usize) -> Option<Place> {
        let mut taken = self.lock();
        if taken.values().sum::<usize>() >= self.total {
            return None;
        }
        let of_peer = taken.entry(device).or_default();
        if *of_peer >= share {
            return None;
        }
        *of_peer += 1;
        drop(taken);
        Some(Place {
            places: self.clone(),
            device,
        })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<DeviceId, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.lock();
        if let Some(of_peer) = taken.get_mut(&self.device) {
            *of_peer -= 1;
            if *of_peer == 0 {
                taken.remove(&self.device);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_peer_takes_the_places_of_others() {
        let device = |n| DeviceId::from_bytes([n; 32]);
        let places = Places::new(3, 2);
        let first = [places.take(device(1)), places.take(device(1))];
        assert!(first.iter().all(Option::is_some));
        assert!(places.take(device(1)).is_none(), "its share is used up");
        let second = places.take(device(2));
        assert!(second.is_some());
        assert!(places.take(device(3)).is_none(), "all are taken");
        drop(first);
        assert!(places.take(device(3)).is_some());
    }

    #[test]
    fn runners_have_a_larger_share_and_not_all() {
        let robot = DeviceId::from_bytes([1; 32]);
        let places = Places::new(8, 2);
        let taken: Vec<_> = (0..6).map(|_| places.take_for_robot(robot)).collect();
        assert!(taken.iter().all(Option::is_some));
        assert!(places.take_for_robot(robot).is_none());
        assert!(places.take(DeviceId::from_bytes([2; 32])).is_some());
    }
}

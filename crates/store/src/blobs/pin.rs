//! Pins protect blobs that nothing else names yet.
//!
//! A collection first asks what is live and then deletes the rest. It could miss a blob that moves
//! from a pin to the catalog in between. So dropped pins still count while it asks, and nobody gets
//! a new pin while it deletes.

use std::{
    collections::{HashMap, HashSet},
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use podsync_core::BlobId;
use tokio::sync::watch;

#[derive(Debug, Clone)]
pub(super) struct Pins {
    state: Arc<Mutex<State>>,
    /// Whether blobs are being deleted.
    sweeping: Arc<watch::Sender<bool>>,
}

#[derive(Debug, Default)]
struct State {
    counts: HashMap<BlobId, usize>,
    /// Pins dropped during a watch.
    dropped: Option<HashSet<BlobId>>,
}

/// Keeps a blob from being collected until it is dropped.
#[derive(Debug)]
#[must_use = "without a pin the blob may be collected at any time"]
pub struct Pin {
    id: BlobId,
    state: Arc<Mutex<State>>,
}

impl Default for Pins {
    fn default() -> Self {
        Self {
            state: Arc::default(),
            sweeping: Arc::new(watch::Sender::new(false)),
        }
    }
}

impl Pins {
    pub(super) async fn pin(&self, id: BlobId) -> Pin {
        let mut sweeping = self.sweeping.subscribe();
        loop {
            if let Some(pin) = self.try_pin(id) {
                return pin;
            }
            // The sender lives in `self`.
            let _ = sweeping.wait_for(|sweeping| !sweeping).await;
        }
    }

    fn try_pin(&self, id: BlobId) -> Option<Pin> {
        let mut state = lock(&self.state);
        // Check under the lock, so that a sweep either sees this pin or makes it wait.
        if *self.sweeping.borrow() {
            return None;
        }
        *state.counts.entry(id).or_default() += 1;
        Some(Pin {
            id,
            state: self.state.clone(),
        })
    }

    pub(super) fn pinned(&self) -> HashSet<BlobId> {
        lock(&self.state).counts.keys().copied().collect()
    }

    /// Remembers dropped pins until the watch is dropped. One watch at a time.
    pub(super) fn watch(&self) -> Watch<'_> {
        lock(&self.state).dropped = Some(HashSet::new());
        Watch(self)
    }

    /// Blocks new pins until the returned value is dropped.
    pub(super) fn begin_sweep(&self) -> Sweep<'_> {
        let _state = lock(&self.state);
        self.sweeping.send_replace(true);
        Sweep(self)
    }
}

pub(super) struct Watch<'a>(&'a Pins);

impl Watch<'_> {
    /// Everything that was pinned at any moment since the watch began.
    pub(super) fn seen(&self) -> HashSet<BlobId> {
        let mut state = lock(&self.0.state);
        let mut seen = state.dropped.as_mut().map(mem::take).unwrap_or_default();
        seen.extend(state.counts.keys());
        seen
    }
}

impl Drop for Watch<'_> {
    fn drop(&mut self) {
        lock(&self.0.state).dropped = None;
    }
}

pub(super) struct Sweep<'a>(&'a Pins);

impl Drop for Sweep<'_> {
    fn drop(&mut self) {
        self.0.sweeping.send_replace(false);
    }
}

impl Pin {
    pub fn id(&self) -> BlobId {
        self.id
    }
}

impl Drop for Pin {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        if let Some(count) = state.counts.get_mut(&self.id) {
            *count -= 1;
            if *count == 0 {
                state.counts.remove(&self.id);
            }
        }
        if let Some(dropped) = &mut state.dropped {
            dropped.insert(self.id);
        }
    }
}

/// Ignores poisoning: no panic can leave a half-made change.
fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    fn id(n: u8) -> BlobId {
        BlobId::from_bytes([n; 32])
    }

    #[tokio::test]
    async fn a_pin_dropped_while_watched_still_counts() {
        let pins = Pins::default();
        let before = pins.pin(id(1)).await;
        drop(pins.pin(id(2)).await);
        let watch = pins.watch();
        drop(before);
        let _during = pins.pin(id(3)).await;
        assert_eq!(watch.seen(), HashSet::from([id(1), id(3)]));
        drop(watch);
        assert_eq!(pins.pinned(), HashSet::from([id(3)]));
    }

    #[tokio::test]
    async fn a_sweep_makes_new_pins_wait_and_counts_are_kept() {
        let pins = Pins::default();
        let first = pins.pin(id(1)).await;
        let second = pins.pin(id(1)).await;
        drop(first);
        assert!(pins.pinned().contains(&id(1)));
        drop(second);
        assert!(pins.pinned().is_empty());

        let sweep = pins.begin_sweep();
        let mut waiting = Box::pin(pins.pin(id(2)));
        assert!((&mut waiting).now_or_never().is_none());
        drop(sweep);
        assert_eq!(waiting.await.id(), id(2));
    }
}

//! Events for people and programs: one bounded list in memory, read by any number of listeners.
//!
//! Publishing never waits. A listener that falls behind the list loses the oldest events and gets a `missed` event.

pub(crate) mod heard;
pub(crate) mod hooks;
pub(crate) mod notify;
mod ring;
pub(crate) mod serve;
pub(crate) mod team_events;
pub(crate) mod transfers;

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use podsync_api::events::{Event, Happened};
use tokio::sync::watch;

use self::ring::Ring;
use crate::clock::now_ms;

/// The most events that a listener takes out of the list at once.
const BATCH: usize = 64;

/// A handle; clones share one list.
#[derive(Clone)]
pub(crate) struct Events(Arc<Shared>);

struct Shared {
    ring: Mutex<Ring>,
    /// The number of the newest event.
    newest: watch::Sender<u64>,
}

impl Events {
    pub(crate) fn new() -> Self {
        Self(Arc::new(Shared {
            ring: Mutex::new(Ring::new(rand::random())),
            newest: watch::Sender::new(0),
        }))
    }

    /// Adds an event for all listeners. Never waits.
    pub(crate) fn tell(&self, what: Happened) {
        let newest = self.lock().push(what, now_ms());
        self.0.newest.send_replace(newest);
    }

    /// Listens to new events. The state of each running transfer comes first.
    pub(crate) fn listen(&self) -> Listener {
        let newest = self.0.newest.subscribe();
        let ring = self.lock();
        let place = ring.newest();
        self.listener(newest, place, ring.still_running(place).into())
    }

    /// Listens to the events after the one with this id. If that event has left the list, a `missed` comes first.
    pub(crate) fn listen_after(&self, id: &str) -> Listener {
        let newest = self.0.newest.subscribe();
        let ring = self.lock();
        let known = ring.place_of(id);
        let place = known.unwrap_or(ring.newest());
        let mut pending: VecDeque<_> = ring.still_running(place).into();
        if known.is_none() {
            pending.push_front(ring.missed(now_ms()));
        }
        self.listener(newest, place, pending)
    }

    fn listener(
        &self,
        newest: watch::Receiver<u64>,
        place: u64,
        pending: VecDeque<Arc<Event>>,
    ) -> Listener {
        Listener {
            events: self.clone(),
            newest,
            place,
            pending,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.0.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reader with its own position in the list.
pub(crate) struct Listener {
    events: Events,
    newest: watch::Receiver<u64>,
    /// Events that were read from the list and not yet returned.
    place: u64,
    pending: VecDeque<Arc<Event>>,
}

impl Listener {
    /// Waits for the next event. Dropping the future loses nothing.
    pub(crate) async fn next(&mut self) -> Arc<Event> {
        loop {
            if let Some(event) = self.pending.pop_front() {
                return event;
            }
            self.newest.borrow_and_update();
            self.take();
            if self.pending.is_empty() && self.newest.changed().await.is_err() {
                // This listener holds a handle, so the sender can't be gone.
                std::future::pending::<()>().await;
            }
        }
    }

    /// The id of the last event. A listener that begins after it misses nothing.
    pub(crate) fn id(&self) -> String {
        self.events.lock().id(self.place)
    }

    fn take(&mut self) {
        let ring = self.events.lock();
        if ring.has_forgotten(self.place) {
            self.pending.push_back(ring.missed(now_ms()));
            self.place = ring.newest();
            return;
        }
        for (place, event) in ring.after(self.place, BATCH) {
            self.place = place;
            self.pending.push_back(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use podsync_api::events::{Kind, TransferState};

    use super::*;
    use crate::events::ring::{
        MAX_LASTING,
        tests::{moved, peer},
    };

    #[tokio::test]
    async fn a_listener_that_is_slow_is_told_what_it_missed_and_goes_on() {
        let events = Events::new();
        let mut slow = events.listen();
        for at in 0..=MAX_LASTING {
            events.tell(peer(at));
        }
        assert_eq!(slow.next().await.what.kind(), Kind::Missed);
        events.tell(peer(7));
        assert_eq!(slow.next().await.what, peer(7));
    }

    #[tokio::test]
    async fn who_comes_back_hears_what_came_meanwhile() {
        let events = Events::new();
        let mut first = events.listen();
        events.tell(peer(1));
        let heard = first.next().await.id.clone().unwrap();
        drop(first);
        events.tell(peer(2));
        let mut second = events.listen_after(&heard);
        assert_eq!(second.next().await.what, peer(2));
        let mut stranger = events.listen_after("0000-1");
        assert_eq!(stranger.next().await.what.kind(), Kind::Missed);
        events.tell(peer(3));
        assert_eq!(stranger.next().await.what, peer(3));
    }

    #[tokio::test]
    async fn who_comes_back_hears_of_each_transfer_once_and_of_its_end() {
        let events = Events::new();
        let mut first = events.listen();
        for transfer in [1, 2, 3] {
            events.tell(moved(transfer, 10, TransferState::Running));
        }
        events.tell(peer(1));
        while first.next().await.what != peer(1) {}
        let heard = first.id();
        events.tell(moved(1, 100, TransferState::Done));
        events.tell(moved(2, 20, TransferState::Running));

        let mut again = events.listen_after(&heard);
        for expected in [
            moved(3, 10, TransferState::Running),
            moved(1, 100, TransferState::Done),
            moved(2, 20, TransferState::Running),
        ] {
            assert_eq!(again.next().await.what, expected);
        }
        events.tell(peer(2));
        assert_eq!(again.next().await.what, peer(2));

        // One that begins to listen has nothing to end.
        let mut fresh = events.listen();
        for expected in [
            moved(2, 20, TransferState::Running),
            moved(3, 10, TransferState::Running),
        ] {
            assert_eq!(fresh.next().await.what, expected);
        }
        events.tell(peer(3));
        assert_eq!(fresh.next().await.what, peer(3));
    }
}

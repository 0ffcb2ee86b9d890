//! Publishes the progress of pulls and uploads, at a rate that people can follow.

use std::{
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use podsync_api::events::{Direction, Happened, TransferMoved, TransferState};
use podsync_core::{PodName, TeamName};
use tokio::time::Instant;

use super::Events;

/// The shortest time between two reports of one transfer.
const TELL_EVERY: Duration = Duration::from_millis(250);

/// The next transfer's number, unique within this process.
static LAST_TRANSFER: AtomicU64 = AtomicU64::new(0);

/// What is transferred, and in which direction.
pub(crate) struct About {
    pub(crate) direction: Direction,
    pub(crate) pod: PodName,
    pub(crate) reference: String,
}

/// A pull or an upload. One that is dropped before it is [`Self::done`] has failed.
pub(crate) struct Transferring {
    events: Events,
    /// `None` if this home has left the team.
    team: Option<TeamName>,
    about: About,
    number: u64,
    so_far: Mutex<SoFar>,
}

/// A transfer has parts. The size of a part is known only once the earlier parts have arrived.
#[derive(Default)]
struct SoFar {
    /// Bytes of the parts before this one.
    before: u64,
    bytes: u64,
    of: u64,
    providers: usize,
    told: Option<Instant>,
    has_ended: bool,
}

impl Transferring {
    pub(super) fn new(events: Events, team: Option<TeamName>, about: About) -> Self {
        Self {
            events,
            team,
            about,
            number: LAST_TRANSFER.fetch_add(1, Ordering::Relaxed) + 1,
            so_far: Mutex::default(),
        }
    }

    /// Begins a part of this many bytes.
    pub(crate) fn begin_part(&self, len: u64) {
        let mut so_far = self.lock();
        so_far.before = so_far.of;
        so_far.bytes = so_far.of;
        so_far.of += len;
        self.tell_if_due(&mut so_far);
    }

    /// Reports how many bytes of the current part have arrived.
    pub(crate) fn moved(&self, bytes: u64, providers: usize) {
        let mut so_far = self.lock();
        so_far.bytes = so_far.of.min(so_far.before.saturating_add(bytes));
        so_far.providers = providers;
        self.tell_if_due(&mut so_far);
    }

    /// Ends the transfer successfully. Later reports are ignored.
    pub(crate) fn done(&self) {
        let mut so_far = self.lock();
        so_far.bytes = so_far.of;
        self.end(&mut so_far, TransferState::Done);
    }

    /// A transfer that never began publishes nothing.
    fn end(&self, so_far: &mut SoFar, state: TransferState) {
        if so_far.told.is_some() && !so_far.has_ended {
            so_far.providers = 0;
            self.tell(so_far, state);
        }
        so_far.has_ended = true;
    }

    fn tell_if_due(&self, so_far: &mut SoFar) {
        let is_due = so_far.told.is_none_or(|told| told.elapsed() >= TELL_EVERY);
        if is_due && !so_far.has_ended {
            self.tell(so_far, TransferState::Running);
        }
    }

    fn tell(&self, so_far: &mut SoFar, state: TransferState) {
        so_far.told = Some(Instant::now());
        let Some(team) = self.team.clone() else {
            return;
        };
        self.events.tell(Happened::Transfer(TransferMoved {
            transfer: self.number,
            direction: self.about.direction,
            state,
            team,
            pod: self.about.pod.clone(),
            reference: self.about.reference.clone(),
            bytes: so_far.bytes,
            of: so_far.of,
            providers: so_far.providers,
        }));
    }

    fn lock(&self) -> MutexGuard<'_, SoFar> {
        self.so_far.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Transferring {
    fn drop(&mut self) {
        let mut so_far = self.lock();
        self.end(&mut so_far, TransferState::Failed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn transferring(events: &Events) -> Transferring {
        let about = About {
            direction: Direction::Pull,
            pod: "orders".parse().unwrap(),
            reference: "orders:1".to_owned(),
        };
        Transferring::new(events.clone(), Some("payments".parse().unwrap()), about)
    }

    async fn told(events: &mut super::super::Listener) -> (u64, u64, TransferState) {
        match &events.next().await.what {
            Happened::Transfer(moved) => (moved.bytes, moved.of, moved.state),
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn it_is_told_four_times_a_second_and_at_its_end() {
        let events = Events::new();
        let mut heard = events.listen();
        let pull = transferring(&events);
        pull.begin_part(10);
        assert_eq!(told(&mut heard).await, (0, 10, TransferState::Running));
        pull.moved(3, 1);
        tokio::time::advance(TELL_EVERY).await;
        pull.moved(5, 1);
        assert_eq!(told(&mut heard).await, (5, 10, TransferState::Running));
        pull.begin_part(100);
        tokio::time::advance(TELL_EVERY).await;
        pull.moved(1, 2);
        assert_eq!(told(&mut heard).await, (11, 110, TransferState::Running));
        pull.done();
        assert_eq!(told(&mut heard).await, (110, 110, TransferState::Done));
    }

    #[tokio::test]
    async fn what_is_dropped_half_way_has_failed_and_what_never_began_is_not_told() {
        let events = Events::new();
        let mut heard = events.listen();
        drop(transferring(&events));
        let pull = transferring(&events);
        pull.begin_part(10);
        drop(pull);
        assert_eq!(told(&mut heard).await, (0, 10, TransferState::Failed));
    }
}

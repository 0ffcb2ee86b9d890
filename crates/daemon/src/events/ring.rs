//! The list itself: the newest events by number, and the latest state of each transfer.
//!
//! Transfer progress takes no place in the list: each report replaces the one before it. So a long pull pushes no
//! other event out.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use podsync_api::events::{Event, Happened, Missed, TransferState, Trouble};

/// Events kept for clients that reconnect: some hours of a busy team, at about 1 kB each.
pub(super) const MAX_LASTING: usize = 1024;
/// Ended transfers whose final state is kept for listeners that are slow or come back.
const MAX_ENDED: usize = 32;
/// The same failure is published again only after this many milliseconds.
const TROUBLE_EVERY_MS: u64 = 60 * 60 * 1000;

/// The events of one run of the daemon.
pub(super) struct Ring {
    /// Is part of each id, so that ids of another run are recognised.
    run: u32,
    /// The number of the newest event; the first is 1.
    newest: u64,
    lasting: VecDeque<(u64, Arc<Event>)>,
    /// The number of the newest event that left the list.
    forgotten: u64,
    /// The latest state of each transfer, with its event number.
    transfers: BTreeMap<u64, (u64, Arc<Event>)>,
    /// Transfers that have ended, oldest first.
    ended: VecDeque<u64>,
}

impl Ring {
    pub(super) fn new(run: u32) -> Self {
        Self {
            run,
            newest: 0,
            lasting: VecDeque::new(),
            forgotten: 0,
            transfers: BTreeMap::new(),
            ended: VecDeque::new(),
        }
    }

    /// Adds an event, and returns the number of the newest event.
    pub(super) fn push(&mut self, what: Happened, time_ms: u64) -> u64 {
        if let Happened::Trouble(trouble) = &what
            && self.was_told(trouble, time_ms)
        {
            return self.newest;
        }
        self.newest += 1;
        match &what {
            Happened::Transfer(moved) => {
                let (transfer, state) = (moved.transfer, moved.state);
                let event = Event {
                    id: None,
                    time_ms,
                    what,
                };
                self.transfers
                    .insert(transfer, (self.newest, Arc::new(event)));
                if state != TransferState::Running {
                    self.end(transfer);
                }
            }
            _ => {
                let event = Event {
                    id: Some(self.id(self.newest)),
                    time_ms,
                    what,
                };
                self.lasting.push_back((self.newest, Arc::new(event)));
                if self.lasting.len() > MAX_LASTING
                    && let Some((number, _)) = self.lasting.pop_front()
                {
                    self.forgotten = number;
                }
            }
        }
        self.newest
    }

    /// The number of the newest event.
    pub(super) fn newest(&self) -> u64 {
        self.newest
    }

    /// The latest state of each transfer that runs and has not moved after this number: [`Self::after`] has the others.
    pub(super) fn still_running(&self, place: u64) -> Vec<Arc<Event>> {
        let running = self
            .transfers
            .iter()
            .filter(|(transfer, (number, _))| *number <= place && !self.ended.contains(transfer))
            .map(|(_, (_, event))| Arc::clone(event));
        running.collect()
    }

    /// The number of the event with this id. `None` if it is of another run, or if later events have left the list.
    pub(super) fn place_of(&self, id: &str) -> Option<u64> {
        let (_, number) = id.split_once('-')?;
        let number = number.parse::<u64>().ok()?;
        let is_ours = id == self.id(number) && number <= self.newest;
        (is_ours && !self.has_forgotten(number)).then_some(number)
    }

    /// Whether an event after this number has left the list.
    pub(super) fn has_forgotten(&self, place: u64) -> bool {
        place < self.forgotten
    }

    /// At most this many events after a number, oldest first, each with its number. A transfer that ended is among
    /// them: without that, a client that comes back would show it as running for ever.
    pub(super) fn after(&self, place: u64, most: usize) -> Vec<(u64, Arc<Event>)> {
        let begin = self.lasting.partition_point(|(number, _)| *number <= place);
        let lasting = self.lasting.range(begin..).take(most).cloned();
        let moved = self
            .transfers
            .values()
            .filter(|(number, _)| *number > place)
            .cloned();
        let mut events: Vec<_> = lasting.chain(moved).collect();
        events.sort_by_key(|(number, _)| *number);
        events.truncate(most);
        events
    }

    pub(super) fn missed(&self, time_ms: u64) -> Arc<Event> {
        Arc::new(Event {
            id: Some(self.id(self.newest)),
            time_ms,
            what: Happened::Missed(Missed {}),
        })
    }

    pub(super) fn id(&self, number: u64) -> String {
        format!("{:08x}-{number}", self.run)
    }

    fn end(&mut self, transfer: u64) {
        self.ended.push_back(transfer);
        if self.ended.len() > MAX_ENDED
            && let Some(oldest) = self.ended.pop_front()
        {
            self.transfers.remove(&oldest);
        }
    }

    fn was_told(&self, trouble: &Trouble, now_ms: u64) -> bool {
        self.lasting.iter().rev().any(|(_, event)| {
            let is_same = matches!(&event.what, Happened::Trouble(told) if told == trouble);
            is_same && now_ms.saturating_sub(event.time_ms) < TROUBLE_EVERY_MS
        })
    }
}

#[cfg(test)]
pub(super) mod tests {
    use podsync_api::{
        ErrorCode,
        events::{Direction, PeerChanged, TransferMoved},
    };
    use podsync_core::DeviceId;

    use super::*;

    pub(crate) fn peer(at: usize) -> Happened {
        Happened::Peer(PeerChanged {
            device: DeviceId::from_bytes([1; 32]),
            name: format!("bob/{at}"),
            connected: true,
            address: None,
        })
    }

    pub(crate) fn moved(transfer: u64, bytes: u64, state: TransferState) -> Happened {
        Happened::Transfer(TransferMoved {
            transfer,
            direction: Direction::Pull,
            state,
            team: "payments".parse().unwrap(),
            pod: "orders".parse().unwrap(),
            reference: "orders:1".to_owned(),
            bytes,
            of: 100,
            providers: 1,
        })
    }

    #[test]
    fn ids_of_another_run_from_tomorrow_and_of_no_form_have_no_place() {
        let mut ring = Ring::new(7);
        ring.push(peer(1), 0);
        assert_eq!(ring.place_of("00000007-1"), Some(1));
        assert_eq!(ring.place_of("00000007-0"), Some(0));
        for other in [
            "00000008-1",
            "00000007-2",
            "00000007-01",
            "00000007-+1",
            "7-1",
            "1",
            "",
            "-",
            "00000007-18446744073709551616",
            "00000007-1\u{0}",
        ] {
            assert_eq!(ring.place_of(other), None, "{other:?}");
        }
    }

    #[test]
    fn the_oldest_go_and_whoever_stands_before_them_has_missed_them() {
        let mut ring = Ring::new(7);
        for at in 0..MAX_LASTING + 2 {
            ring.push(peer(at), 0);
        }
        assert!(ring.has_forgotten(1));
        assert!(!ring.has_forgotten(2));
        assert_eq!(ring.place_of("00000007-1"), None);
        let after = ring.after(2, 2);
        assert_eq!(after[0].1.what, peer(2));
        assert_eq!(after.len(), 2);
        assert_eq!(ring.after(2, usize::MAX).len(), MAX_LASTING);
    }

    #[test]
    fn a_transfer_pushes_nothing_out_and_is_told_in_its_newest_word() {
        let mut ring = Ring::new(7);
        ring.push(peer(1), 0);
        for bytes in 0..10 * MAX_LASTING as u64 {
            ring.push(moved(1, bytes, TransferState::Running), 0);
        }
        let after = ring.after(0, usize::MAX);
        assert_eq!(after.len(), 2);
        assert!(after[1].1.id.is_none());
        assert_eq!(ring.still_running(ring.newest()).len(), 1);
        ring.push(moved(1, 100, TransferState::Done), 0);
        assert!(ring.still_running(ring.newest()).is_empty());
        let last = ring.after(1, usize::MAX);
        assert_eq!(last[0].1.what, moved(1, 100, TransferState::Done));
        for transfer in 2..1000 {
            ring.push(moved(transfer, 0, TransferState::Failed), 0);
        }
        assert_eq!(ring.transfers.len(), MAX_ENDED);
    }

    #[test]
    fn the_same_trouble_is_told_once_an_hour() {
        let trouble = |message: &str| {
            Happened::Trouble(Trouble {
                team: None,
                pod: None,
                reference: None,
                code: ErrorCode::Unreachable,
                message: message.to_owned(),
                hint: None,
            })
        };
        let mut ring = Ring::new(7);
        assert_eq!(ring.push(trouble("a"), 0), 1);
        assert_eq!(ring.push(trouble("a"), 1), 1);
        assert_eq!(ring.push(trouble("b"), 1), 2);
        assert_eq!(ring.push(trouble("a"), TROUBLE_EVERY_MS), 3);
    }
}

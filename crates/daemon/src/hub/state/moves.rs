//! Where a team's hub is by the word of the one that the roster names, until the roster names it too.
//!
//! Nothing of it outlives the daemon, and an address where no hub of the team answers is forgotten: then the roster's is
//! asked again.

use std::{
    collections::BTreeMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use podsync_core::TeamId;

/// How often in a row a team's hub may have moved: hubs that send to each other end here.
const MAX_MOVES: u8 = 4;

#[derive(Default)]
pub(in crate::hub) struct Moves(Mutex<BTreeMap<TeamId, Move>>);

struct Move {
    /// What the roster names.
    from: String,
    to: String,
    times: u8,
}

impl Moves {
    /// The address to ask at, for the one that the roster names.
    pub(in crate::hub) fn place(&self, team: TeamId, named: &str) -> String {
        let moves = self.lock();
        let moved = moves.get(&team).filter(|moved| moved.from == named);
        moved.map_or_else(|| named.to_owned(), |moved| moved.to.clone())
    }

    /// Notes another address; false where that leads nowhere, and then the roster's counts again.
    pub(in crate::hub) fn note(&self, team: TeamId, named: &str, to: &str) -> bool {
        let mut moves = self.lock();
        let before = moves.remove(&team).filter(|moved| moved.from == named);
        let times = before.map_or(0, |moved| moved.times) + 1;
        if times > MAX_MOVES {
            return false;
        }
        let moved = Move {
            from: named.to_owned(),
            to: to.to_owned(),
            times,
        };
        moves.insert(team, moved);
        true
    }

    /// No hub of the team is at that address.
    pub(in crate::hub) fn forget(&self, team: TeamId, to: &str) {
        let mut moves = self.lock();
        if moves.get(&team).is_some_and(|moved| moved.to == to) {
            moves.remove(&team);
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<TeamId, Move>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OLD: &str = "https://old.example";
    const NEW: &str = "https://new.example";

    #[test]
    fn a_move_counts_for_the_address_that_it_is_from_and_while_it_leads_somewhere() {
        let (moves, team) = (Moves::default(), TeamId::of(b"team"));
        assert_eq!(moves.place(team, OLD), OLD);
        assert!(moves.note(team, OLD, NEW));
        assert_eq!(moves.place(team, OLD), NEW);
        assert_eq!(moves.place(TeamId::of(b"other"), OLD), OLD);
        // The team named a third one meanwhile.
        assert_eq!(
            moves.place(team, "https://third.example"),
            "https://third.example"
        );
        moves.forget(team, OLD);
        assert_eq!(moves.place(team, OLD), NEW);
        moves.forget(team, NEW);
        assert_eq!(moves.place(team, OLD), OLD);
    }

    #[test]
    fn hubs_that_send_to_each_other_are_not_followed_for_ever() {
        let (moves, team) = (Moves::default(), TeamId::of(b"team"));
        for to in [NEW, OLD, NEW, OLD] {
            assert!(moves.note(team, OLD, to));
        }
        assert!(!moves.note(team, OLD, NEW));
        assert_eq!(moves.place(team, OLD), OLD);
        assert!(moves.note(team, OLD, NEW));
    }
}

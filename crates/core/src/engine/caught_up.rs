//! Whether a team's world is known here as some connected member knows it: what a command has to wait
//! for that starts from nothing.

use super::Engine;
use crate::id::TeamId;

impl Engine {
    /// Whether a connected member has told all that it knows of the team, and nothing of it is still
    /// being asked for.
    pub fn is_caught_up(&self, team: &TeamId) -> bool {
        let exchanges = self
            .connected
            .values()
            .filter_map(|connection| connection.exchanges.get(team));
        let asking = self
            .asked
            .values()
            .any(|asked| asked.tells_of() == Some(*team));
        !asking
            && exchanges
                .into_iter()
                .any(super::exchange::Exchange::is_whole)
    }
}

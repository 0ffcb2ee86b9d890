//! Whether a team's world is known here as some connected member knows it: what a command has to wait
//! for that starts from nothing.

use std::collections::BTreeSet;

use super::{Engine, EngineError, exchange::Exchange, input::CommandId, output::Answer};
use crate::id::{DeviceId, TeamId};

/// The most commands that wait at once for what members know.
const MAX_REFRESHES: usize = 64;

/// A command that waits until the members that were connected have told all that they know.
pub(super) struct Refresh {
    by: CommandId,
    team: TeamId,
    asked: BTreeSet<DeviceId>,
}

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
        !asking && exchanges.into_iter().any(Exchange::is_whole)
    }

    /// Asks every connected member anew what it knows of the team.
    pub(super) fn begin_refresh(&mut self, by: CommandId, team: TeamId) {
        if !self.teams.contains_key(&team) {
            return self.reply(by, Err(EngineError::UnknownTeam(team)));
        }
        if self.refreshes.len() >= MAX_REFRESHES {
            return self.reply(by, Err(EngineError::Busy));
        }
        let mut asked: BTreeSet<DeviceId> = self.connected(&team).into_iter().collect();
        asked.retain(|device| !self.is_robot(team, device));
        for device in &asked {
            if let Some(connection) = self.connected.get_mut(device) {
                connection.exchanges.entry(team).or_default().ask_anew();
            }
            self.exchange(team, *device);
        }
        self.refreshes.push(Refresh { by, team, asked });
        self.finish_refreshes();
    }

    /// Answers those for whom everybody has told what there is, or can't any more.
    pub(super) fn finish_refreshes(&mut self) {
        let asking: BTreeSet<TeamId> = self
            .asked
            .values()
            .filter_map(super::exchange::Asked::tells_of)
            .collect();
        let over: Vec<_> = self
            .refreshes
            .extract_if(.., |refresh| !asking.contains(&refresh.team))
            .collect();
        for Refresh { by, team, asked } in over {
            let has_told = |device: &&DeviceId| {
                let connection = self.connected.get(device);
                connection
                    .and_then(|connection| connection.exchanges.get(&team))
                    .is_some_and(Exchange::is_whole)
            };
            let members = asked.iter().filter(has_told).count();
            self.reply(by, Ok(Answer::Refreshed { members }));
        }
    }
}

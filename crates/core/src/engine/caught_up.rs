//! Whether this device knows all that some connected member knows of a team. Some commands wait for
//! that.

use std::collections::BTreeSet;

use super::{Engine, EngineError, exchange::Exchange, input::CommandId, output::Answer};
use crate::id::{DeviceId, TeamId};

/// The most [`Refresh`] commands that wait at once.
const MAX_REFRESHES: usize = 64;

/// A command that waits until every connected member has sent all that it knows.
pub(super) struct Refresh {
    by: CommandId,
    team: TeamId,
    asked: BTreeSet<DeviceId>,
}

impl Engine {
    /// Whether some connected member has sent all that it knows of the team, and no request for
    /// parts of it is open.
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

    /// Answers the refreshes for which each member has sent all that it knows or is gone.
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

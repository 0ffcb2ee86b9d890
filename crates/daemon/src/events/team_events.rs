//! Publishes what services did as events. Events carry the team's name instead of its id.

use podsync_api::{
    ApiError,
    events::{Happened, Trouble},
};
use podsync_core::{PodName, TeamId, TeamName};

use super::{
    Events,
    transfers::{About, Transferring},
};
use crate::node::handle::Node;

/// A cloneable handle to the event list, with the engine to look up team names.
#[derive(Clone)]
pub(crate) struct TeamEvents {
    pub(crate) node: Node,
    pub(crate) events: Events,
}

impl TeamEvents {
    /// Publishes the event that `make` builds from the team's name. Does nothing if this home has left the team.
    pub(crate) async fn publish(&self, team: TeamId, make: impl FnOnce(TeamName) -> Happened) {
        if let Some(name) = self.team_name(team).await {
            self.events.tell(make(name));
        }
    }

    /// Publishes a failure of background work, which no caller would see otherwise.
    pub(crate) async fn trouble(
        &self,
        team: TeamId,
        pod: Option<&PodName>,
        reference: Option<&str>,
        error: &ApiError,
    ) {
        let team = self.team_name(team).await;
        self.events.tell(Happened::Trouble(Trouble {
            team,
            pod: pod.cloned(),
            reference: reference.map(str::to_owned),
            code: error.code,
            message: error.message.clone(),
            hint: error.hint.clone(),
        }));
    }

    /// Creates a transfer. Its first event is published when its first bytes arrive.
    pub(crate) async fn transfer(&self, team: TeamId, about: About) -> Transferring {
        let team = self.team_name(team).await;
        Transferring::new(self.events.clone(), team, about)
    }

    pub(crate) async fn team_name(&self, team: TeamId) -> Option<TeamName> {
        let name = self
            .node
            .read(move |engine| Some(engine.roster(&team)?.name().clone()));
        name.await.ok().flatten()
    }
}

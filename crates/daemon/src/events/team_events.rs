//! Telling of what a service did, in the names that people know.

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

/// A handle.
#[derive(Clone)]
pub(crate) struct TeamEvents {
    pub(crate) node: Node,
    pub(crate) events: Events,
}

impl TeamEvents {
    /// Tells of something in a team; of a team that this home has left there is nobody to tell.
    pub(crate) async fn publish(&self, team: TeamId, make: impl FnOnce(TeamName) -> Happened) {
        if let Some(name) = self.team_name(team).await {
            self.events.tell(make(name));
        }
    }

    /// Tells that something did not work which nobody waited for.
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

    /// A transfer that begins with its first bytes.
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

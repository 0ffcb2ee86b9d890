//! Which teams the hub serves, each with a bucket of its own.

use std::{
    collections::HashMap,
    fmt,
    sync::{Arc, Mutex, PoisonError},
};

use podsync_api::hub::HubError;
use podsync_core::TeamId;
use tokio::sync::Notify;

use crate::{
    failure::unknown_team,
    gc::decide::Retention,
    storage::{Storage, StorageError},
    team::{Confirm, Team, TeamSettings},
};

/// The most teams that are taken in where any team is.
const MAX_TEAMS: usize = 1000;

type OpenBucket = dyn Fn(TeamId) -> Result<Arc<dyn Storage>, StorageError> + Send + Sync;

/// The teams.
pub struct Teams {
    known: Mutex<HashMap<TeamId, Arc<Team>>>,
    /// Told when settings bring a team.
    changed: Notify,
    /// Makes the bucket of a team that this hub has not seen before.
    open: Option<Box<OpenBucket>>,
}

impl Teams {
    /// These and no others.
    pub fn only(teams: impl IntoIterator<Item = TeamSettings>) -> Self {
        let known = teams
            .into_iter()
            .map(|settings| (settings.team, Arc::new(Team::new(settings))))
            .collect();
        Self {
            known: Mutex::new(known),
            changed: Notify::new(),
            open: None,
        }
    }

    /// Any team, its bucket made on first use: for trying podsync, never for the open internet.
    pub fn any(
        open: impl Fn(TeamId) -> Result<Arc<dyn Storage>, StorageError> + Send + Sync + 'static,
    ) -> Self {
        Self {
            known: Mutex::default(),
            changed: Notify::new(),
            open: Some(Box::new(open)),
        }
    }

    /// Serves one more, or one with other settings.
    pub fn put(&self, settings: TeamSettings) {
        let team = Arc::new(Team::new(settings));
        self.lock().insert(team.id(), team);
        self.changed.notify_one();
    }

    /// Until settings brought a team since this was last asked.
    pub(crate) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Serves it no more; its requests that are under way are answered.
    pub(crate) fn remove(&self, team: &TeamId) {
        self.lock().remove(team);
    }

    /// Whether this team would be served.
    pub(crate) fn serves(&self, team: &TeamId) -> bool {
        self.open.is_some() || self.lock().contains_key(team)
    }

    /// Whether this team was opened.
    pub(crate) fn knows(&self, team: &TeamId) -> bool {
        self.lock().contains_key(team)
    }

    pub(crate) fn get(&self, team: TeamId) -> Result<Arc<Team>, HubError> {
        let mut known = self.lock();
        if let Some(found) = known.get(&team) {
            return Ok(found.clone());
        }
        let Some(open) = self.open.as_ref().filter(|_| known.len() < MAX_TEAMS) else {
            return Err(unknown_team());
        };
        let opened = Arc::new(Team::new(TeamSettings {
            team,
            bucket: open(team)?,
            quota: None,
            retention: Retention::default(),
            confirm: Confirm::default(),
        }));
        known.insert(team, opened.clone());
        Ok(opened)
    }

    pub(crate) fn all(&self) -> Vec<Arc<Team>> {
        self.lock().values().cloned().collect()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<TeamId, Arc<Team>>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Teams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Teams({})", self.lock().len())
    }
}

//! Syncs with the hub on demand: polls it when a caller waits, and uploads what was just decided here.

pub(crate) mod confirm;
pub(crate) mod join;
mod poll;

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use podsync_bucket::Hub;
use podsync_core::{DeviceId, TeamId};
use podsync_net::Traffic;
use tokio::sync::watch;

pub(in crate::hub) use self::poll::Heard;
use super::state::{Hubs, POLL_PATIENCE, TeamHub, Turn};
use crate::{error::Failure, node::handle::Node, tasks::Lifetime};

/// How long a listing waits for the hub's answer.
const BRIEFLY: Duration = Duration::from_secs(3);

/// Polls hubs, and uploads decisions of this device.
pub(crate) struct HubSync {
    pub(crate) device: DeviceId,
    pub(crate) lifetime: Lifetime,
    pub(crate) node: Node,
    pub(crate) hubs: Arc<Hubs>,
    pub(crate) traffic: Traffic,
}

impl HubSync {
    /// A team's hub, by its URL.
    pub(crate) fn client(&self, team: TeamId, url: &str) -> Result<Hub, Failure> {
        self.hubs.client(team, url)
    }

    /// Wakes the loop, so that it polls the hubs and uploads now.
    pub(crate) fn wake(&self) {
        self.hubs.wake();
    }

    /// The team's hub. `None` if it has none.
    pub(crate) async fn hub(&self, team: TeamId) -> Result<Option<Arc<TeamHub>>, Failure> {
        let read = self.node.read(move |engine| {
            let name = engine.roster(&team).map(|roster| roster.name().clone());
            (engine.hub_url(&team).map(str::to_owned), name)
        });
        let (url, name) = read.await?;
        let Some(named) = url else {
            self.hubs.lock().remove(&team);
            return Ok(None);
        };
        let url = self.hubs.moves.place(team, &named);
        let before = self.hubs.lock().get(&team).cloned();
        if let Some(known) = &before
            && known.url == url
            && known.named == named
        {
            return Ok(Some(Arc::clone(known)));
        }
        let client = self.hubs.client(team, &url)?;
        let (places, of) = (self.hubs.places.clone(), url.clone());
        let known = tokio::task::spawn_blocking(move || {
            if places.adopt(team, &of)? {
                tracing::info!(team = %team.short(), "the team has another hub; podsync reads again what lies in its bucket");
            }
            places.blobs(team)
        });
        let known = known.await??;
        self.tell_places(team, known).await?;
        let same = before.filter(|before| before.url == url || before.named == named);
        let standing = same.map(|before| before.standing().elsewhere());
        let hub = Arc::new(TeamHub {
            team: name,
            events: self.hubs.events.clone(),
            url,
            named,
            client,
            polled: tokio::sync::Mutex::default(),
            polling: Turn::default(),
            uploading: Turn::default(),
            liveness: tokio::sync::Mutex::default(),
            standing: watch::Sender::new(standing.unwrap_or_default()),
            not_sent: Mutex::default(),
        });
        // If two callers came here at once, the first one's hub stays.
        let mut teams = self.hubs.lock();
        match teams.get(&team) {
            Some(there) if there.url == hub.url && there.named == hub.named => {
                Ok(Some(Arc::clone(there)))
            }
            _ => {
                teams.insert(team, Arc::clone(&hub));
                Ok(Some(hub))
            }
        }
    }

    /// Polls the hub now. Returns whether it answered, or `None` if the team has no hub.
    pub(crate) async fn poll(&self, team: TeamId) -> Result<Option<bool>, Failure> {
        if let Ok(None) = self.hub(team).await {
            return Ok(None);
        }
        match self.poll_now(team).await {
            Ok(_) => Ok(Some(true)),
            Err(failure) => {
                tracing::warn!(error = %failure.api(), "podsync could not poll the hub");
                Ok(Some(false))
            }
        }
    }

    /// The current failure at the team's hub, if any.
    pub(crate) async fn trouble(&self, team: TeamId) -> Result<Option<String>, Failure> {
        let hub = match self.hub(team).await {
            Ok(Some(hub)) => hub,
            Ok(None) => return Ok(None),
            Err(failure) => return Ok(Some(failure.api().message.clone())),
        };
        let trouble = hub.standing().trouble;
        Ok(hub
            .client
            .failing()
            .or(trouble.map(|trouble| trouble.error.message)))
    }

    /// Polls the hub now, for a caller that waits. Returns the hub that answered: it may be elsewhere than the one
    /// that was known before. `None` if the team has none. An answer that comes too late is taken in later.
    pub(crate) async fn poll_now(&self, team: TeamId) -> Result<Option<Arc<TeamHub>>, Failure> {
        while let Some(hub) = self.hub(team).await? {
            let attempt = hub.begin();
            let heard =
                tokio::time::timeout(POLL_PATIENCE, self.poll_hub(team, &hub, Duration::ZERO));
            let outcome = heard.await.unwrap_or_else(|_| Err(hub.not_heard().into()));
            if matches!(outcome, Ok(Heard::Moved)) {
                continue;
            }
            hub.note_outcome(attempt, &outcome);
            outcome?;
            return Ok(Some(hub));
        }
        Ok(None)
    }

    /// The team's hub, where it is by its own word: one that has answered nothing yet is polled first.
    pub(in crate::hub) async fn heard_hub(
        &self,
        team: TeamId,
    ) -> Result<Option<Arc<TeamHub>>, Failure> {
        match self.hub(team).await? {
            Some(hub) if hub.standing().heard_ms.is_none() => self.poll_now(team).await,
            known => Ok(known),
        }
    }

    /// Polls the hub for a listing by a command's own daemon, which doesn't poll in the background. Without an
    /// answer, the listing shows what is known here.
    pub(crate) async fn poll_briefly(&self, team: TeamId) {
        if self.lifetime == Lifetime::Service {
            return;
        }
        match tokio::time::timeout(BRIEFLY, self.poll_now(team)).await {
            Ok(Ok(_)) => {}
            Ok(Err(failure)) => {
                tracing::warn!(team = %team.short(), error = %failure.api(), "podsync could not poll the hub");
            }
            Err(_) => tracing::warn!(team = %team.short(), "the hub did not answer in time"),
        }
    }
}

impl HubSync {
    /// Uploads what this device just decided about the team. A failure is no error of the decision: the daemon
    /// uploads it later.
    pub(crate) async fn tell_hub(&self, team: TeamId) {
        let told = async {
            match self.poll_now(team).await? {
                Some(hub) => self.bring_operations(team, &hub).await,
                None => Ok(()),
            }
        };
        match tokio::time::timeout(POLL_PATIENCE, told).await {
            Ok(Ok(())) => {}
            Ok(Err(failure)) => {
                let failure: Failure = failure;
                tracing::warn!(team = %team.short(), error = %failure.api(), "the hub does not know of this change yet");
            }
            Err(_) => {
                tracing::warn!(team = %team.short(), "the hub does not know of this change yet")
            }
        }
    }
}

//! What all requests share: teams, who is known, limits, and what is counted. Nothing of it has to outlive
//! the process, and nothing is shared with other replicas.

use std::{
    sync::{Arc, PoisonError, RwLock},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::{StreamExt, stream};
use podsync_api::hub::HubError;
use podsync_core::{DeviceId, TeamId, keys::DeviceSecret};
use tracing::Instrument;

use crate::{
    audit::{Action, Audit},
    guard::Guard,
    health::Health,
    limits::{InFlight, Limits},
    metrics::Metrics,
    moved::Moved,
    nonces::Nonces,
    team::Team,
    teams::Teams,
};

/// How many buckets are greeted at once.
const AT_ONCE: usize = 16;

#[derive(Debug)]
pub struct Hub {
    pub(crate) teams: Teams,
    identity: RwLock<Arc<Identity>>,
    pub(crate) health: Health,
    pub(crate) nonces: Nonces,
    pub(crate) limits: Limits,
    pub(crate) in_flight: InFlight,
    pub(crate) metrics: Metrics,
    audit: Audit,
}

/// The hub's names, its witness key, and who may see metrics and teams. These may change while the hub runs.
#[derive(Debug, Default)]
pub struct Identity {
    /// The hub's public names. If empty, the hub accepts any `Host` of a request.
    pub authorities: Vec<String>,
    /// The key that witnesses joins.
    pub witness: Option<DeviceSecret>,
    pub guard: Guard,
    /// Where teams are asked for that it serves no more.
    pub moved: Moved,
}

impl Hub {
    pub fn new(teams: Teams, identity: Identity) -> Self {
        Self {
            teams,
            identity: RwLock::new(Arc::new(identity)),
            health: Health::default(),
            nonces: Nonces::default(),
            limits: Limits::default(),
            in_flight: InFlight::default(),
            metrics: Metrics::default(),
            audit: Audit::new(rand::random()),
        }
    }

    pub fn with_limits(mut self, limits: Limits) -> Self {
        self.limits = limits;
        self
    }

    pub fn teams(&self) -> &Teams {
        &self.teams
    }

    /// Serves a team no more, and shows nothing of it.
    pub fn forget(&self, team: TeamId) {
        self.teams.remove(&team);
        self.metrics.forget(team);
    }

    pub(crate) fn identity(&self) -> Arc<Identity> {
        let identity = self.identity.read();
        identity.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Asks each bucket, so that what a first use takes keeps no request waiting, and no impatient one cuts it
    /// off; and again when teams came or have other settings. It never ends. If a bucket doesn't answer, the log
    /// says so, and the hub tries again at its first request.
    pub async fn greet(&self) {
        loop {
            self.greet_all().await;
            self.teams.changed().await;
        }
    }

    /// Asks each bucket once.
    pub async fn greet_all(&self) {
        let trial = self.limits.trial;
        let teams = stream::iter(self.teams.all());
        let greeted = teams.for_each_concurrent(AT_ONCE, |team| async move {
            greet(&team, trial).instrument(team.span()).await;
        });
        greeted.await;
    }

    /// Requests that are under way go on with the one before.
    pub fn change_identity(&self, identity: Identity) {
        let mut held = self
            .identity
            .write()
            .unwrap_or_else(PoisonError::into_inner);
        *held = Arc::new(identity);
    }

    /// Records the result of an action.
    pub(crate) fn record<T>(
        &self,
        team: TeamId,
        device: DeviceId,
        action: &str,
        detail: &str,
        result: &Result<T, HubError>,
    ) {
        let outcome = match result {
            Ok(_) => "ok".to_owned(),
            Err(error) => format!("{:?}", error.code),
        };
        let done = Action {
            team,
            device,
            action,
            outcome: &outcome,
            detail,
        };
        self.audit.record(now_ms(), &done);
    }
}

async fn greet(team: &Team, trial: Duration) {
    match team.condition(trial).await {
        Ok(None) => {}
        Ok(Some(refusal)) => tracing::warn!(refusal, "members can pull, and can't share"),
        Err(error) => {
            tracing::warn!(%error, "the hub can't use the bucket yet");
            return;
        }
    }
    team.count().await;
}

/// Unix milliseconds.
pub(crate) fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |time| {
        u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
    })
}

//! Whether this replica can serve, and how each team's bucket does.
//!
//! Strangers may ask whether the hub is ready as often as they like: the buckets are asked once for all of them
//! within some seconds.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use podsync_core::TeamId;
use serde::Serialize;
use tokio::{sync::Mutex, time::timeout};

use crate::{hub::Hub, storage::StorageError};

/// How long what was seen is told again.
const LIFETIME: Duration = Duration::from_secs(5);
/// How long a bucket may take to answer.
const PATIENCE: Duration = Duration::from_secs(4);
/// How many buckets are asked at once.
const AT_ONCE: usize = 16;

#[derive(Debug, Default)]
pub(crate) struct Health(Mutex<Option<(Instant, Vec<TeamHealth>)>>);

/// How a team's bucket does.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct TeamHealth {
    pub(crate) team: TeamId,
    pub(crate) state: State,
    /// Why it isn't ready, with the bucket's name and the server's own code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum State {
    Ready,
    /// What is there can be pulled, and nothing can be shared.
    ReadOnly,
    /// The bucket doesn't answer, or refuses the hub.
    Down,
}

impl Hub {
    /// How each team's bucket does, as of the last seconds.
    pub(crate) async fn team_health(&self) -> Vec<TeamHealth> {
        // Held while the buckets are asked, so that one does it for all who ask.
        let mut seen = self.health.0.lock().await;
        if let Some((_, health)) = seen.as_ref().filter(|(at, _)| at.elapsed() < LIFETIME) {
            return health.clone();
        }
        let teams = self.teams.all();
        let mut health: Vec<TeamHealth> = stream::iter(teams)
            .map(|team| async move {
                let (state, reason) = match timeout(PATIENCE, team.answers()).await {
                    Ok(Ok(())) if team.takes_writes() => (State::Ready, None),
                    Ok(Ok(())) => {
                        let reason =
                            "the bucket takes no writes of the hub; `podsync-hub check` tells why";
                        (State::ReadOnly, Some(reason.to_owned()))
                    }
                    Ok(Err(error)) => (State::Down, Some(error.to_string())),
                    Err(_) => {
                        let late = StorageError::Unavailable("no answer within seconds".into());
                        (State::Down, Some(late.to_string()))
                    }
                };
                let team = team.id();
                TeamHealth {
                    team,
                    state,
                    reason,
                }
            })
            .buffer_unordered(AT_ONCE)
            .collect()
            .await;
        health.sort_by_key(|health| health.team);
        for team in &health {
            let ready = i64::from(team.state == State::Ready);
            let label = team.team.into();
            self.metrics.team_ready.get_or_create(&label).set(ready);
        }
        for down in health.iter().filter(|health| health.state != State::Ready) {
            let reason = down.reason.as_deref().unwrap_or_default();
            tracing::warn!(team = %down.team, state = ?down.state, reason, "not ready");
        }
        *seen = Some((Instant::now(), health.clone()));
        health
    }
}

/// Whether a replica with these teams can serve: one team's dead bucket doesn't take it from the others.
pub(crate) fn can_serve(teams: &[TeamHealth]) -> bool {
    teams.is_empty() || teams.iter().any(|team| team.state == State::Ready)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_dead_bucket_does_not_take_the_replica_from_the_others() {
        let team = |number, state| TeamHealth {
            team: TeamId::from_bytes([number; 32]),
            state,
            reason: None,
        };
        assert!(can_serve(&[]));
        assert!(can_serve(&[team(1, State::Ready), team(2, State::Down)]));
        assert!(!can_serve(&[team(1, State::Down)]));
        assert!(!can_serve(&[
            team(1, State::ReadOnly),
            team(2, State::Down)
        ]));
    }
}

//! Whether this replica can serve, and how each team's bucket does.
//!
//! Strangers may ask whether the hub is ready as often as they like: the buckets are asked once for all of them
//! within some seconds.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use podsync_core::TeamId;
use serde::Serialize;
use tokio::{sync::Mutex, time::timeout};

use crate::storage::StorageError;

/// How long an answer is reused.
const LIFETIME: Duration = Duration::from_secs(5);
/// How long a bucket may take to answer.
const PATIENCE: Duration = Duration::from_secs(4);
/// How many buckets are asked at once.
const AT_ONCE: usize = 16;
const READ_ONLY: &str = "the bucket takes no writes of the hub; `podsync-hub check` tells why";

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
    /// Members can pull what is there, and can't share.
    ReadOnly,
    /// The bucket doesn't answer, or refuses the hub.
    Down,
}

impl Health {
    /// How each team's bucket does, as of the last seconds; `asked` are the teams with what asks their buckets, which
    /// tells whether they take writes.
    pub(crate) async fn of<F>(&self, asked: Vec<(TeamId, F)>) -> Vec<TeamHealth>
    where
        F: Future<Output = Result<bool, StorageError>>,
    {
        // Held while the buckets are asked, so that requests at the same time share one answer.
        let mut seen = self.0.lock().await;
        if let Some((_, health)) = seen.as_ref().filter(|(at, _)| at.elapsed() < LIFETIME) {
            return health.clone();
        }
        let mut health: Vec<TeamHealth> = stream::iter(asked)
            .map(|(team, answers)| async move {
                let (state, reason) = match timeout(PATIENCE, answers).await {
                    Ok(Ok(true)) => (State::Ready, None),
                    Ok(Ok(false)) => (State::ReadOnly, Some(READ_ONLY.to_owned())),
                    Ok(Err(error)) => (State::Down, Some(error.to_string())),
                    Err(_) => {
                        let late = StorageError::Unavailable("no answer within seconds".into());
                        (State::Down, Some(late.to_string()))
                    }
                };
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

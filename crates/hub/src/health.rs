//! Whether this replica can serve, and how each team's bucket does.
//!
//! Strangers may ask whether the hub is ready as often as they like: the buckets are asked once for all of them
//! within some seconds.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use podsync_core::TeamId;
use serde::Serialize;
use tokio::{sync::Mutex, time::timeout};

use crate::{
    metrics::count_bucket_error,
    storage::{StorageError, Trouble},
};

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
    /// Its name.
    pub(crate) bucket: String,
    pub(crate) state: State,
    /// Why it isn't ready, with the server's own code.
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

/// A team whose bucket is asked.
pub(crate) struct Asked<F, T> {
    pub(crate) team: TeamId,
    /// Its name.
    pub(crate) bucket: String,
    /// Whether it answered within this time, and the hub still tries what its server can do.
    pub(crate) is_tried: T,
    /// Asks it. A bucket that answers and takes no writes has a reason.
    pub(crate) answers: F,
}

impl Health {
    /// How each team's bucket does, as of the last `lifetime`.
    pub(crate) async fn of<F, T>(
        &self,
        asked: Vec<Asked<F, T>>,
        lifetime: Duration,
    ) -> Vec<TeamHealth>
    where
        F: Future<Output = Result<Option<String>, StorageError>>,
        T: Fn(Duration) -> bool,
    {
        // Held while the buckets are asked, so that requests at the same time share one answer.
        let mut seen = self.0.lock().await;
        if let Some((_, health)) = seen.as_ref().filter(|(at, _)| at.elapsed() < lifetime) {
            return health.clone();
        }
        let mut health: Vec<TeamHealth> = stream::iter(asked)
            .map(|asked| async move {
                let (state, reason) = match timeout(PATIENCE, asked.answers).await {
                    Ok(Ok(None)) => (State::Ready, None),
                    Ok(Ok(Some(refusal))) => (State::ReadOnly, Some(refusal)),
                    Ok(Err(error)) => (State::Down, Some(error.to_string())),
                    Err(_) if (asked.is_tried)(PATIENCE) => {
                        (State::Down, Some(still_tried(&asked.bucket)))
                    }
                    Err(_) => (State::Down, Some(late(&asked.bucket).to_string())),
                };
                TeamHealth {
                    team: asked.team,
                    bucket: asked.bucket,
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
            let TeamHealth {
                team,
                bucket,
                state,
                ..
            } = down;
            tracing::warn!(%team, bucket, ?state, reason, "not ready");
        }
        *seen = Some((Instant::now(), health.clone()));
        health
    }
}

fn still_tried(bucket: &str) -> String {
    format!("bucket {bucket}: it answers, and the hub still tries what its server can do")
}

/// A call that is given up counts as one that had no answer.
fn late(bucket: &str) -> StorageError {
    count_bucket_error(bucket, "");
    StorageError::Unavailable(Trouble {
        bucket: bucket.to_owned(),
        code: String::new(),
        words: format!("no answer within {} s", PATIENCE.as_secs()),
    })
}

/// Whether a replica with these teams can serve: one team's dead bucket doesn't take it from the others.
pub(crate) fn can_serve(teams: &[TeamHealth]) -> bool {
    teams.is_empty() || teams.iter().any(|team| team.state == State::Ready)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metrics::Metrics;

    #[test]
    fn a_bucket_that_hangs_is_named_and_counted() {
        let words = late("hanging").to_string();
        assert!(
            words.ends_with("bucket hanging: no answer within 4 s"),
            "{words}"
        );
        let text = Metrics::default().text();
        let label = r#"podsync_hub_bucket_errors_total{bucket="hanging",code="no answer"} 1"#;
        assert!(text.contains(label), "{text}");
    }

    #[test]
    fn one_dead_bucket_does_not_take_the_replica_from_the_others() {
        let team = |number, state| TeamHealth {
            team: TeamId::from_bytes([number; 32]),
            bucket: String::new(),
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

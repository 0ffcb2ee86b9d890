//! Carrying out what a sweep decided, once or every hour.

use std::time::{Duration, Instant};

use bytes::Bytes;
use podsync_core::{TeamId, membership::Roster};

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{
    decide::{Retention, Step},
    look::{GcError, Seen, look},
};
use crate::{Hub, hub::now_ms, storage::Storage};

/// If a sweep takes longer than this to act, it stops: its listing is too old, and the next sweep continues.
/// It is less than what a segment stays after it was superseded.
const ACT_WITHIN: Duration = Duration::from_secs(1200);
const EVERY: Duration = Duration::from_secs(3600);

/// What a sweep did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    pub condemned: usize,
    pub deleted: usize,
    /// Bytes.
    pub freed: u64,
    /// Heads and segments.
    pub superseded: usize,
}

/// One sweep of a bucket. Any number may run at once.
pub async fn sweep(
    bucket: &dyn Storage,
    roster: Option<&Roster>,
    retention: Retention,
) -> Result<Outcome, GcError> {
    let seen = look(bucket, roster, retention).await?;
    act(bucket, seen).await
}

async fn act(bucket: &dyn Storage, seen: Seen) -> Result<Outcome, GcError> {
    let begun = Instant::now();
    let mut outcome = Outcome::default();
    for step in &seen.steps {
        if begun.elapsed() > ACT_WITHIN {
            return Ok(outcome);
        }
        match step {
            Step::Condemn(key) => {
                bucket.put(&key.marker(), Bytes::new()).await?;
                outcome.condemned += 1;
            }
            Step::Delete(key) => {
                bucket.delete(&key.to_string()).await?;
                bucket.delete(&key.confirmation()).await?;
                // A marker that goes along lets the key be written again, under a sweep that is still at it.
                #[cfg(podsync_planted = "gc-marker-goes-too")]
                bucket.delete(&key.marker()).await?;
                outcome.deleted += 1;
            }
        }
    }
    outcome.freed = seen.freed;
    for key in &seen.superseded {
        if begun.elapsed() > ACT_WITHIN {
            return Ok(outcome);
        }
        bucket.delete(key).await?;
        outcome.superseded += 1;
    }
    Ok(outcome)
}

/// Sweeps every team's bucket each hour, the first time an hour from now, until `stop`.
pub async fn hourly(hub: &Hub, stop: CancellationToken) {
    let mut hours = interval(EVERY);
    hours.set_missed_tick_behavior(MissedTickBehavior::Delay);
    hours.tick().await;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = hours.tick() => {}
        }
        for team in hub.teams.all() {
            let swept = tokio::select! {
                () = stop.cancelled() => return,
                swept = team.sweep().instrument(tracing::info_span!("sweep", team = %team.id())) => swept,
            };
            // It may have been taken out of the settings since.
            if hub.teams.knows(&team.id()) {
                note(hub, team.id(), &swept);
            }
            match swept {
                Ok(outcome) => tracing::info!(team = %team.id(), ?outcome, "swept the bucket"),
                Err(error) => tracing::warn!(team = %team.id(), %error, "nothing was swept"),
            }
        }
    }
}

fn note(hub: &Hub, team: TeamId, swept: &Result<Outcome, GcError>) {
    let (metrics, label) = (&hub.metrics, team.into());
    match swept {
        Ok(outcome) => {
            let now = i64::try_from(now_ms() / 1000).unwrap_or(i64::MAX);
            metrics.sweep_end.get_or_create(&label).set(now);
            let condemned = metrics.condemned.get_or_create(&label);
            condemned.inc_by(outcome.condemned as u64);
            let deleted = metrics.deleted.get_or_create(&label);
            deleted.inc_by(outcome.deleted as u64);
        }
        Err(_) => {
            metrics.sweep_failures.get_or_create(&label).inc();
        }
    }
}

/// One sweep of each team's bucket; with `dry`, only what it would do. In lines for people.
pub async fn once(hub: &Hub, dry: bool) -> Vec<Result<String, String>> {
    let mut lines = Vec::new();
    for team in hub.teams.all() {
        let line = if dry {
            team.preview().await.map(|seen| in_words(&seen))
        } else {
            team.sweep().await.map(|outcome| {
                let Outcome { condemned, deleted, freed, superseded } = outcome;
                format!("condemned {condemned} objects, deleted {deleted} ({freed} bytes) and {superseded} old heads and segments")
            })
        };
        let team = team.id();
        let line = line.map(|line| format!("team {team}: {line}"));
        lines.push(line.map_err(|error| format!("team {team}: {error}")));
    }
    lines
}

fn in_words(seen: &Seen) -> String {
    let condemned = seen
        .steps
        .iter()
        .filter(|step| matches!(step, Step::Condemn(_)))
        .count();
    format!(
        "{} objects, {} named; would condemn {condemned}, and delete {} ({} bytes) and {} old heads and segments",
        seen.objects,
        seen.named,
        seen.steps.len() - condemned,
        seen.freed,
        seen.superseded.len(),
    )
}

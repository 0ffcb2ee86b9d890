//! Carrying out what a sweep decided, once or every hour.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::Bytes;
use podsync_core::{TeamId, membership::Roster};

use tokio::time::{self, MissedTickBehavior, interval_at};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{
    decide::{Objects, Retention, Step},
    look::{GcError, Seen, list_objects, look},
};
use crate::{Hub, storage::Storage, team::Team};

/// If a sweep takes longer than this to act, it stops: its listing is too old, and the next sweep continues.
/// It is less than what a segment stays after it was superseded.
const ACT_WITHIN: Duration = Duration::from_secs(1200);
const EVERY: Duration = Duration::from_secs(3600);
/// After the start of a hub, which may be one of many: a sweep is due then if nobody swept within [`EVERY`].
const FIRST: Duration = Duration::from_secs(300);

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
    let objects = list_objects(bucket).await?;
    sweep_listed(bucket, &objects, roster, retention).await
}

/// The same, of a bucket that was just listed.
pub(crate) async fn sweep_listed(
    bucket: &dyn Storage,
    objects: &Objects,
    roster: Option<&Roster>,
    retention: Retention,
) -> Result<Outcome, GcError> {
    let seen = look(bucket, objects, roster, retention).await?;
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

/// Sweeps every team's bucket each hour until `stop`, and soon after the start those that nobody swept within an
/// hour: so a hub that is often started anew sweeps too.
pub async fn hourly(hub: &Hub, stop: CancellationToken) {
    let mut hours = interval_at(time::Instant::now() + FIRST, EVERY);
    hours.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_first = true;
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = hours.tick() => {}
        }
        for team in hub.teams.all() {
            let turn = turn(hub, &team, is_first).instrument(team.span());
            tokio::select! {
                () = stop.cancelled() => return,
                () = turn => {}
            }
        }
        is_first = false;
    }
}

/// A team's turn in an hour's round.
async fn turn(hub: &Hub, team: &Team, is_first: bool) {
    if is_first
        && let Ok(Some(last)) = team.last_sweep().await
        && !is_due(last, SystemTime::now())
    {
        note_end(hub, team.id(), last);
        team.count().await;
        return;
    }
    let swept = team.sweep().await;
    // It may have been taken out of the settings since.
    if hub.teams.knows(&team.id()) {
        note(hub, team.id(), &swept);
    }
    match swept {
        Ok(outcome) => tracing::info!(?outcome, "swept the bucket"),
        Err(error) => tracing::warn!(%error, "nothing was swept"),
    }
}

/// Whether the last sweep is long ago. The bucket's clock may be ahead of this one.
fn is_due(last: SystemTime, now: SystemTime) -> bool {
    now.duration_since(last).unwrap_or_default() >= EVERY
}

fn note_end(hub: &Hub, team: TeamId, end: SystemTime) {
    let seconds = end.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
    let sweep_end = &hub.metrics.sweep_end;
    sweep_end.get_or_create(&team.into()).set(seconds);
}

fn note(hub: &Hub, team: TeamId, swept: &Result<Outcome, GcError>) {
    let (metrics, label) = (&hub.metrics, team.into());
    match swept {
        Ok(outcome) => {
            note_end(hub, team, SystemTime::now());
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
        let line = in_line(&team, dry).instrument(team.span()).await;
        let of = format!("team {}, bucket {}", team.id(), team.bucket());
        let line = line.map(|line| format!("{of}: {line}"));
        lines.push(line.map_err(|error| format!("{of}: {error}")));
    }
    lines
}

async fn in_line(team: &Team, dry: bool) -> Result<String, GcError> {
    if dry {
        return Ok(in_words(&team.preview().await?));
    }
    let Outcome {
        condemned,
        deleted,
        freed,
        superseded,
    } = team.sweep().await?;
    Ok(format!(
        "condemned {condemned} objects, deleted {deleted} ({freed} bytes) and {superseded} old heads and segments"
    ))
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

#[cfg(test)]
mod tests {
    use std::{
        io,
        sync::{Arc, Mutex},
    };

    use super::*;
    use crate::{
        Confirm, Identity, TeamSettings, Teams,
        storage::memory::{Fault, MemoryBucket},
    };

    /// A log in memory.
    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Log {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[tokio::test]
    async fn what_a_sweep_did_is_told_with_team_and_bucket() {
        let (log, team) = (Log::default(), TeamId::from_bytes([1; 32]));
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_writer(move || writer.clone());
        let _guard = tracing::subscriber::set_default(subscriber.finish());
        let bucket = MemoryBucket::new("http://nowhere");
        let teams = Teams::only([TeamSettings {
            team,
            bucket: Arc::new(bucket.clone()),
            quota: None,
            retention: Retention::default(),
            confirm: Confirm::default(),
        }]);
        let hub = Hub::new(teams, Identity::default());
        let served = hub.teams.all().remove(0);
        for fault in [Fault::None, Fault::ReadOnly] {
            bucket.fail(fault);
            turn(&hub, &served, false).instrument(served.span()).await;
        }
        let text = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<_> = text.lines().collect();
        for words in ["swept the bucket", "nothing was swept"] {
            assert!(text.contains(words), "{text}");
        }
        for line in lines {
            let named =
                line.contains(&format!("team={team}")) && line.contains("bucket=\"memory\"");
            assert!(named, "{line}");
        }
    }

    #[test]
    fn a_sweep_is_due_an_hour_after_the_last_one() {
        let now = UNIX_EPOCH + 1000 * EVERY;
        assert!(is_due(now - EVERY, now));
        assert!(!is_due(now - EVERY / 2, now));
        // By a clock that is ahead.
        assert!(!is_due(now + EVERY, now));
    }
}

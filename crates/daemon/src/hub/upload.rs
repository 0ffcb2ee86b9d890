//! Uploads what the hub lacks and this device has. Operations come first, then entries of this device's feed. Each
//! entry comes after everything that it names.

mod commit;
mod durable;
mod packs;

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use podsync_api::hub::{Base64, MAX_COMMIT_ENTRIES, PostLiveness};
use podsync_core::{
    EntryHash, TeamId,
    engine::Event,
    feed::{Entry, Kind},
};

pub(crate) use self::packs::held_blob;
use super::{
    state::TeamHub,
    sync::{Heard, HubSync},
};
use crate::{
    error::Failure,
    events::team_events::TeamEvents,
    service::{holdings::Holdings, pull::Pull},
    tasks::Tasks,
};

/// How often the hub is polled.
const POLL_EVERY: Duration = Duration::from_secs(30);
/// How old the answer may be while nobody waits for it: then many devices cost the hub one look at the bucket.
const OLD_ENOUGH: Duration = Duration::from_secs(5);

/// Uploads what this device shares, and keeps the teams in sync with their hubs. Runs in the background.
pub(crate) struct Uploads {
    pub(crate) sync: Arc<HubSync>,
    pub(crate) holdings: Holdings,
    pub(crate) pull: Arc<Pull>,
    pub(crate) team_events: TeamEvents,
    pub(crate) tasks: Tasks,
}

impl Uploads {
    /// Syncs every team with its hub until the daemon ends. A command's own daemon doesn't run this: it polls when
    /// it needs something.
    pub(crate) async fn keep_hubs_in_step(self: Arc<Self>) {
        let mut events = self.sync.node.events();
        let mut age = Duration::ZERO;
        loop {
            let teams = self
                .sync
                .node
                .read(|engine| engine.teams().collect::<Vec<_>>());
            let Ok(teams) = teams.await else { return };
            for team in teams {
                match self.sync.hub(team).await {
                    Ok(Some(hub)) => self.visit(team, hub, age),
                    Ok(None) => {}
                    Err(failure) => {
                        tracing::warn!(team = %team.short(), error = %failure.api(), "podsync can't use the team's hub");
                    }
                }
            }
            age = tokio::select! {
                () = self.tasks.stopping().cancelled() => return,
                () = tokio::time::sleep(POLL_EVERY) => OLD_ENOUGH,
                () = self.sync.hubs.wake.notified() => Duration::ZERO,
                () = something_to_bring(&mut events) => Duration::ZERO,
            };
        }
    }

    /// Polls and uploads. An upload that still runs goes on meanwhile.
    fn visit(self: &Arc<Self>, team: TeamId, hub: Arc<TeamHub>, age: Duration) {
        let uploads = Arc::clone(self);
        self.tasks.spawn(async move {
            let stop = uploads.tasks.stopping().clone();
            let visit = async {
                let Some(turn) = hub.polling.take().await else { return };
                let attempt = hub.begin();
                let outcome = uploads.sync.poll_hub(team, &hub, age).await;
                drop(turn);
                if matches!(outcome, Ok(Heard::Moved)) {
                    return uploads.sync.wake();
                }
                hub.note_outcome(attempt, &outcome);
                if let Err(failure) = outcome {
                    tracing::warn!(team = %team.short(), error = %failure.api(), "podsync could not poll the hub");
                    return;
                }
                if uploads.sync.traffic.is_paused() {
                    return;
                }
                let Some(_turn) = hub.uploading.take().await else { return };
                let attempt = hub.begin();
                let outcome = uploads.bring(team, &hub).await;
                hub.note_outcome(attempt, &outcome);
                if let Err(failure) = outcome {
                    tracing::warn!(team = %team.short(), error = %failure.api(), "podsync could not bring everything to the bucket yet");
                }
            };
            tokio::select! {
                () = visit => {}
                () = stop.cancelled() => {}
            }
        });
    }

    /// Uploads everything that the hub lacks. The caller holds the hub's upload turn.
    pub(super) async fn bring(&self, team: TeamId, hub: &TeamHub) -> Result<(), Failure> {
        let me = self.sync.device;
        let is_robot = self.sync.node.read(move |engine| {
            let member = engine.roster(&team)?.member(&me)?;
            Some(member.robot)
        });
        if is_robot.await? != Some(false) {
            return Ok(());
        }
        self.sync.bring_operations(team, hub).await?;
        while self.bring_entries(team, hub).await? {}
        self.bring_liveness(team, hub).await
    }

    /// Uploads the next entries of this device's feed. Returns false if there are none.
    async fn bring_entries(&self, team: TeamId, hub: &TeamHub) -> Result<bool, Failure> {
        let committed = hub.standing().committed;
        let own = self
            .sync
            .node
            .read(move |engine| engine.own_entries(&team, committed, MAX_COMMIT_ENTRIES));
        let Some(own) = own.await?? else {
            return Ok(false);
        };
        let ended = self.ended(team, &own.entries).await?;
        let count = at_once(&own.entries, &ended);
        let own = if count < own.entries.len() {
            let fewer = self
                .sync
                .node
                .read(move |engine| engine.own_entries(&team, committed, count));
            let Some(own) = fewer.await?? else {
                return Ok(false);
            };
            own
        } else {
            own
        };
        self.commit(team, hub, &own).await?;
        Ok(true)
    }

    async fn bring_liveness(&self, team: TeamId, hub: &TeamHub) -> Result<(), Failure> {
        let newest = self
            .sync
            .node
            .read(move |engine| engine.own_liveness(&team));
        let Some(statement) = newest.await? else {
            return Ok(());
        };
        let mut brought = hub.liveness.lock().await;
        if brought.as_ref() == Some(&statement) {
            return Ok(());
        }
        let post = PostLiveness {
            statement: Base64::from(&statement),
        };
        hub.client.post_liveness(&post).await?;
        *brought = Some(statement);
        Ok(())
    }
}

/// Waits until there may be something to upload.
async fn something_to_bring(events: &mut tokio::sync::broadcast::Receiver<Event>) {
    use tokio::sync::broadcast::error::RecvError;
    loop {
        match events.recv().await {
            Ok(
                Event::VersionShared { .. }
                | Event::MemberJoined { .. }
                | Event::MemberRemoved { .. }
                | Event::KeyRotated { .. },
            )
            | Err(RecvError::Lagged(_)) => return,
            Ok(_) => {}
            Err(RecvError::Closed) => return std::future::pending().await,
        }
    }
}

/// How many of these entries go into one commit. It ends at the first entry with bytes to upload, so that each
/// version is in the bucket as early as possible. It goes further if a later entry drops one of them.
fn at_once(entries: &[Arc<Entry>], ended: &BTreeSet<EntryHash>) -> usize {
    let uploads =
        |entry: &Arc<Entry>| entry.header().kind == Kind::Publish && !ended.contains(&entry.hash());
    let mut count = entries
        .iter()
        .position(uploads)
        .map_or(entries.len(), |at| at + 1);
    loop {
        let inside: BTreeSet<_> = entries[..count].iter().map(|entry| entry.hash()).collect();
        let ends = |entry: &Arc<Entry>| entry.retires().iter().any(|hash| inside.contains(hash));
        let last = entries.iter().rposition(ends).map_or(0, |at| at + 1);
        if last <= count {
            return count;
        }
        count = last;
    }
}

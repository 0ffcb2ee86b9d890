//! Bringing: what this device has and its hub lacks. Operations first, then entries of the own feed, each
//! after everything that it names.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use podsync_api::hub::{
    Base64, Commit, CommitEntry, HubErrorCode, MAX_COMMIT_ENTRIES, ObjectId, ObjectKind, ObjectRef,
    Placement, PostLiveness, Sha256,
};
use podsync_api::{ApiError, ErrorCode};
use podsync_core::{
    BlobId, EntryHash, TeamId,
    engine::{Event, OwnEntries},
    feed::{Entry, Kind},
};

use super::{
    placements::{NOWHERE, Placed},
    state::TeamHub,
    sync::HubSync,
};
use crate::{
    error::Failure,
    service::{holdings::Holdings, pull::Pull},
    tasks::Tasks,
};

/// An entry with where its blobs lie, as it is committed and as it is noted.
struct Placing {
    committed: CommitEntry,
    places: Vec<(BlobId, Placed)>,
}

/// How often the hub is asked what is new.
const HEAR_EVERY: Duration = Duration::from_secs(30);

/// Brings hubs what this device shares: it runs beside all else, and keeps the teams in step with their hubs.
pub(crate) struct Uploads {
    pub(crate) sync: Arc<HubSync>,
    pub(crate) holdings: Holdings,
    pub(crate) pull: Arc<Pull>,
    pub(crate) tasks: Tasks,
}

impl Uploads {
    /// Keeps every team in step with its hub until the daemon ends. A command that hosts the daemon asks
    /// when it needs something.
    pub(crate) async fn keep_hubs(self: Arc<Self>) {
        let mut events = self.sync.node.events();
        loop {
            let teams = self
                .sync
                .node
                .read(|engine| engine.teams().collect::<Vec<_>>());
            let Ok(teams) = teams.await else { return };
            for team in teams {
                match self.sync.hub(team).await {
                    Ok(Some(hub)) => self.visit(team, hub),
                    Ok(None) => {}
                    Err(failure) => {
                        tracing::warn!(team = %team.short(), error = %failure.told(), "the team's hub can't be used");
                    }
                }
            }
            tokio::select! {
                () = self.tasks.stopping().cancelled() => return,
                () = tokio::time::sleep(HEAR_EVERY) => {}
                () = self.sync.hubs.wake.notified() => {}
                () = something_to_bring(&mut events) => {}
            }
        }
    }

    /// Hears and brings, beside whatever is still being brought.
    fn visit(self: &Arc<Self>, team: TeamId, hub: Arc<TeamHub>) {
        let uploads = Arc::clone(self);
        self.tasks.spawn(async move {
            let stop = uploads.tasks.stopping().clone();
            let visit = async {
                let Some(turn) = hub.hearing.take().await else { return };
                let attempt = hub.begin();
                let outcome = uploads.sync.hear_hub(team, &hub).await;
                drop(turn);
                hub.note_outcome(attempt, &outcome);
                if let Err(failure) = outcome {
                    tracing::warn!(team = %team.short(), error = %failure.told(), "the hub wasn't heard");
                    return;
                }
                let Some(_turn) = hub.bringing.take().await else { return };
                let attempt = hub.begin();
                let outcome = uploads.bring(team, &hub).await;
                hub.note_outcome(attempt, &outcome);
                if let Err(failure) = outcome {
                    tracing::warn!(team = %team.short(), error = %failure.told(), "not everything is in the bucket yet");
                }
            };
            tokio::select! {
                () = visit => {}
                () = stop.cancelled() => {}
            }
        });
    }

    /// Brings everything that the hub lacks; nothing is left when this returns. One at a time does it: the
    /// caller holds the hub's turn.
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

    /// Brings the next entries of the own feed; false where there are none.
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

    async fn commit(&self, team: TeamId, hub: &TeamHub, own: &OwnEntries) -> Result<(), Failure> {
        let ended = self.ended(team, &own.entries).await?;
        let stored = match self.try_commit(team, hub, own, &ended).await {
            Err(failure) => {
                // The bucket lost what it had: then all of it is looked at anew, once.
                let Some(missing) = failure.missing else {
                    return Err(failure.failure);
                };
                let lacks_drop = missing.iter().any(is_nowhere);
                self.forget_places(team, own, missing).await?;
                let ended = retired(&own.entries);
                let again = self.try_commit(team, hub, own, &ended).await;
                again.map_err(|again| {
                    if lacks_drop {
                        not_dropped_there().into()
                    } else {
                        again.failure
                    }
                })?
            }
            Ok(stored) => stored,
        };
        self.sync.note_read(team, self.sync.device, stored).await?;
        hub.note(|standing| standing.committed = standing.committed.max(stored));
        Ok(())
    }

    /// `ended`: the publications whose bytes aren't brought any more.
    async fn try_commit(
        &self,
        team: TeamId,
        hub: &TeamHub,
        own: &OwnEntries,
        ended: &BTreeSet<EntryHash>,
    ) -> Result<u64, NotCommitted> {
        let mut entries = Vec::new();
        let mut places = Vec::new();
        for entry in &own.entries {
            let placing = if ended.contains(&entry.hash()) {
                Placing::of_retired(entry)
            } else {
                self.place(team, hub, entry).await?
            };
            entries.push(placing.committed);
            places.extend(placing.places);
        }
        let commit = Commit {
            head: Base64::from(&own.head),
            entries,
        };
        let stored = hub.client.commit(&commit).await.map_err(|error| {
            let refusal = error.refusal();
            let missing = refusal
                .filter(|refusal| refusal.code == HubErrorCode::MissingObjects)
                .map(|refusal| refusal.missing.clone());
            NotCommitted {
                failure: error.into(),
                missing,
            }
        })?;
        self.sync.note_places(team, places).await?;
        Ok(stored.seq)
    }

    /// The publications among these entries that a drop ends: one of these entries, or one that came from
    /// somebody else. Their bytes may be gone everywhere.
    async fn ended(
        &self,
        team: TeamId,
        entries: &[Arc<Entry>],
    ) -> Result<BTreeSet<EntryHash>, Failure> {
        let mut ended = retired(entries);
        let publications: Vec<_> = entries.iter().map(|entry| entry.hash()).collect();
        let dropped = self.sync.node.read(move |engine| {
            let catalog = engine.catalog(&team);
            let is_dropped =
                |entry: &EntryHash| catalog.is_some_and(|catalog| catalog.is_dropped(entry));
            publications
                .into_iter()
                .filter(is_dropped)
                .collect::<Vec<_>>()
        });
        ended.extend(dropped.await?);
        Ok(ended)
    }

    async fn place(
        &self,
        team: TeamId,
        hub: &TeamHub,
        entry: &Arc<Entry>,
    ) -> Result<Placing, Failure> {
        if entry.header().blobs.is_empty() {
            return Ok(Placing {
                committed: CommitEntry {
                    entry: Base64::from(entry.bytes()),
                    objects: Vec::new(),
                    outboards: Vec::new(),
                },
                places: Vec::new(),
            });
        }
        let uploaded = self.upload(team, hub, entry).await?;
        Ok(Placing::of(entry, uploaded.objects, uploaded.outboards))
    }

    /// Objects that the bucket lost, or is about to lose: what these entries name is looked for elsewhere.
    async fn forget_places(
        &self,
        team: TeamId,
        own: &OwnEntries,
        gone: Vec<ObjectRef>,
    ) -> Result<(), Failure> {
        let blobs = own.entries.iter().flat_map(|entry| &*entry.header().blobs);
        let blobs: Vec<_> = blobs.map(|blob| blob.id).collect();
        let places = self.sync.hubs.places.clone();
        let forget = move || places.forget(team, &blobs, &gone.into_iter().collect());
        let blobs = tokio::task::spawn_blocking(forget).await??;
        let lacks = podsync_core::engine::Input::BucketLacks { team, blobs };
        Ok(self.sync.node.input(lacks).await?)
    }

    async fn bring_liveness(&self, team: TeamId, hub: &TeamHub) -> Result<(), Failure> {
        let newest = self
            .sync
            .node
            .read(move |engine| engine.own_liveness(&team));
        let Some(statement) = newest.await? else {
            return Ok(());
        };
        let mut told = hub.liveness.lock().await;
        if told.as_ref() == Some(&statement) {
            return Ok(());
        }
        let post = PostLiveness {
            statement: Base64::from(&statement),
        };
        hub.client.post_liveness(&post).await?;
        *told = Some(statement);
        Ok(())
    }
}

/// Waits for something that the hub may lack.
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

/// A commit that wasn't taken, and the objects that the bucket lacks if that is why.
struct NotCommitted {
    failure: Failure,
    missing: Option<Vec<ObjectRef>>,
}

impl From<Failure> for NotCommitted {
    fn from(failure: Failure) -> Self {
        Self {
            failure,
            missing: None,
        }
    }
}

impl Placing {
    fn of(entry: &Entry, objects: Vec<Placement>, outboards: Vec<ObjectRef>) -> Self {
        let blobs = entry.header().blobs.iter().enumerate();
        let places = blobs
            .zip(&objects)
            .map(|((at, blob), place)| (blob.id, Placed::of(at, blob, place, &outboards)));
        Self {
            places: places.collect(),
            committed: CommitEntry {
                entry: Base64::from(entry.bytes()),
                objects,
                outboards,
            },
        }
    }

    /// Nobody will ask for its blobs, and they may be gone: the hub doesn't look for them.
    fn of_retired(entry: &Entry) -> Self {
        let nowhere = Sha256::from_bytes(NOWHERE);
        let placement = Placement {
            sha256: nowhere,
            generation: 0,
        };
        let outboards = ObjectRef {
            id: ObjectId {
                kind: ObjectKind::Outboards,
                sha256: nowhere,
                size: 1,
            },
            generation: 0,
        };
        let blobs = entry.header().blobs.len();
        Self {
            places: Vec::new(),
            committed: CommitEntry {
                entry: Base64::from(entry.bytes()),
                objects: vec![placement; blobs],
                outboards: vec![outboards; usize::from(blobs > 1)],
            },
        }
    }
}

fn is_nowhere(object: &ObjectRef) -> bool {
    *object.id.sha256.as_bytes() == NOWHERE
}

fn not_dropped_there() -> ApiError {
    ApiError::new(
        ErrorCode::Unreachable,
        "a teammate dropped a version of this device before it was in the bucket, and the hub hasn't heard of the drop",
    )
    .hint("it goes on by itself once the hub hears from whoever dropped it")
}

/// The publications that a later one of these entries ends.
fn retired(entries: &[Arc<Entry>]) -> BTreeSet<EntryHash> {
    let ended = entries.iter().flat_map(|entry| entry.retires());
    ended.copied().collect()
}

/// How many of these entries go in one commit: up to the first that has something to upload, so that each
/// version is in the bucket as soon as it can be; and further where a later one ends one of them.
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

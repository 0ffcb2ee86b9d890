//! Bringing: what this device has and its hub lacks. Operations first, then entries of the own feed, each
//! after everything that it names.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use podsync_api::hub::{
    Base64, Commit, CommitEntry, HubErrorCode, MAX_COMMIT_ENTRIES, ObjectId, ObjectKind, ObjectRef,
    Placement, PostLiveness, Sha256,
};
use podsync_core::{
    BlobId, EntryHash, TeamId,
    engine::OwnEntries,
    feed::{Entry, Kind},
};

use super::{TeamHub, placements::Placed};
use crate::{daemon::Daemon, failure::Failure};

/// An entry with where its blobs lie, as it is committed and as it is noted.
struct Placing {
    committed: CommitEntry,
    places: Vec<(BlobId, Placed)>,
}

impl Daemon {
    /// Brings everything that the hub lacks; nothing is left when this returns. One at a time does it: the
    /// caller holds the hub's turn.
    pub(super) async fn bring(&self, team: TeamId, hub: &TeamHub) -> Result<(), Failure> {
        let me = self.device;
        let is_robot = self.node.read(move |engine| {
            let member = engine.roster(&team)?.member(&me)?;
            Some(member.robot)
        });
        if is_robot.await? != Some(false) {
            return Ok(());
        }
        self.bring_operations(team, hub).await?;
        while self.bring_entries(team, hub).await? {}
        self.bring_liveness(team, hub).await
    }

    /// Brings the next entries of the own feed; false where there are none.
    async fn bring_entries(&self, team: TeamId, hub: &TeamHub) -> Result<bool, Failure> {
        let committed = hub.standing().committed;
        let own = self
            .node
            .read(move |engine| engine.own_entries(&team, committed, MAX_COMMIT_ENTRIES));
        let Some(own) = own.await? else {
            return Ok(false);
        };
        let count = at_once(&own.entries);
        let own = if count < own.entries.len() {
            let fewer = self
                .node
                .read(move |engine| engine.own_entries(&team, committed, count));
            let Some(own) = fewer.await? else {
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
        let stored = match self.try_commit(team, hub, own).await {
            Err(failure) => {
                // The bucket lost what it had: then all of it is looked at anew, once.
                let Some(missing) = failure.missing else {
                    return Err(failure.failure);
                };
                self.forget_places(team, &missing).await?;
                let again = self.try_commit(team, hub, own).await;
                again.map_err(|again| again.failure)?
            }
            Ok(stored) => stored,
        };
        self.note_read(team, self.device, stored).await?;
        hub.note(|standing| standing.committed = standing.committed.max(stored));
        Ok(())
    }

    async fn try_commit(
        &self,
        team: TeamId,
        hub: &TeamHub,
        own: &OwnEntries,
    ) -> Result<u64, NotCommitted> {
        let retired = retired(&own.entries);
        let mut entries = Vec::new();
        let mut places = Vec::new();
        let mut named = BTreeMap::new();
        for entry in &own.entries {
            let placing = if retired.contains(&entry.hash()) {
                Placing::of_retired(entry)
            } else {
                self.place(team, hub, entry).await?
            };
            for (blob, placed) in &placing.places {
                named.insert(placed.object(), *blob);
            }
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
                .map(|refusal| {
                    let blobs = refusal
                        .missing
                        .iter()
                        .filter_map(|object| named.get(object));
                    blobs.copied().collect()
                });
            NotCommitted {
                failure: error.into(),
                missing,
            }
        })?;
        self.note_places(team, places).await?;
        Ok(stored.seq)
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

    async fn forget_places(&self, team: TeamId, blobs: &[BlobId]) -> Result<(), Failure> {
        let (log, gone) = (self.hubs.places.clone(), blobs.to_vec());
        tokio::task::spawn_blocking(move || log.forget(team, &gone)).await??;
        let blobs = blobs.to_vec();
        let lacks = podsync_core::engine::Input::BucketLacks { team, blobs };
        Ok(self.node.input(lacks).await?)
    }

    async fn bring_liveness(&self, team: TeamId, hub: &TeamHub) -> Result<(), Failure> {
        let newest = self.node.read(move |engine| engine.own_liveness(&team));
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

/// A commit that wasn't taken, and the blobs that the bucket lacks if that is why.
struct NotCommitted {
    failure: Failure,
    missing: Option<Vec<BlobId>>,
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
        let nowhere = Sha256::from_bytes([0; 32]);
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

/// The publications that a later one of these entries ends.
fn retired(entries: &[Arc<Entry>]) -> BTreeSet<EntryHash> {
    let ended = entries.iter().flat_map(|entry| entry.retires());
    ended.copied().collect()
}

/// How many of these entries go in one commit: up to the first that has something to upload, so that each
/// version is in the bucket as soon as it can be; and further where a later one ends one of them.
fn at_once(entries: &[Arc<Entry>]) -> usize {
    let retired = retired(entries);
    let uploads = |entry: &Arc<Entry>| {
        entry.header().kind == Kind::Publish && !retired.contains(&entry.hash())
    };
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

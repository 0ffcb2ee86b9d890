//! A commit sends entries of this device's feed to the hub, each with the places of its blobs in the bucket.

use std::{collections::BTreeSet, sync::Arc};

use podsync_api::{
    ApiError, ErrorCode,
    hub::{
        Base64, Commit, CommitEntry, HubErrorCode, ObjectId, ObjectKind, ObjectRef, Placement,
        Sha256,
    },
};
use podsync_core::{
    BlobId, EntryHash, TeamId,
    engine::{Input, OwnEntries},
    feed::Entry,
};

use super::Uploads;
use crate::{
    error::Failure,
    hub::state::{
        TeamHub,
        placements::{NOWHERE, Placed},
    },
};

/// An entry with the places of its blobs, both for the commit and for this device's own records.
struct Placing {
    committed: CommitEntry,
    places: Vec<(BlobId, Placed)>,
}

impl Uploads {
    pub(super) async fn commit(
        &self,
        team: TeamId,
        hub: &TeamHub,
        own: &OwnEntries,
    ) -> Result<(), Failure> {
        let ended = self.ended(team, &own.entries).await?;
        let stored = match self.try_commit(team, hub, own, &ended).await {
            Err(failure) => {
                // The bucket lost objects: every place is checked again, once.
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

    /// `ended` are the dropped publications, whose bytes aren't uploaded any more.
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

    /// The publications among these entries that were dropped, by one of these entries or by another device. Their
    /// bytes may be gone everywhere.
    pub(super) async fn ended(
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

    /// Forgets objects that the bucket lost or is about to delete, so that the blobs of these entries are uploaded
    /// again.
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
        let lacks = Input::BucketLacks { team, blobs };
        Ok(self.sync.node.input(lacks).await?)
    }
}

/// Why a commit was refused, with the objects that the bucket lacks, if that is the reason.
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

    /// The entry of a dropped publication. Nobody will fetch its blobs and they may be gone, so the hub doesn't
    /// check them.
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
    .hint("podsync goes on by itself once the hub hears of the drop from that teammate")
}

/// The publications that a later one of these entries drops.
fn retired(entries: &[Arc<Entry>]) -> BTreeSet<EntryHash> {
    let ended = entries.iter().flat_map(|entry| entry.retires());
    ended.copied().collect()
}

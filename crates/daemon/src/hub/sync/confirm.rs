//! Asks the hub whether the bucket has a version. Recorded places aren't enough: objects may be gone since.
//!
//! The bucket has a version if the hub shows its entry as committed and has all objects that the commit named. The
//! hub deletes no object that a committed entry names until that entry is dropped. So this copy can be relied on.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use podsync_api::{
    hub::{
        BatchOperation, BatchedId, Committed, HubErrorCode, MAX_BATCH_OBJECTS, ObjectKind,
        ObjectRef,
    },
    pods::InBucket,
};
use podsync_core::{
    EntryHash, PodName, TeamId, VersionId,
    feed::{BlobRef, Entry},
};

use super::HubSync;
use crate::{
    error::Failure,
    hub::state::{TeamHub, placements::Placed},
};

/// The objects that the bucket must have for one entry.
#[derive(Debug, Clone)]
pub(crate) struct Named {
    /// In the order of the entry's header: the manifest, then the packs.
    places: Vec<(BlobRef, Placed)>,
    pub(crate) outboards: BTreeSet<ObjectRef>,
}

impl Named {
    fn of(entry: &Entry, committed: &Committed) -> Self {
        let blobs = entry.header().blobs.iter().enumerate();
        let placed = blobs
            .zip(&committed.objects)
            .map(|((at, blob), place)| (*blob, Placed::of(at, blob, place, &committed.outboards)));
        let outboards = committed.outboards.iter();
        Self {
            places: placed.collect(),
            outboards: outboards
                .filter(|object| object.id.kind == ObjectKind::Outboards)
                .copied()
                .collect(),
        }
    }

    /// The manifest, then the packs, with where each lies.
    pub(crate) fn blobs(&self) -> impl Iterator<Item = (BlobRef, ObjectRef)> {
        let each = self.places.iter();
        each.map(|(blob, placed)| (*blob, placed.object()))
    }

    pub(crate) fn objects(&self) -> BTreeSet<ObjectRef> {
        let blobs = self.blobs().map(|(_, object)| object);
        blobs.chain(self.outboards.iter().copied()).collect()
    }
}

impl HubSync {
    /// Whether the team's bucket has a version. `None` if the team has no bucket, or nobody shared the version.
    pub(crate) async fn in_bucket(
        &self,
        team: TeamId,
        pod: PodName,
        version: VersionId,
        patience: Duration,
    ) -> Result<Option<InBucket>, Failure> {
        let hub = match tokio::time::timeout(patience, self.heard_hub(team)).await {
            Ok(Ok(Some(hub))) => hub,
            Ok(Ok(None)) => return Ok(None),
            Ok(Err(failure)) => {
                return Ok(Some(InBucket::Unknown(failure.api().message.clone())));
            }
            Err(_) => {
                let why = self.trouble(team).await?.unwrap_or_else(|| {
                    format!("the team's hub didn't answer in {} s", patience.as_secs())
                });
                return Ok(Some(InBucket::Unknown(why)));
            }
        };
        let publications = self.node.read(move |engine| {
            let catalog = engine.catalog(&team);
            let records = catalog.map(|catalog| catalog.publications(&pod, &version));
            let entries = records.into_iter().flatten();
            entries
                .map(|record| Arc::clone(&record.entry))
                .collect::<Vec<_>>()
        });
        let mut found = None;
        for entry in publications.await? {
            let asked = tokio::time::timeout(patience, looked_up(&hub, &entry)).await;
            let state = match asked {
                Ok(Ok(state)) => state,
                Ok(Err(failure)) => InBucket::Unknown(failure.api().message.clone()),
                Err(_) => InBucket::Unknown(format!(
                    "the hub at {} didn't answer in {} s",
                    hub.url(),
                    patience.as_secs()
                )),
            };
            match state {
                InBucket::Whole => return Ok(Some(InBucket::Whole)),
                InBucket::NotYet => drop(found.get_or_insert(InBucket::NotYet)),
                other => found = Some(other),
            }
        }
        Ok(found)
    }

    /// Records that all objects of an entry are in the bucket, also those that were recorded as gone.
    pub(crate) async fn is_there_again(&self, team: TeamId, named: &Named) -> Result<(), Failure> {
        let places = named.places.iter();
        let places = places.map(|(blob, placed)| (blob.id, placed.clone()));
        self.note_places(team, places.collect()).await
    }
}

async fn looked_up(hub: &TeamHub, entry: &Entry) -> Result<InBucket, Failure> {
    let Some(named) = committed(hub, entry).await? else {
        return Ok(InBucket::NotYet);
    };
    let missing = missing(hub, &named.objects()).await?;
    Ok(match missing.len() {
        0 => InBucket::Whole,
        count => InBucket::Missing(count),
    })
}

/// The objects that an entry was committed with. `None` if it isn't committed.
pub(crate) async fn committed(hub: &TeamHub, entry: &Entry) -> Result<Option<Named>, Failure> {
    let header = entry.header();
    let page = hub
        .client()
        .feed_page(header.device, header.seq, Some(header.seq));
    let page = match page.await {
        Ok(page) => page,
        Err(error) => {
            let refusal = error.refusal().map(|refusal| refusal.code);
            return match refusal {
                Some(HubErrorCode::NotFound) => Ok(None),
                _ => Err(error.into()),
            };
        }
    };
    // For a forked feed the hub returns both branches.
    let mut same = page.entries.iter();
    let same = same.find(|committed| EntryHash::of(&committed.entry) == entry.hash());
    // The hub may be wrong: an answer with fewer objects than the entry has blobs doesn't count as a commit.
    let same = same.filter(|committed| committed.objects.len() == header.blobs.len());
    Ok(same.map(|committed| Named::of(entry, committed)))
}

/// Returns those objects that the bucket doesn't have, each with its expected length.
async fn missing(hub: &TeamHub, objects: &BTreeSet<ObjectRef>) -> Result<Vec<ObjectRef>, Failure> {
    let objects: Vec<ObjectRef> = objects.iter().copied().collect();
    let mut missing = Vec::new();
    for asked in objects.chunks(MAX_BATCH_OBJECTS) {
        let batch = asked.iter().map(|object| BatchedId {
            id: object.id,
            generation: Some(object.generation),
        });
        // Nothing is fetched. The hub presigns a download only for an object that exists.
        let answer = hub
            .client()
            .batch(BatchOperation::Download, batch.collect())
            .await?;
        let gone = asked.iter().zip(&answer.objects);
        let gone = gone.filter(|(object, answer)| {
            answer.actions.is_none() || answer.object.generation != object.generation
        });
        missing.extend(gone.map(|(object, _)| *object));
    }
    Ok(missing)
}

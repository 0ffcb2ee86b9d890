//! Verify, the bucket's half: reads and hashes every object that the team's versions name. Repair uploads lost or
//! damaged objects again, from this machine or from a teammate.
//!
//! Repair deletes nothing: it overwrites wrong bytes with the right ones, and the bucket accepts no others. So the
//! hub needn't trust a claim that an object is damaged.

mod examine;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use podsync_api::{ApiError, ErrorCode, Progress, Stage, disk, hub::ObjectRef};
use podsync_bucket::{OutboardsBuilder, TransferError, Upload, outboards_object_len};
use podsync_core::{
    DeviceId, TeamId,
    engine::{Input, Sources},
    feed::BlobRef,
};
use podsync_store::Blobs;
use tokio::time::Instant;

use self::examine::{Bad, Finding, Looked, Shared, examine_all, look_up, not_mended};
use crate::{
    call::Context,
    error::{Failure, Stopped},
    hub::{state::TeamHub, sync::HubSync, upload::held_blob},
    node::handle::Node,
    service::{
        find::{Finder, Found},
        pull::{
            fetch::{Fetcher, Fetching, Part},
            no_hub,
        },
    },
};

/// Verifies the objects in the teams' buckets.
pub(crate) struct BucketVerifier {
    pub(crate) device: DeviceId,
    pub(crate) node: Node,
    pub(crate) blobs: Blobs,
    pub(crate) finder: Finder,
    pub(crate) fetcher: Fetcher,
    pub(crate) hubs: Arc<HubSync>,
}

impl BucketVerifier {
    pub(crate) async fn verify(
        &self,
        team: TeamId,
        call: &disk::Verify,
        context: &Arc<Context>,
    ) -> Result<disk::Verified, Failure> {
        let Some(known) = self.hubs.hub(team).await? else {
            return Err(no_hub().into());
        };
        // It may turn out to be elsewhere.
        let hub = told(&known, context, self.hubs.poll_now(team)).await?;
        let hub = hub.ok_or_else(no_hub)?;
        told(&hub, context, self.verify_at(&hub, team, call, context)).await
    }

    async fn verify_at(
        &self,
        hub: &TeamHub,
        team: TeamId,
        call: &disk::Verify,
        context: &Arc<Context>,
    ) -> Result<disk::Verified, Failure> {
        let shared = self.shared_meant(team, call.reference.as_deref()).await?;
        let (looked, not_yet) = look_up(hub, shared).await?;
        let objects: BTreeSet<ObjectRef> = looked
            .iter()
            .flat_map(|version| version.named.objects())
            .collect();
        let (bad, bytes) = examine_all(hub, &objects, context).await?;
        let mut failed = BTreeMap::new();
        if call.repair && !bad.is_empty() {
            self.ensure_publisher(team).await?;
            let deadline = Instant::now() + Duration::from_secs(call.wait_s);
            failed = self
                .mend_all(team, hub, &looked, &bad, deadline, context)
                .await?;
        }
        let mut verified = disk::Verified {
            versions: looked
                .iter()
                .map(|version| version.shared.version)
                .collect::<BTreeSet<_>>()
                .len(),
            blobs: objects.len(),
            bytes,
            broken: Vec::new(),
            not_yet,
        };
        for version in &looked {
            let Some(mut broken) = version.broken(&bad) else {
                continue;
            };
            if call.repair {
                let objects = version.named.objects();
                let failed = objects.iter().find_map(|object| failed.get(object));
                broken.why = failed.map(|error| error.message.clone());
                broken.hint = failed.and_then(|error| error.hint.clone());
                broken.repaired = failed.is_none();
            }
            if broken.repaired {
                self.hubs.is_there_again(team, &version.named).await?;
            }
            verified.broken.push(broken);
        }
        Ok(verified)
    }

    async fn shared_meant(
        &self,
        team: TeamId,
        reference: Option<&str>,
    ) -> Result<Vec<Shared>, Failure> {
        let only = match reference {
            None => None,
            Some(reference) => {
                let named = self.finder.resolve(team, reference).await?;
                let Found::Shared(record) = named.found else {
                    let text = format!("{} is private, so it is in no bucket", named.reference);
                    let hint = format!("share it first: `podsync share {}`", named.reference);
                    return Err(ApiError::new(ErrorCode::Invalid, text).hint(hint).into());
                };
                Some((record.publication.pod.clone(), record.version()))
            }
        };
        let shared = self.node.read(move |engine| {
            let Some(catalog) = engine.catalog(&team) else {
                return Vec::new();
            };
            let meant: Vec<_> = match only {
                Some(only) => vec![only],
                None => {
                    let pods = catalog.pods().into_iter();
                    let each = pods.flat_map(|pod| catalog.versions(pod));
                    each.map(|record| (record.publication.pod.clone(), record.version()))
                        .collect()
                }
            };
            // A version that two devices shared is in the bucket twice.
            let publications = meant
                .iter()
                .flat_map(|(pod, version)| catalog.publications(pod, version));
            publications
                .map(|record| Shared {
                    reference: catalog.exact_reference(record),
                    version: record.version(),
                    entry: Arc::clone(&record.entry),
                })
                .collect()
        });
        Ok(shared.await?)
    }

    /// Checks this device's role first, before it fetches bytes that the hub wouldn't accept.
    async fn ensure_publisher(&self, team: TeamId) -> Result<(), Failure> {
        let me = self.device;
        let may = self.node.read(move |engine| {
            let roster = engine.roster(&team);
            roster.is_some_and(|roster| roster.may_publish(&me))
        });
        if may.await? {
            return Ok(());
        }
        let text = "this device may read and not publish, so it puts nothing in the bucket";
        Err(ApiError::new(ErrorCode::Forbidden, text)
            .hint("ask a publisher or an admin to run `podsync verify --bucket --repair`")
            .into())
    }

    /// Repairs what it can. Returns why the rest can't be repaired.
    async fn mend_all(
        &self,
        team: TeamId,
        hub: &TeamHub,
        looked: &[Looked],
        bad: &Bad,
        deadline: Instant,
        context: &Arc<Context>,
    ) -> Result<BTreeMap<ObjectRef, ApiError>, Failure> {
        let mut left: BTreeSet<ObjectRef> = bad.keys().copied().collect();
        let mut failed = BTreeMap::new();
        let fetching = Fetching {
            team,
            wanted: "this object",
            prefer: self.device,
            sources: Sources::Peers,
            deadline,
            context,
            told: None,
        };
        for version in looked {
            let fetching = Fetching {
                prefer: version.author(),
                ..fetching
            };
            for (blob, object) in version.named.blobs() {
                if left.remove(&object)
                    && let Err(failure) = self.mend(hub, &fetching, &blob, &object).await
                {
                    failed.insert(object, reason(failure)?);
                }
            }
        }
        // Outboards are computed from packs, so the packs were repaired first.
        for object in left {
            let outcome = self
                .mend_outboards(hub, looked, bad, &object, fetching)
                .await;
            if let Err(failure) = outcome {
                failed.insert(object, reason(failure)?);
            }
        }
        for (object, finding) in bad {
            if matches!(finding, Finding::Unreadable(_))
                && !failed.contains_key(object)
                && let Some(why) = not_mended(hub, object).await
            {
                failed.insert(*object, why);
            }
        }
        Ok(failed)
    }

    async fn mend(
        &self,
        hub: &TeamHub,
        fetching: &Fetching<'_>,
        blob: &BlobRef,
        object: &ObjectRef,
    ) -> Result<(), Failure> {
        // No version on this machine may need it.
        let _pin = self.blobs.pin(blob.id).await;
        let upload = Upload {
            id: object.id,
            source: held_blob(&self.blobs, blob.id),
        };
        let progress = |sent| {
            let progress = Progress::new(Stage::Uploading, sent, Some(object.id.size));
            fetching.context.report(&progress);
        };
        self.fetcher.fetch(fetching, &[Part::whole(*blob)]).await?;
        let put = hub.client().replace(&upload, object.generation, progress);
        match put.await {
            // The local copy is damaged as well. A teammate's may be intact.
            Err(TransferError::Damaged { .. }) => {
                self.blobs.doubt(blob.id).await?;
                self.node.input(Input::Evicted { blob: blob.id }).await?;
                self.fetcher.fetch(fetching, &[Part::whole(*blob)]).await?;
                let put = hub.client().replace(&upload, object.generation, progress);
                put.await.map_err(not_taken)
            }
            other => other.map_err(not_taken),
        }
    }

    /// Makes an outboards object again. It covered those packs of the entries naming it that their other outboards
    /// objects don't cover, or all packs.
    async fn mend_outboards(
        &self,
        hub: &TeamHub,
        looked: &[Looked],
        bad: &Bad,
        object: &ObjectRef,
        fetching: Fetching<'_>,
    ) -> Result<(), Failure> {
        for version in looked {
            if !version.named.outboards.contains(object) {
                continue;
            }
            let fetching = Fetching {
                prefer: version.author(),
                ..fetching
            };
            let packs: Vec<_> = version.named.blobs().skip(1).collect();
            let mut covered = BTreeSet::new();
            let others = version.named.outboards.iter();
            for other in others.filter(|other| *other != object && !bad.contains_key(other)) {
                covered.extend(hub.client().covered(other).await?);
            }
            let mut uncovered = packs.clone();
            uncovered.retain(|(blob, _)| !covered.contains(&blob.id));
            for packs in [uncovered, packs] {
                // The packs are read only if the length fits. The hash decides about the rest.
                let len = outboards_object_len(packs.iter().map(|(blob, _)| blob.len));
                if len == object.id.size
                    && let Some(upload) = self.outboards_of(&fetching, &packs).await?
                    && upload.id == object.id
                {
                    let put = hub.client().replace(&upload, object.generation, |_| {});
                    return put.await.map_err(not_taken);
                }
            }
        }
        let text = "podsync can't tell any more which packs these outboards belong to";
        Err(ApiError::new(ErrorCode::NotFound, text)
            .hint("save and share the state again")
            .into())
    }

    async fn outboards_of(
        &self,
        fetching: &Fetching<'_>,
        packs: &[(BlobRef, ObjectRef)],
    ) -> Result<Option<Upload>, Failure> {
        let mut builder = OutboardsBuilder::new();
        for (blob, object) in packs {
            let _pin = self.blobs.pin(blob.id).await;
            self.fetcher.fetch(fetching, &[Part::whole(*blob)]).await?;
            let pack = Upload {
                id: object.id,
                source: held_blob(&self.blobs, blob.id),
            };
            builder.add(&pack, blob.id).await?;
        }
        Ok(builder.finish().map(|built| built.upload))
    }
}

/// Says for whom the call waits while the work stands still.
async fn told<T>(
    hub: &TeamHub,
    context: &Context,
    work: impl Future<Output = Result<T, Failure>>,
) -> Result<T, Failure> {
    let waiting = |since| Progress {
        waiting: Some(format!("waiting: {}", hub.holdup(since))),
        ..Progress::new(Stage::Verifying, 0, None)
    };
    tokio::select! {
        done = work => done,
        () = context.say_while_quiet(waiting) => Err(Stopped.into()),
    }
}

/// Why the bucket didn't take what is on this machine. No teammate is needed for another try.
fn not_taken(error: TransferError) -> Failure {
    let is_of_this_machine = matches!(
        error,
        TransferError::Source { .. } | TransferError::Damaged { .. } | TransferError::Local { .. }
    );
    let mut error = ApiError::from(Failure::from(error));
    if !is_of_this_machine {
        let hint = error.hint.take();
        error.hint = hint.map(|hint| format!("this machine has the data; {hint}"));
    }
    error.into()
}

/// Why an object can't be repaired, while others still may be. A cancelled call ends the whole repair.
fn reason(failure: Failure) -> Result<ApiError, Failure> {
    match failure.api().code {
        ErrorCode::Cancelled | ErrorCode::NoDaemon => Err(failure),
        _ => Ok(failure.into()),
    }
}

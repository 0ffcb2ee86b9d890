//! Verify: reads and hashes every blob that versions here need. Repair mends what this machine still has whole, and
//! fetches the rest again from teammates or the bucket.
//!
//! This is the local half, for blobs on this machine. Without repair it only marks damaged bytes as not held, so
//! that they aren't served and a pull fetches them again. A repair that fails loses nothing: the version stays
//! listed, so nothing of it counts as garbage.

pub(crate) mod bucket;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use futures::{StreamExt, TryStreamExt, stream};
use podsync_api::{ApiError, ErrorCode, Progress, Stage, disk, pods};
use podsync_core::{BlobId, TeamId, VersionId, manifest::Manifest};
use podsync_pack::{Version, table_units};
use podsync_store::{Blobs, StoreError};

use crate::{
    call::{Context, Handle},
    error::Failure,
    node::handle::Node,
    packs::HeldPacks,
    service::{
        choose::team_of,
        find::{Finder, Patience},
        holdings::{Holdings, pack_ids},
        pull::{Pull, Wanted, bytes_gone},
        save::pack::Recorder,
        verify::bucket::BucketVerifier,
    },
    tasks::Tasks,
    versions::{HeldVersion, Versions},
};

/// Blobs read at once: one for each core of a small machine, which an SSD can serve.
const AT_ONCE: usize = 2;

/// Verifies blobs on this machine and in the bucket.
pub(crate) struct Verify {
    pub(crate) node: Node,
    pub(crate) blobs: Blobs,
    pub(crate) versions: Arc<Versions>,
    pub(crate) finder: Finder,
    pub(crate) holdings: Holdings,
    pub(crate) pull: Arc<Pull>,
    pub(crate) recorder: Recorder,
    pub(crate) bucket: BucketVerifier,
    pub(crate) tasks: Tasks,
}

impl Handle<disk::Verify> for Verify {
    async fn handle(
        self: Arc<Self>,
        call: disk::Verify,
        context: Arc<Context>,
    ) -> Result<disk::Verified, Failure> {
        let team = team_of(&self.node, &context).await?;
        if call.bucket {
            let verified = self.bucket.verify(team, &call, &context).await;
            // Blobs that were fetched only for the bucket's repair needn't stay.
            if call.repair {
                self.tasks.spawn(self.holdings.clone().collect_garbage());
            }
            return verified;
        }
        let versions = self.versions_meant(team, call.reference.as_deref()).await?;
        let checked = self.check_blobs(&versions, &context).await?;
        let mut verified = disk::Verified {
            versions: versions.len(),
            blobs: checked.blobs,
            bytes: checked.bytes,
            broken: Vec::new(),
            not_yet: 0,
        };
        for (version, held) in versions {
            let Some(mut broken) = self.broken(team, version, &held, &checked.damaged).await?
            else {
                continue;
            };
            if call.repair {
                let repaired = self
                    .repair(team, version, &held, call.wait_s, &context)
                    .await;
                match repaired.map_err(ApiError::from) {
                    Ok(()) => broken.repaired = true,
                    Err(error) if error.code == ErrorCode::Cancelled => return Err(error.into()),
                    Err(error) => broken.why = Some(error.message),
                }
            }
            verified.broken.push(broken);
        }
        Ok(verified)
    }
}

/// The findings of reading everything.
#[derive(Default)]
struct Checked {
    blobs: usize,
    bytes: u64,
    damaged: BTreeSet<BlobId>,
}

impl Verify {
    async fn versions_meant(
        &self,
        team: TeamId,
        reference: Option<&str>,
    ) -> Result<Vec<(VersionId, HeldVersion)>, Failure> {
        let Some(reference) = reference else {
            return Ok(self.versions.of_team(team));
        };
        let named = self.finder.resolve(team, reference).await?;
        let version = named.found.version();
        let held = self.versions.get(team, version).ok_or_else(|| {
            ApiError::new(
                ErrorCode::NotFound,
                format!("{} is not on this machine", named.reference),
            )
            .hint(format!("`podsync pull {}` fetches it", named.reference))
        })?;
        Ok(vec![(version, held)])
    }

    /// Reads each blob once, even if several versions need it. Marks damaged ones as not held.
    async fn check_blobs(
        &self,
        versions: &[(VersionId, HeldVersion)],
        context: &Arc<Context>,
    ) -> Result<Checked, Failure> {
        let mut there = BTreeMap::new();
        for (_, held) in versions {
            let manifest = held.manifest().map_err(Failure::damaged)?;
            for blob in pack_ids(&manifest).into_iter().chain([held.sealed.blob.id]) {
                if let Some(holding) = self.blobs.held(blob)? {
                    there.insert(blob, holding.units.byte_len(holding.len));
                }
            }
        }
        let total = there.values().sum();
        let mut checked = Checked {
            blobs: there.len(),
            ..Checked::default()
        };
        let mut reading = stream::iter(there)
            .map(|(blob, len)| async move {
                match self.blobs.verify(blob).await {
                    Ok(()) => Ok((blob, len, true)),
                    Err(StoreError::Corrupt { .. } | StoreError::NotHeld { .. }) => {
                        Ok((blob, len, false))
                    }
                    Err(error) => Err(Failure::from(error)),
                }
            })
            .buffer_unordered(AT_ONCE);
        while let Some((blob, len, whole)) = reading.try_next().await? {
            checked.bytes += len;
            context.report(&Progress::new(Stage::Verifying, checked.bytes, Some(total)));
            if !whole {
                tracing::error!(blob = %blob.short(), "its bytes are not what they were");
                self.holdings.doubt(blob).await?;
                checked.damaged.insert(blob);
            }
        }
        Ok(checked)
    }

    /// What is wrong with a version. `None` if it is complete.
    async fn broken(
        &self,
        team: TeamId,
        version: VersionId,
        held: &HeldVersion,
        damaged: &BTreeSet<BlobId>,
    ) -> Result<Option<disk::Broken>, Failure> {
        let manifest = held.manifest().map_err(Failure::damaged)?;
        let sealed = held.sealed.blob.id;
        let packs = HeldPacks::new(self.blobs.clone());
        let mut missing = tokio::task::spawn_blocking(move || missing(&manifest, &packs)).await?;
        if self.blobs.held(sealed)?.is_none() {
            missing.insert(sealed);
        }
        let manifest = held.manifest().map_err(Failure::damaged)?;
        let own: BTreeSet<BlobId> = pack_ids(&manifest).into_iter().chain([sealed]).collect();
        let damaged: BTreeSet<_> = own.intersection(damaged).copied().collect();
        if missing.is_empty() && damaged.is_empty() {
            return Ok(None);
        }
        let short = |blobs: Vec<&BlobId>| blobs.into_iter().map(BlobId::short).collect();
        Ok(Some(disk::Broken {
            reference: self.name_of(team, version, held).await,
            damaged: short(damaged.iter().collect()),
            missing: short(missing.difference(&damaged).collect()),
            unreadable: Vec::new(),
            repaired: false,
            why: None,
            hint: None,
        }))
    }

    async fn name_of(&self, team: TeamId, version: VersionId, held: &HeldVersion) -> String {
        if let Some(checkpoint) = &held.checkpoint {
            return format!("checkpoint:{}", checkpoint.number);
        }
        let exact = format!("{}@{version}", held.pod);
        match self.finder.resolve(team, &exact).await {
            Ok(named) => named.reference,
            Err(_) => format!("{}@{}", held.pod, version.short()),
        }
    }

    /// Mends what is here, and pulls the rest again. A version that only this machine has can't be pulled.
    async fn repair(
        &self,
        team: TeamId,
        version: VersionId,
        held: &HeldVersion,
        wait_s: u64,
        context: &Arc<Context>,
    ) -> Result<(), Failure> {
        self.mend(held).await?;
        let is_shared = self.is_shared(team, version, held).await?;
        let mut has_manifest = self.blobs.held(held.sealed.blob.id)?.is_some();
        if !has_manifest && !is_shared {
            // No announcement names the lost blob.
            self.recorder.reseal(team, held.clone()).await?;
            has_manifest = true;
        }
        if has_manifest && self.holdings.held_whole(team, version).await?.is_some() {
            return Ok(());
        }
        if !is_shared {
            return Err(bytes_gone(&self.name_of(team, version, held).await).into());
        }
        let exact = format!("{}@{version}", held.pod);
        let wanted = Wanted {
            with_manifest: true,
            ..Wanted::new(&exact, Patience::fixed(wait_s), pods::Sources::Any)
        };
        self.pull.pull(team, wanted, context).await.map(drop)
    }

    /// Holds the blobs again that this machine has whole.
    async fn mend(&self, held: &HeldVersion) -> Result<(), Failure> {
        let manifest = held.manifest().map_err(Failure::damaged)?;
        let packs = manifest.packs.iter().map(|pack| (pack.id, pack.len));
        let sealed = held.sealed.blob;
        for (blob, len) in packs.chain([(sealed.id, sealed.len)]) {
            if self.blobs.held(blob)?.is_none() && self.blobs.mend(blob, len).await? {
                self.holdings.offer_blob(blob).await?;
            }
        }
        Ok(())
    }

    async fn is_shared(
        &self,
        team: TeamId,
        version: VersionId,
        held: &HeldVersion,
    ) -> Result<bool, Failure> {
        let pod = held.pod.clone();
        let is_shared = self.node.read(move |engine| {
            let catalog = engine.catalog(&team);
            catalog.is_some_and(|catalog| catalog.version(&pod, &version).is_some())
        });
        Ok(held.checkpoint.is_none() && is_shared.await?)
    }
}

/// The packs of which this machine lacks parts that the version needs. Blocks.
fn missing(manifest: &Manifest, packs: &HeldPacks) -> BTreeSet<BlobId> {
    let lacking = |needed: &podsync_pack::NeededUnits| {
        let each = manifest.packs.iter().zip(needed);
        each.filter(|(pack, units)| !packs.holds(pack.id, **units))
            .map(|(pack, _)| pack.id)
            .collect::<BTreeSet<_>>()
    };
    let Ok(tables) = table_units(manifest) else {
        return pack_ids(manifest).into_iter().collect();
    };
    let of_tables = lacking(&tables);
    if !of_tables.is_empty() {
        return of_tables;
    }
    match Version::new(manifest, packs).needed_units() {
        Ok(needed) => lacking(&needed),
        // The tables are here but can't be read, so all packs that contain them are suspect.
        Err(_) => {
            let each = manifest.packs.iter().zip(&tables);
            each.filter(|(_, units)| !units.is_empty())
                .map(|(pack, _)| pack.id)
                .collect()
        }
    }
}

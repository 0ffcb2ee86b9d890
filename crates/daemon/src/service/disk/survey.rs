//! Which versions are on this machine, and who else has them. Evictions rely on this.
//!
//! A version counts as being elsewhere if other devices say now that they hold all that is held here, or the hub
//! says that all of it is in the bucket. Earlier answers and robots don't count. Only devices with a lower id
//! count: two devices that ask each other at once must not both evict the same bytes.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use podsync_core::{BlobId, DeviceId, PodName, TeamId, VersionId, feed::BlobRef};
use podsync_store::{Blobs, Holding, Log};

use crate::{
    error::Failure,
    node::handle::Node,
    service::{
        disk::{holders::Holders, plan::Candidate, usage},
        holdings::pack_ids,
        names::DeviceNames,
    },
    versions::{HeldVersion, Versions},
};

/// How long a device or the hub may take to say what it has.
pub(crate) const PATIENCE: Duration = Duration::from_secs(15);

/// Which other devices have a blob.
#[derive(Default)]
struct HeldBy {
    names: BTreeSet<String>,
    /// Whether one of them doesn't rely on this device in turn.
    keeps: bool,
}

/// Versions on this machine, with their references and who else has them.
#[derive(Default)]
pub(crate) struct Survey {
    pub(crate) candidates: Vec<Candidate>,
    pub(crate) names: Vec<String>,
    pub(crate) pods: Vec<PodName>,
    pub(crate) elsewhere: Vec<Vec<String>>,
    pub(crate) checkpoints: BTreeSet<usize>,
    /// Why a bucket couldn't be asked.
    pub(crate) bucket_unknown: Option<String>,
}

/// What is known of a team during the survey of its versions.
#[derive(Clone, Copy)]
struct Known<'a> {
    team: TeamId,
    holdings: &'a BTreeMap<BlobId, Holding>,
    shared: &'a BTreeMap<VersionId, String>,
    elsewhere: &'a BTreeMap<BlobId, HeldBy>,
}

/// Surveys this machine.
pub(crate) struct Surveyor {
    pub(crate) device: DeviceId,
    pub(crate) node: Node,
    pub(crate) log: Log,
    pub(crate) blobs: Blobs,
    pub(crate) versions: Arc<Versions>,
    pub(crate) holders: Holders,
}

impl Surveyor {
    /// Examines every version on this machine, and asks who else has it.
    pub(crate) async fn survey(&self) -> Result<Survey, Failure> {
        let mut survey = Survey::default();
        let teams = self
            .node
            .read(|engine| engine.teams().collect::<Vec<_>>())
            .await?;
        for team in teams {
            let versions = self.versions.of_team(team);
            let mut blobs = BTreeMap::new();
            for (_, held) in &versions {
                for blob in blobs_of(held)? {
                    if let Some(holding) = self.blobs.held(blob)? {
                        blobs.insert(blob, holding);
                    }
                }
            }
            let shared = self.shared_of(team, &versions).await?;
            let elsewhere = self.elsewhere(team, &blobs).await?;
            for (version, held) in versions {
                let known = Known {
                    team,
                    holdings: &blobs,
                    shared: &shared,
                    elsewhere: &elsewhere,
                };
                self.look_at(&mut survey, version, &held, known).await?;
            }
        }
        Ok(survey)
    }

    async fn look_at(
        &self,
        survey: &mut Survey,
        version: VersionId,
        held: &HeldVersion,
        known: Known<'_>,
    ) -> Result<(), Failure> {
        let Known {
            team,
            holdings,
            shared,
            elsewhere,
        } = known;
        let log = self.log.clone();
        let (last_used, pinned) = tokio::task::spawn_blocking(move || {
            Ok::<_, Failure>((
                usage::last_use(&log, team, version)?,
                usage::is_pinned(&log, team, version)?,
            ))
        })
        .await??;
        let manifest = held.manifest().map_err(Failure::damaged)?;
        let blobs: BTreeMap<BlobId, u64> = blobs_of(held)?
            .into_iter()
            .filter_map(|blob| {
                let Holding { len, units } = *holdings.get(&blob)?;
                Some((blob, units.byte_len(len)))
            })
            .collect();
        let kept = |blob: &BlobId| elsewhere.get(blob).is_some_and(|who| who.keeps);
        let only_copy = !shared.contains_key(&version) || !blobs.keys().all(kept);
        let who: BTreeSet<String> = blobs
            .keys()
            .filter_map(|blob| elsewhere.get(blob))
            .flat_map(|holders| holders.names.iter().cloned())
            .collect();
        let name = match (&held.checkpoint, shared.get(&version)) {
            (Some(checkpoint), _) => {
                survey.checkpoints.insert(survey.candidates.len());
                format!("checkpoint:{}", checkpoint.number)
            }
            (None, Some(name)) => name.clone(),
            (None, None) => format!("{}@{}", held.pod, version.short()),
        };
        survey.candidates.push(Candidate {
            team,
            version,
            last_used_ms: last_used.unwrap_or(manifest.created_ms),
            pinned: pinned || held.checkpoint.is_some(),
            only_copy,
            blobs,
        });
        survey.names.push(name);
        survey.pods.push(held.pod.clone());
        survey.elsewhere.push(who.into_iter().collect());
        Ok(())
    }

    /// The exact references of those versions that the team's catalog lists.
    async fn shared_of(
        &self,
        team: TeamId,
        versions: &[(VersionId, HeldVersion)],
    ) -> Result<BTreeMap<VersionId, String>, Failure> {
        let asked: Vec<_> = versions
            .iter()
            .map(|(version, held)| (*version, held.pod.clone()))
            .collect();
        Ok(self
            .node
            .read(move |engine| {
                let Some(catalog) = engine.catalog(&team) else {
                    return BTreeMap::new();
                };
                let known = asked.into_iter().filter_map(|(version, pod)| {
                    let record = catalog.version(&pod, &version)?;
                    Some((version, catalog.exact_reference(record)))
                });
                known.collect()
            })
            .await?)
    }

    /// The names of the devices that say they have all that is held here of these blobs.
    async fn elsewhere(
        &self,
        team: TeamId,
        blobs: &BTreeMap<BlobId, Holding>,
    ) -> Result<BTreeMap<BlobId, HeldBy>, Failure> {
        let names = DeviceNames::read(&self.node).await?;
        let each = blobs.iter();
        let asked: Vec<BlobRef> = each
            .map(|(id, held)| BlobRef {
                id: *id,
                len: held.len,
            })
            .collect();
        let mut elsewhere: BTreeMap<BlobId, HeldBy> = BTreeMap::new();
        for (device, held) in self.holders.ask(team, &asked, PATIENCE).await?.said {
            let name = names.name(&device);
            for (blob, units) in held {
                if blobs
                    .get(&blob)
                    .is_some_and(|here| units.contains(here.units))
                {
                    let holders = elsewhere.entry(blob).or_default();
                    holders.names.insert(name.clone());
                    holders.keeps |= device < self.device;
                }
            }
        }
        Ok(elsewhere)
    }
}

fn blobs_of(held: &HeldVersion) -> Result<Vec<BlobId>, Failure> {
    let manifest = held.manifest().map_err(Failure::damaged)?;
    let mut blobs = pack_ids(&manifest);
    blobs.push(held.sealed.blob.id);
    Ok(blobs)
}

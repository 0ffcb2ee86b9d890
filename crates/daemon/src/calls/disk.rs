//! What stays on this machine: pins, the disk budget, and giving up what others have.
//!
//! A version counts as being elsewhere when other devices of the team say now that they hold all that
//! is held of it here, or the hub that all of it is in the bucket. Nobody's word of yesterday counts, and no
//! robot's. And only devices with a lower id count: two that have the same bytes and ask each other at once
//! must not both give them up.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
    time::Duration,
};

use podsync_api::{ApiError, Consent, disk, pods};
use podsync_core::{BlobId, TeamId, VersionId, feed::BlobRef};
use podsync_store::Holding;
use tokio::time::Instant;

use super::{
    robot::now_ms,
    views::{self, Found},
};
use crate::{
    daemon::Daemon,
    eviction::{self, Candidate, Plan},
    failure::Failure,
    garbage,
    server::{Context, Handle},
    uses,
    versions::HeldVersion,
};

impl Handle<disk::Pin> for Daemon {
    async fn handle(
        self: Arc<Self>,
        call: disk::Pin,
        context: Arc<Context>,
    ) -> Result<pods::Version, ApiError> {
        let team = self.team(&context).await?;
        let deadline = Instant::now() + Duration::from_secs(call.wait_s);
        let named = self
            .resolve_within(team, &call.reference, deadline, &context)
            .await?;
        let (log, version) = (self.log.clone(), named.found.version());
        tokio::task::spawn_blocking(move || uses::pin(&log, team, version, call.pinned))
            .await
            .map_err(Failure::from)?
            .map_err(Failure::from)?;
        let versions = Arc::clone(&self.versions);
        let view = self
            .node
            .read(move |engine| match (&named.found, engine.catalog(&team)) {
                (Found::Shared(record), Some(catalog)) => {
                    Some(views::shared_view(catalog, &versions, team, record))
                }
                (Found::Shared(_), None) => None,
                (Found::Private(version), _) => Some(views::private_view(&versions, team, version)),
            });
        view.await.map_err(Failure::from)?.ok_or_else(|| {
            ApiError::new(
                podsync_api::ErrorCode::NotFound,
                "this home is in that team no more",
            )
        })
    }
}

impl Handle<disk::Collect> for Daemon {
    async fn handle(
        self: Arc<Self>,
        call: disk::Collect,
        _: Arc<Context>,
    ) -> Result<disk::Collected, ApiError> {
        Ok(self.make_room(&call).await?)
    }
}

/// Who else has a blob.
#[derive(Default)]
struct Holders {
    names: BTreeSet<String>,
    /// One of them doesn't count on this device in turn.
    keeps: bool,
}

/// Versions on this machine, how they are called, and who else has them.
#[derive(Default)]
struct Survey {
    candidates: Vec<Candidate>,
    names: Vec<String>,
    elsewhere: Vec<Vec<String>>,
    checkpoints: BTreeSet<usize>,
    /// Why a bucket couldn't be asked.
    bucket_unknown: Option<String>,
}

/// How long a device may take to say what it has.
const PATIENCE: Duration = Duration::from_secs(15);
/// How people are told of it.
const THE_BUCKET: &str = "the bucket";

impl Daemon {
    /// A version is used now: it is the last to be given up.
    pub(super) async fn used(&self, team: TeamId, version: VersionId) {
        let log = self.log.clone();
        let noted =
            tokio::task::spawn_blocking(move || uses::note_use(&log, team, version, now_ms()));
        if let Ok(Err(error)) = noted.await {
            tracing::warn!(%error, "when a version was used isn't kept");
        }
    }

    /// Gives up what the settings don't leave room for, beside what else goes on.
    pub(crate) fn keep_within_budget(self: &Arc<Self>) {
        let (budget, min_free) = (self.settings.disk_budget.0, self.settings.min_free.0);
        if budget == 0 && min_free == 0 {
            return;
        }
        let daemon = Arc::clone(self);
        self.tasks().spawn(async move {
            let stopping = daemon.stopping().clone();
            let request = disk::Collect::default();
            let made = stopping
                .run_until_cancelled(daemon.make_room(&request))
                .await;
            match made {
                Some(Ok(made)) if made.evicted.is_empty() => {}
                Some(Ok(made)) => tracing::info!(
                    versions = made.evicted.len(),
                    freed = made.freed,
                    "gave up what the disk budget has no room for"
                ),
                Some(Err(error)) => tracing::warn!(?error, "the disk budget was not kept"),
                None => {}
            }
        });
    }

    async fn make_room(&self, call: &disk::Collect) -> Result<disk::Collected, Failure> {
        let _turn = self.evicting.lock().await;
        let mut survey = self.survey().await?;
        let held: BTreeMap<BlobId, u64> = survey
            .candidates
            .iter()
            .flat_map(|candidate| candidate.blobs.clone())
            .collect();
        let budget = self.budget(call.budget, held.values().sum())?;
        let consent = call.consents.contains(&Consent::OnlyCopies);
        let budgeted = budget.unwrap_or(u64::MAX);
        let mut plan = eviction::plan(&survey.candidates, budgeted, consent);
        // What goes besides is never more than this plan looked at, so it is asked about once.
        if self.ask_the_bucket(&mut survey, &plan).await? {
            plan = eviction::plan(&survey.candidates, budgeted, consent);
        }
        let mut collected = told(&survey, &plan, budget);
        if call.dry_run {
            return Ok(collected);
        }
        let root = self.home.root().to_owned();
        let measured = root.clone();
        let before = tokio::task::spawn_blocking(move || on_disk(&measured)).await?;
        for (at, _) in &plan.evict {
            self.give_up(&survey.candidates[*at]).await?;
        }
        self.collect_now().await?;
        let after = tokio::task::spawn_blocking(move || on_disk(&root)).await?;
        collected.freed = before.saturating_sub(after);
        Ok(collected)
    }

    /// What may be held: the settings' budget, less where the disk has too little left.
    fn budget(&self, said: Option<u64>, held: u64) -> Result<Option<u64>, Failure> {
        let settings = &self.settings;
        let budget = said.or((settings.disk_budget.0 > 0).then_some(settings.disk_budget.0));
        let min_free = settings.min_free.0;
        if min_free == 0 {
            return Ok(budget);
        }
        let free = podsync_store::free_bytes(self.home.root())?;
        match min_free.checked_sub(free) {
            None | Some(0) => Ok(budget),
            Some(lacking) => {
                let left = held.saturating_sub(lacking);
                Ok(Some(budget.map_or(left, |budget| budget.min(left))))
            }
        }
    }

    async fn survey(&self) -> Result<Survey, Failure> {
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
                self.look_at(
                    &mut survey,
                    team,
                    version,
                    &held,
                    &blobs,
                    &shared,
                    &elsewhere,
                )
                .await?;
            }
        }
        Ok(survey)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one version, beside what is known of its team"
    )]
    async fn look_at(
        &self,
        survey: &mut Survey,
        team: TeamId,
        version: VersionId,
        held: &HeldVersion,
        holdings: &BTreeMap<BlobId, Holding>,
        shared: &BTreeMap<VersionId, String>,
        elsewhere: &BTreeMap<BlobId, Holders>,
    ) -> Result<(), Failure> {
        let log = self.log.clone();
        let (last_used, pinned) = tokio::task::spawn_blocking(move || {
            Ok::<_, Failure>((
                uses::last_use(&log, team, version)?,
                uses::is_pinned(&log, team, version)?,
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
        survey.elsewhere.push(who.into_iter().collect());
        Ok(())
    }

    /// Those of these versions that the team knows, by their exact references.
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

    /// Who else says that it has all that is held here of these blobs, by name.
    async fn elsewhere(
        &self,
        team: TeamId,
        blobs: &BTreeMap<BlobId, Holding>,
    ) -> Result<BTreeMap<BlobId, Holders>, Failure> {
        let names = self.node.read(super::node::device_names).await?;
        let each = blobs.iter();
        let asked: Vec<BlobRef> = each
            .map(|(id, held)| BlobRef {
                id: *id,
                len: held.len,
            })
            .collect();
        let mut elsewhere: BTreeMap<BlobId, Holders> = BTreeMap::new();
        for (device, held) in self.ask_holders(team, &asked, PATIENCE).await?.said {
            let name = names
                .get(&device)
                .cloned()
                .flatten()
                .unwrap_or_else(|| device.short());
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

    /// Of what would go but for being an only copy, asks the hub which are in the bucket. A bucket that
    /// isn't known for sure to have one is as good as none.
    async fn ask_the_bucket(&self, survey: &mut Survey, plan: &Plan) -> Result<bool, Failure> {
        let mut found = false;
        let mut silent = BTreeSet::new();
        for (at, _) in &plan.only_copies {
            let (team, version) = (survey.candidates[*at].team, survey.candidates[*at].version);
            if silent.contains(&team) {
                continue;
            }
            let Some(pod) = self.versions.get(team, version).map(|held| held.pod) else {
                continue;
            };
            match self.in_bucket(team, pod, version, PATIENCE).await? {
                Some(pods::InBucket::Whole) => {
                    survey.candidates[*at].only_copy = false;
                    survey.elsewhere[*at].push(THE_BUCKET.to_owned());
                    found = true;
                }
                Some(pods::InBucket::Unknown(why)) => {
                    silent.insert(team);
                    survey.bucket_unknown = Some(why);
                }
                Some(pods::InBucket::Missing(_) | pods::InBucket::NotYet) | None => {}
            }
        }
        Ok(found)
    }

    /// The version leaves this machine; the team still has it.
    async fn give_up(&self, candidate: &Candidate) -> Result<(), Failure> {
        let (team, version) = (candidate.team, candidate.version);
        let Some(held) = self.versions.get(team, version) else {
            return Ok(());
        };
        let _turn = self.locks.lock(team, &held.pod).await;
        let private = self.node.read(move |engine| {
            engine
                .catalog(&team)
                .is_some_and(|catalog| catalog.private_version(&version).is_some())
        });
        if private.await? {
            // Nothing is left of it: it can't be pulled again.
            self.command(podsync_core::engine::Command::ForgetPrivate { team, version })
                .await?;
        }
        let (versions, log) = (Arc::clone(&self.versions), self.log.clone());
        tokio::task::spawn_blocking(move || {
            versions.remove(team, version)?;
            garbage::end_pull(&log, team, version)?;
            uses::forget_use(&log, team, version)
        })
        .await??;
        Ok(())
    }
}

fn blobs_of(held: &HeldVersion) -> Result<Vec<BlobId>, Failure> {
    let manifest = held.manifest().map_err(Failure::damaged)?;
    let mut blobs = super::pull::pack_ids(&manifest);
    blobs.push(held.sealed.blob.id);
    Ok(blobs)
}

fn told(survey: &Survey, plan: &Plan, budget: Option<u64>) -> disk::Collected {
    let told = |(at, bytes): &(usize, u64)| disk::Evicted {
        reference: survey.names[*at].clone(),
        bytes: *bytes,
        last_used_ms: survey.candidates[*at].last_used_ms,
        elsewhere: survey.elsewhere[*at].clone(),
    };
    let pinned = plan
        .pinned
        .iter()
        .filter(|at| !survey.checkpoints.contains(at));
    disk::Collected {
        evicted: plan.evict.iter().map(told).collect(),
        before: plan.before,
        after: plan.after,
        freed: plan.before - plan.after,
        budget,
        only_copies: plan.only_copies.iter().map(told).collect(),
        pinned: pinned.count(),
        over: budget.map_or(0, |budget| plan.after.saturating_sub(budget)),
        bucket_unknown: survey.bucket_unknown.clone(),
    }
}

/// Bytes of the files under `root`. What goes away meanwhile isn't counted.
fn on_disk(root: &Path) -> u64 {
    let mut open = vec![root.to_owned()];
    let mut bytes = 0;
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(found) if found.is_dir() => open.push(entry.path()),
                Ok(found) => bytes += found.len(),
                Err(_) => {}
            }
        }
    }
    bytes
}

//! Evicts versions that others have, to keep within the disk budget.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use podsync_api::{
    Consent, disk,
    events::{Happened, VersionEvicted},
    pods,
};
use podsync_core::{BlobId, TeamId, VersionId, engine::Command};
use podsync_store::{Home, Log};

use crate::{
    clock::now_ms,
    error::Failure,
    events::team_events::TeamEvents,
    hub::sync::HubSync,
    locks::PodLocks,
    node::handle::Node,
    service::{
        disk::{
            plan::{self, Candidate, Plan},
            survey::{PATIENCE, Survey, Surveyor},
            usage,
        },
        holdings::Holdings,
    },
    settings::Settings,
    tasks::Tasks,
    versions::Versions,
};

/// The bucket's name among the holders in an answer.
const THE_BUCKET: &str = "the bucket";

/// Evicts versions.
pub(crate) struct Evictor {
    pub(crate) settings: Arc<Settings>,
    pub(crate) home: Arc<Home>,
    pub(crate) node: Node,
    pub(crate) log: Log,
    pub(crate) versions: Arc<Versions>,
    pub(crate) locks: Arc<PodLocks>,
    pub(crate) holdings: Holdings,
    pub(crate) surveyor: Surveyor,
    pub(crate) hubs: Arc<HubSync>,
    pub(crate) team_events: TeamEvents,
    pub(crate) tasks: Tasks,
    /// One eviction at a time.
    pub(crate) turn: tokio::sync::Mutex<()>,
}

impl Evictor {
    /// Records that a version is used now, so that it is evicted last.
    pub(crate) async fn used(&self, team: TeamId, version: VersionId) {
        let log = self.log.clone();
        let noted =
            tokio::task::spawn_blocking(move || usage::note_use(&log, team, version, now_ms()));
        if let Ok(Err(error)) = noted.await {
            tracing::warn!(%error, "podsync could not note when a version was used");
        }
    }

    /// Evicts what exceeds the settings' budget, in the background.
    pub(crate) fn keep_within_budget(self: &Arc<Self>) {
        let (budget, min_free) = (self.settings.disk_budget.0, self.settings.min_free.0);
        if budget == 0 && min_free == 0 {
            return;
        }
        let evictor = Arc::clone(self);
        self.tasks.spawn(async move {
            let stopping = evictor.tasks.stopping().clone();
            let request = disk::Collect::default();
            let made = stopping
                .run_until_cancelled(evictor.make_room(&request))
                .await;
            match made {
                Some(Ok(made)) if made.evicted.is_empty() => {}
                Some(Ok(made)) => tracing::info!(
                    versions = made.evicted.len(),
                    freed = made.freed,
                    "evicted versions that the disk budget has no room for"
                ),
                Some(Err(error)) => {
                    tracing::warn!(?error, "podsync could not keep to the disk budget")
                }
                None => {}
            }
        });
    }

    pub(crate) async fn make_room(&self, call: &disk::Collect) -> Result<disk::Collected, Failure> {
        let _turn = self.turn.lock().await;
        let mut survey = self.surveyor.survey().await?;
        let held: BTreeMap<BlobId, u64> = survey
            .candidates
            .iter()
            .flat_map(|candidate| candidate.blobs.clone())
            .collect();
        let budget = self.budget(call.budget, held.values().sum())?;
        let consent = call.consents.contains(&Consent::OnlyCopies);
        let budgeted = budget.unwrap_or(u64::MAX);
        let mut plan = plan::plan(&survey.candidates, budgeted, consent);
        // Later evictions never go beyond what this plan looked at, so the hub is asked only once.
        if self.ask_the_bucket(&mut survey, &plan).await? {
            plan = plan::plan(&survey.candidates, budgeted, consent);
        }
        let mut collected = collected(&survey, &plan, budget);
        if call.dry_run {
            return Ok(collected);
        }
        let root = self.home.root().to_owned();
        let measured = root.clone();
        let before = tokio::task::spawn_blocking(move || on_disk(&measured)).await?;
        for ((at, _), evicted) in plan.evict.iter().zip(&collected.evicted) {
            self.give_up(&survey.candidates[*at], evicted).await?;
        }
        self.holdings.collect_now().await?;
        let after = tokio::task::spawn_blocking(move || on_disk(&root)).await?;
        collected.freed = before.saturating_sub(after);
        Ok(collected)
    }

    /// Returns what is here, and a plan that evicts all that may be evicted. Evicts nothing.
    pub(crate) async fn look(&self) -> Result<(Survey, Plan), Failure> {
        let mut survey = self.surveyor.survey().await?;
        let mut plan = plan::plan(&survey.candidates, 0, false);
        if self.ask_the_bucket(&mut survey, &plan).await? {
            plan = plan::plan(&survey.candidates, 0, false);
        }
        Ok((survey, plan))
    }

    /// Free bytes on the disk.
    pub(crate) fn free(&self) -> Result<u64, Failure> {
        Ok(podsync_store::free_bytes(self.home.root())?)
    }

    /// Bytes that may be held: the settings' budget, or less if the disk has too little free space.
    fn budget(&self, said: Option<u64>, held: u64) -> Result<Option<u64>, Failure> {
        let settings = &self.settings;
        let budget = said.or(settings.budget());
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

    /// Asks the hub which of the only copies in the plan are in the bucket. A version counts as there only if the
    /// hub confirms it.
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
            match self.hubs.in_bucket(team, pod, version, PATIENCE).await? {
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

    /// Removes the version from this machine. The team still has it.
    async fn give_up(&self, candidate: &Candidate, evicted: &disk::Evicted) -> Result<(), Failure> {
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
            // No copy of the version is left, so it can't be pulled again.
            let forget = Command::ForgetPrivate { team, version };
            self.node.command(forget).await??;
        }
        self.holdings.forget(team, version).await?;
        let log = self.log.clone();
        tokio::task::spawn_blocking(move || usage::forget_use(&log, team, version)).await??;
        let told = |name| {
            Happened::Eviction(VersionEvicted {
                team: name,
                pod: held.pod.clone(),
                reference: evicted.reference.clone(),
                version,
                bytes: evicted.bytes,
                elsewhere: evicted.elsewhere.clone(),
            })
        };
        self.team_events.publish(team, told).await;
        Ok(())
    }
}

fn collected(survey: &Survey, plan: &Plan, budget: Option<u64>) -> disk::Collected {
    let evicted = |(at, bytes): &(usize, u64)| disk::Evicted {
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
        evicted: plan.evict.iter().map(evicted).collect(),
        before: plan.before,
        after: plan.after,
        freed: plan.before - plan.after,
        budget,
        only_copies: plan.only_copies.iter().map(evicted).collect(),
        pinned: pinned.count(),
        over: budget.map_or(0, |budget| plan.after.saturating_sub(budget)),
        bucket_unknown: survey.bucket_unknown.clone(),
    }
}

/// Bytes of the files under `root`. Files that disappear meanwhile aren't counted.
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

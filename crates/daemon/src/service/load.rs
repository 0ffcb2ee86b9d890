//! Load: loads a version into a running emulator, after a checkpoint of its state. `undo` loads that back.

pub(crate) mod checkpoint;
pub(crate) mod clean;
pub(crate) mod fitting;
pub(crate) mod forecast;
pub(crate) mod last;
pub(crate) mod post;
pub(crate) mod signers;

use std::{collections::BTreeSet, sync::Arc};

use podsync_api::{
    ApiError, Consent, ErrorCode,
    events::{Happened, VersionLoaded},
    pods,
};
use podsync_core::{DeviceId, TeamId};
use podsync_instance::{Instance, LoadReport, Merge, ParseMergeError};
use podsync_store::Blobs;

use crate::{
    call::{Context, Handle},
    emulator::connect,
    error::Failure,
    events::team_events::TeamEvents,
    node::handle::Node,
    persisted::Persisted,
    service::{
        choose::team_of,
        disk::evictor::Evictor,
        find::Patience,
        follow::list::Follows,
        holdings::{Holdings, pack_ids},
        load::{
            checkpoint::{Checkpoints, checkpoint_reference, identity},
            clean::CleanStates,
            fitting::Part,
            last::{Before, LastLoads},
            post::{StateLoad, post},
            signers::Signers,
        },
        pull::{Pull, Wanted},
    },
    versions::{HeldVersion, Versions},
};

/// Loads versions into instances, and undoes loads.
pub(crate) struct Load {
    /// A robot's runner keeps no checkpoint and knows no signers.
    pub(crate) robot: bool,
    pub(crate) node: Node,
    pub(crate) blobs: Blobs,
    pub(crate) versions: Arc<Versions>,
    pub(crate) holdings: Holdings,
    pub(crate) pull: Arc<Pull>,
    pub(crate) signers: Signers,
    pub(crate) checkpoints: Checkpoints,
    pub(crate) last: LastLoads,
    pub(crate) clean: CleanStates,
    pub(crate) follows: Persisted<Follows>,
    pub(crate) evictor: Arc<Evictor>,
    pub(crate) team_events: TeamEvents,
}

impl Handle<pods::Load> for Load {
    async fn handle(
        self: Arc<Self>,
        call: pods::Load,
        context: Arc<Context>,
    ) -> Result<pods::Loaded, Failure> {
        let team = team_of(&self.node, &context).await?;
        self.load(team, call, Over::Anything, &context).await
    }
}

/// What a load may destroy in the instance.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// Anything: a user asked for the load, and there is a checkpoint.
    Anything,
    /// Nothing unsaved: no user is there to be asked.
    WhatIsSaved,
}

impl Load {
    pub(crate) async fn load(
        &self,
        team: TeamId,
        call: pods::Load,
        over: Over,
        context: &Arc<Context>,
    ) -> Result<pods::Loaded, Failure> {
        let merge: Merge = call.merge.parse().map_err(|error: ParseMergeError| {
            ApiError::new(ErrorCode::Invalid, error.to_string())
        })?;
        let (held, pulled, pins) = self
            .pull
            .pull_to_read(
                team,
                Wanted::new(
                    &call.reference,
                    Patience::new(call.wait_s, call.until_shared),
                    call.sources,
                ),
                context,
            )
            .await?;
        let manifest = held.manifest().map_err(Failure::damaged)?;
        fitting::loadable(&manifest, &pulled.reference)?;
        let part = fitting::part(&manifest, &call.services, merge)?;
        let signer = self
            .checked_signer(team, &pulled.reference, &call.consents)
            .await?;
        let instance = connect(&call.endpoint, call.token.as_ref()).await?;
        check_is_here(&instance, &call)?;
        fitting::fits(&manifest, &part, &instance).await?;
        let meant = instance.identity().await.map_err(Failure::from)?;
        if call.once && self.last.holds(meant.as_ref(), pulled.version).await? {
            return Ok(loaded_before(pulled));
        }
        if over == Over::WhatIsSaved {
            self.check_is_saved(team, &held, &instance, context).await?;
        }
        let optional = call.consents.contains(&Consent::WithoutCheckpoint);
        // A runner's home ends with the run, so a checkpoint for `undo` would be useless.
        let checkpoint = if self.robot {
            None
        } else {
            self.checkpoints
                .take(team, &instance, optional, context)
                .await?
        };
        fail::fail_point!("daemon::load::checkpointed");
        let what = StateLoad {
            reference: &pulled.reference,
            manifest,
            part,
            merge,
            meant: meant.as_ref(),
        };
        let report = self
            .post(team, &instance, what, context)
            .await
            .map_err(|failure| undoable(failure, checkpoint))?;
        if let Some(signer) = signer {
            self.signers.remember(team, signer).await?;
        }
        if report.failed.is_empty() {
            self.last
                .note(meant.as_ref(), pulled.version, before(&call, over, merge))
                .await?;
            self.note_clean(team, &held, &instance, context).await;
        }
        drop(pins);
        self.evictor.keep_within_budget();
        let longest_wait_ms = report.longest_wait_ms;
        let (applied, failed) = account(report);
        let loaded = pods::Loaded {
            reference: pulled.reference.clone(),
            version: pulled.version,
            pulled,
            already: false,
            applied,
            failed,
            checkpoint: checkpoint.map(checkpoint_reference),
            longest_wait_ms,
        };
        self.tell(team, &held, &call.endpoint, &loaded).await;
        Ok(loaded)
    }

    /// The device that made the version, if it is another one. An error if the user has to consent first.
    async fn checked_signer(
        &self,
        team: TeamId,
        reference: &str,
        consents: &BTreeSet<Consent>,
    ) -> Result<Option<DeviceId>, Failure> {
        let signer = self.signers.signer(team, reference).await?;
        // A runner has no record of signers: the person who gave it the token trusts the team.
        if let Some(signer) = signer
            && !self.robot
            && !consents.contains(&Consent::NewSigner)
        {
            self.signers.check(team, signer, reference).await?;
        }
        Ok(signer)
    }

    async fn post(
        &self,
        team: TeamId,
        instance: &Instance,
        what: StateLoad<'_>,
        context: &Arc<Context>,
    ) -> Result<LoadReport, Failure> {
        let named = pack_ids(&what.manifest);
        let loaded = post(&self.blobs, instance, what, context).await;
        self.holdings.doubting(team, named, loaded).await
    }
}

fn check_is_here(instance: &Instance, call: &pods::Load) -> Result<(), Failure> {
    if instance.is_loopback() || call.consents.contains(&Consent::Remote) {
        return Ok(());
    }
    let text = format!(
        "{} is not on this machine, and an emulator there would run what is in the state",
        call.endpoint
    );
    Err(ApiError::unconfirmed(Consent::Remote, text).into())
}

/// What this load does to what was loaded before it. A follower's new version takes the place of its last one.
fn before(call: &pods::Load, over: Over, merge: Merge) -> Before {
    match call.once && over == Over::Anything && merge != Merge::Overwrite {
        true => Before::Stays,
        false => Before::Ends,
    }
}

/// The version is in this run of the instance already.
fn loaded_before(pulled: pods::Pulled) -> pods::Loaded {
    pods::Loaded {
        reference: pulled.reference.clone(),
        version: pulled.version,
        pulled,
        already: true,
        applied: Vec::new(),
        failed: Vec::new(),
        checkpoint: None,
        longest_wait_ms: None,
    }
}

impl Handle<pods::Undo> for Load {
    async fn handle(
        self: Arc<Self>,
        call: pods::Undo,
        context: Arc<Context>,
    ) -> Result<pods::Undone, Failure> {
        let instance = connect(&call.endpoint, call.token.as_ref()).await?;
        let identity = identity(&instance).await;
        let newest = self.versions.checkpoints(&identity).pop();
        let Some((team, id, checkpoint)) = newest else {
            return Err(ApiError::new(
                ErrorCode::NotFound,
                format!(
                    "there is no checkpoint of the instance at {}",
                    call.endpoint
                ),
            )
            .hint("a checkpoint belongs to one run of an instance: podsync can't use it after a restart")
            .into());
        };
        let held = self.versions.get(team, id).ok_or_else(|| {
            ApiError::new(ErrorCode::NotFound, "the checkpoint was dropped meanwhile")
        })?;
        let manifest = held.manifest().map_err(Failure::damaged)?;
        let meant = instance.identity().await.map_err(Failure::from)?;
        self.last.forget(meant.as_ref()).await?;
        let reference = checkpoint_reference(checkpoint.number);
        let what = StateLoad {
            reference: &reference,
            part: Part::all(),
            manifest,
            merge: Merge::Overwrite,
            meant: meant.as_ref(),
        };
        let report = post(&self.blobs, &instance, what, &context).await?;
        let (applied, failed) = account(report);
        if failed.is_empty() {
            // Removes the used checkpoint: the next undo goes one further back.
            let versions = Arc::clone(&self.versions);
            tokio::task::spawn_blocking(move || versions.remove(team, id))
                .await
                .map_err(Failure::from)?
                .map_err(Failure::from)?;
        }
        let undone = pods::Undone {
            checkpoint: reference,
            applied,
            failed,
        };
        self.tell_of_undo(team, &held, &call.endpoint, &undone)
            .await;
        Ok(undone)
    }
}

impl Load {
    /// Refuses if the instance holds changes that are neither from podsync nor saved.
    async fn check_is_saved(
        &self,
        team: TeamId,
        held: &HeldVersion,
        instance: &Instance,
        context: &Arc<Context>,
    ) -> Result<(), Failure> {
        let content = self
            .checkpoints
            .content_of(team, &held.pod, instance, context)
            .await?;
        let Some(content) = content else {
            return Ok(());
        };
        let run = instance.identity().await?;
        if self.clean.of(run.as_ref()).await? == Some(content) {
            return Ok(());
        }
        for (_, version) in self.versions.of_team(team) {
            let manifest = version.manifest().map_err(Failure::damaged)?;
            if version.checkpoint.is_none() && manifest.content == content {
                return Ok(());
            }
        }
        let text = format!(
            "the instance at {} holds changes that are not saved",
            instance.endpoint()
        );
        Err(ApiError::new(ErrorCode::Unconfirmed, text)
            .hint("save them with `podsync save NAME`, or load the version yourself")
            .into())
    }

    /// Records what the instance holds now, if a followed pod is loaded into it.
    async fn note_clean(
        &self,
        team: TeamId,
        held: &HeldVersion,
        instance: &Instance,
        context: &Arc<Context>,
    ) {
        if !self
            .follows
            .get()
            .is_ok_and(|list| list.leads_to(instance.endpoint()))
        {
            return;
        }
        let noted = async {
            let content = self
                .checkpoints
                .content_of(team, &held.pod, instance, context)
                .await?;
            let run = instance.identity().await?;
            match content {
                Some(content) => self.clean.note(run.as_ref(), content).await,
                None => Ok(()),
            }
        };
        if let Err(failure) = noted.await {
            let failure: Failure = failure;
            tracing::warn!(error = %failure.api(), "what is in the instance counts as changed");
        }
    }

    async fn tell(&self, team: TeamId, held: &HeldVersion, endpoint: &str, loaded: &pods::Loaded) {
        let told = |name| {
            Happened::Loaded(VersionLoaded {
                team: name,
                pod: held.pod.clone(),
                reference: loaded.reference.clone(),
                version: loaded.version,
                author: loaded.pulled.author.clone(),
                endpoint: endpoint.to_owned(),
                applied: loaded.applied.clone(),
                failed: loaded.failed.clone(),
                checkpoint: loaded.checkpoint.clone(),
            })
        };
        self.team_events.publish(team, told).await;
    }

    async fn tell_of_undo(
        &self,
        team: TeamId,
        held: &HeldVersion,
        endpoint: &str,
        undone: &pods::Undone,
    ) {
        let told = |name| {
            Happened::Loaded(VersionLoaded {
                team: name,
                pod: held.pod.clone(),
                reference: undone.checkpoint.clone(),
                version: held.id(),
                author: "you".to_owned(),
                endpoint: endpoint.to_owned(),
                applied: undone.applied.clone(),
                failed: undone.failed.clone(),
                checkpoint: None,
            })
        };
        self.team_events.publish(team, told).await;
    }
}

fn undoable(failure: Failure, checkpoint: Option<u64>) -> ApiError {
    let mut error = ApiError::from(failure);
    if checkpoint.is_some() {
        // Errors of the `instance` crate have their own hint, which mentions undo if that helps.
        error
            .hint
            .get_or_insert_with(|| "`podsync undo` puts back what was there before".to_owned());
    }
    error
}

fn account(report: LoadReport) -> (Vec<String>, Vec<(String, String)>) {
    let applied = report.applied.iter().map(ToString::to_string).collect();
    let failed = report
        .failed
        .into_iter()
        .map(|event| {
            (
                event.service.to_string(),
                event.failure.unwrap_or_else(|| "in part".to_owned()),
            )
        })
        .collect();
    (applied, failed)
}

//! Load: a version into a running emulator, with what was there kept; undo puts that back.

pub(crate) mod checkpoint;
pub(crate) mod fitting;
pub(crate) mod forecast;
pub(crate) mod last;
pub(crate) mod post;
pub(crate) mod signers;

use std::sync::Arc;

use podsync_api::{ApiError, Consent, ErrorCode, pods};
use podsync_instance::{LoadReport, Merge, ParseMergeError};
use podsync_store::Blobs;

use crate::{
    call::{Context, Handle},
    emulator::connect,
    error::Failure,
    node::handle::Node,
    service::{
        choose::team_of,
        disk::evictor::Evictor,
        find::Patience,
        holdings::{Holdings, pack_ids},
        load::{
            checkpoint::{Checkpoints, checkpoint_reference, identity},
            fitting::Part,
            last::LastLoads,
            post::{StateLoad, post},
            signers::Signers,
        },
        pull::{Pull, Wanted},
    },
    versions::Versions,
};

/// Loads versions into instances, and puts back what was there.
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
    pub(crate) evictor: Arc<Evictor>,
}

impl Handle<pods::Load> for Load {
    async fn handle(
        self: Arc<Self>,
        call: pods::Load,
        context: Arc<Context>,
    ) -> Result<pods::Loaded, Failure> {
        let team = team_of(&self.node, &context).await?;
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
                &context,
            )
            .await?;
        let manifest = held.manifest().map_err(Failure::damaged)?;
        fitting::loadable(&manifest, &pulled.reference)?;
        let part = fitting::part(&manifest, &call.services, merge)?;
        let signer = self.signers.signer(team, &pulled.reference).await?;
        // A runner has no memory of signers: who gave it the token trusts the team.
        if let Some(signer) = signer
            && !self.robot
            && !call.consents.contains(&Consent::NewSigner)
        {
            self.signers.check(team, signer, &pulled.reference).await?;
        }
        let instance = connect(&call.endpoint, call.token.as_ref()).await?;
        if !instance.is_loopback() && !call.consents.contains(&Consent::Remote) {
            return Err(ApiError::unconfirmed(
                Consent::Remote,
                format!(
                    "{} is not on this machine, and loading runs what is in the state there",
                    call.endpoint
                ),
            )
            .into());
        }
        fitting::fits(&manifest, &part, &instance).await?;
        let meant = instance.identity().await.map_err(Failure::from)?;
        if call.once && self.last.holds(meant.as_ref(), pulled.version).await? {
            return Ok(pods::Loaded {
                reference: pulled.reference.clone(),
                version: pulled.version,
                pulled,
                already: true,
                applied: Vec::new(),
                failed: Vec::new(),
                checkpoint: None,
            });
        }
        let optional = call.consents.contains(&Consent::WithoutCheckpoint);
        // A runner's home goes with it, and so would what it kept for `undo`.
        let checkpoint = if self.robot {
            None
        } else {
            self.checkpoints
                .take(team, &instance, optional, &context)
                .await?
        };
        fail::fail_point!("daemon::load::checkpointed");
        let named = pack_ids(&manifest);
        let what = StateLoad {
            manifest,
            part,
            merge,
            meant: meant.as_ref(),
        };
        let loaded = post(&self.blobs, &instance, what, &context).await;
        let report = self
            .holdings
            .doubting(team, named, loaded)
            .await
            .map_err(|failure| undoable(failure, checkpoint))?;
        if let Some(signer) = signer {
            self.signers.remember(team, signer).await?;
        }
        if report.failed.is_empty() {
            self.last.note(meant.as_ref(), Some(pulled.version)).await?;
        }
        drop(pins);
        self.evictor.keep_within_budget();
        let (applied, failed) = account(report);
        Ok(pods::Loaded {
            reference: pulled.reference.clone(),
            version: pulled.version,
            pulled,
            already: false,
            applied,
            failed,
            checkpoint: checkpoint.map(checkpoint_reference),
        })
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
        self.last.note(meant.as_ref(), None).await?;
        let what = StateLoad {
            part: Part::all(),
            manifest,
            merge: Merge::Overwrite,
            meant: meant.as_ref(),
        };
        let report = post(&self.blobs, &instance, what, &context).await?;
        let (applied, failed) = account(report);
        if failed.is_empty() {
            // Used up: the next undo goes one further back.
            let versions = Arc::clone(&self.versions);
            tokio::task::spawn_blocking(move || versions.remove(team, id))
                .await
                .map_err(Failure::from)?
                .map_err(Failure::from)?;
        }
        Ok(pods::Undone {
            checkpoint: checkpoint_reference(checkpoint.number),
            applied,
            failed,
        })
    }
}

fn undoable(failure: Failure, checkpoint: Option<u64>) -> ApiError {
    let mut error = ApiError::from(failure);
    if checkpoint.is_some() {
        // What the instance's room says is of what became of the instance, and undo is in it where it helps.
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

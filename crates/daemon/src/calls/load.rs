//! Load: a version into a running emulator, with what was there kept; undo puts that back.

use std::{io, sync::Arc};

use bytes::Bytes;
use podsync_api::{ApiError, Consent, ErrorCode, Progress, Stage, pods};
use podsync_core::{
    TeamId,
    manifest::{Container, Manifest},
};
use podsync_instance::{Instance, LoadProgress, LoadReport, LoadRequest, Merge};
use podsync_pack::Version;
use tokio::sync::mpsc;

use super::{
    pull::pack_ids,
    save::{Packed, Taken, connect, is_newer},
};
use crate::{
    daemon::Daemon,
    failure::Failure,
    packs::HeldPacks,
    report::Meter,
    server::{Context, Handle},
    versions::{Checkpoint, HeldVersion},
};

/// Checkpoints that are kept of an instance.
const CHECKPOINTS_KEPT: usize = 3;
/// Pieces of the rebuilt state between the packs and the connection: 16 MiB with the pieces of the
/// zip writer.
const PIECES: usize = 64;
/// A piece of this length is handed on.
const PIECE_LEN: usize = 256 << 10;
/// The pod that checkpoints belong to; they are in no catalog.
const CHECKPOINT_POD: &str = "checkpoint";

impl Handle<pods::Load> for Daemon {
    async fn handle(
        self: Arc<Self>,
        call: pods::Load,
        context: Arc<Context>,
    ) -> Result<pods::Loaded, ApiError> {
        let team = self.team(&context).await?;
        let merge: Merge = call
            .merge
            .parse()
            .map_err(|error| crate::failure::with_hint(ErrorCode::Invalid, &error))?;
        let (held, pulled) = self
            .pull(team, &call.reference, call.wait_s, &context)
            .await?;
        let manifest = held.manifest().map_err(Failure::damaged)?;
        loadable(&manifest, &pulled.reference)?;
        let signer = self.signer(team, &pulled.reference).await?;
        if let Some(signer) = signer
            && !call.consents.contains(&Consent::NewSigner)
        {
            self.check_signer(team, signer, &pulled.reference).await?;
        }
        let instance = connect(&call.endpoint).await?;
        if !instance.is_loopback() && !call.consents.contains(&Consent::Remote) {
            return Err(ApiError::new(
                ErrorCode::Forbidden,
                format!(
                    "{} is not on this machine, and loading runs what is in the state there",
                    call.endpoint
                ),
            )
            .hint("--remote loads all the same")
            .consent(Consent::Remote));
        }
        fits(&manifest, &instance).await?;
        let checkpoint = self
            .checkpoint(
                team,
                &instance,
                call.consents.contains(&Consent::WithoutCheckpoint),
                &context,
            )
            .await?;
        fail::fail_point!("daemon::load::checkpointed");
        let named = pack_ids(&manifest);
        let loaded = self.load(&instance, manifest, merge, &context).await;
        let report = self
            .doubting(team, named, loaded)
            .await
            .map_err(|failure| undoable(failure, checkpoint))?;
        if let Some(signer) = signer {
            self.remember_signer(team, signer).await?;
        }
        let (applied, failed) = account(report);
        Ok(pods::Loaded {
            reference: pulled.reference.clone(),
            version: pulled.version,
            pulled,
            applied,
            failed,
            checkpoint: checkpoint.map(checkpoint_reference),
        })
    }
}

impl Handle<pods::Undo> for Daemon {
    async fn handle(
        self: Arc<Self>,
        call: pods::Undo,
        context: Arc<Context>,
    ) -> Result<pods::Undone, ApiError> {
        let instance = connect(&call.endpoint).await?;
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
            .hint(
                "a checkpoint belongs to one run of an instance: after its restart it is another",
            ));
        };
        let held = self.versions.get(team, id).ok_or_else(|| {
            ApiError::new(ErrorCode::NotFound, "the checkpoint was dropped meanwhile")
        })?;
        let manifest = held.manifest().map_err(Failure::damaged)?;
        let report = self
            .load(&instance, manifest, Merge::Overwrite, &context)
            .await?;
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

impl Daemon {
    /// Keeps what the instance holds, privately; its number.
    async fn checkpoint(
        &self,
        team: TeamId,
        instance: &Instance,
        optional: bool,
        context: &Arc<Context>,
    ) -> Result<Option<u64>, Failure> {
        let taken = match self
            .take_from(instance, &[], context)
            .await
            .map_err(ApiError::from)
        {
            Ok(taken) if taken.failed.is_empty() || optional => taken,
            Ok(taken) => return Err(incomplete(&taken).into()),
            Err(error) if optional => {
                tracing::warn!(%error, "loading without a checkpoint");
                return Ok(None);
            }
            Err(error) => return Err(error.into()),
        };
        let pod = CHECKPOINT_POD
            .parse()
            .map_err(|error: podsync_core::name::NameError| {
                ApiError::new(ErrorCode::Internal, error.to_string())
            })?;
        let _turn = self.locks.lock(team, &pod).await;
        let instance = identity(instance).await;
        let Packed::New { held, .. } = self.pack(team, &pod, taken, String::new(), context).await?
        else {
            return Err(
                ApiError::new(ErrorCode::Internal, "a checkpoint builds on nothing").into(),
            );
        };
        let number = self.versions.next_checkpoint();
        let mut kept: HeldVersion = *held;
        kept.checkpoint = Some(Checkpoint {
            number,
            instance: instance.clone(),
        });
        let versions = Arc::clone(&self.versions);
        tokio::task::spawn_blocking(move || {
            versions.put(team, kept)?;
            let all = versions.checkpoints(&instance);
            for (team, id, _) in all.iter().take(all.len().saturating_sub(CHECKPOINTS_KEPT)) {
                versions.remove(*team, *id)?;
            }
            Ok::<_, Failure>(())
        })
        .await??;
        Ok(Some(number))
    }

    /// Rebuilds the zip and posts it, piece by piece.
    async fn load(
        &self,
        instance: &Instance,
        manifest: Manifest,
        merge: Merge,
        context: &Arc<Context>,
    ) -> Result<LoadReport, Failure> {
        let packs = Arc::new(HeldPacks::new(self.blobs.clone()));
        let manifest = Arc::new(manifest);
        let len = {
            let (manifest, packs) = (Arc::clone(&manifest), Arc::clone(&packs));
            tokio::task::spawn_blocking(move || Version::new(&manifest, &*packs).zip_len())
                .await??
        };
        let (pieces, queue) = mpsc::channel(PIECES);
        let rebuild = {
            let (manifest, packs) = (Arc::clone(&manifest), packs);
            let meter = Meter::new(
                Arc::clone(context),
                Stage::Rebuilding,
                Some(manifest.state_len),
            );
            tokio::task::spawn_blocking(move || {
                let mut out = io::BufWriter::with_capacity(PIECE_LEN, Pieces(pieces));
                let done = Version::new(&manifest, &*packs).to_zip(&mut out, &meter);
                match done {
                    Ok(()) => {
                        io::Write::flush(&mut out).map_err(podsync_pack::RebuildError::Output)
                    }
                    Err(error) => {
                        // The body must end in an error, or the instance would take a short one for whole.
                        let _ = out
                            .get_ref()
                            .0
                            .blocking_send(Err(io::Error::other("rebuilding failed")));
                        Err(error)
                    }
                }
            })
        };
        let body = futures::stream::unfold(queue, |mut queue| async move {
            Some((queue.recv().await?, queue))
        });
        let request = LoadRequest {
            len,
            merge,
            saved_by: manifest.source.emulator.as_ref(),
        };
        let loaded = instance
            .load(body, request, |seen| match seen {
                LoadProgress::Sent(done) => {
                    context.report(&Progress {
                        stage: Stage::Loading,
                        done,
                        total: Some(len),
                        providers: Vec::new(),
                    });
                }
                LoadProgress::Service(event) => {
                    tracing::info!(service = %event.service, failure = ?event.failure, "loaded")
                }
            })
            .await;
        let rebuilt = rebuild.await?;
        match (loaded, rebuilt) {
            // The instance broke off, so the rebuild did: its reason is the one to tell.
            (Err(error), Ok(()) | Err(podsync_pack::RebuildError::Output(_))) => Err(error.into()),
            (_, Err(error)) => Err(error.into()),
            (Ok(report), Ok(())) => Ok(report),
        }
    }
}

/// The instance that answers, more closely than by its address where it says so.
async fn identity(instance: &Instance) -> String {
    match instance.identity().await {
        Ok(Some(identity)) => identity.as_str().to_owned(),
        Ok(None) | Err(_) => instance.endpoint().to_string(),
    }
}

fn loadable(manifest: &Manifest, reference: &str) -> Result<(), ApiError> {
    if manifest.container == Container::Zip {
        return Ok(());
    }
    Err(ApiError::new(
        ErrorCode::BadState,
        format!("{reference} is a folder or file, and no emulator's state"),
    )
    .hint(format!("`podsync export {reference} PATH` writes it")))
}

/// An older emulator can't read what a newer one wrote: said before anything is touched.
async fn fits(manifest: &Manifest, instance: &Instance) -> Result<(), Failure> {
    let Some(saved_by) = &manifest.source.emulator else {
        return Ok(());
    };
    let here = instance.environment().await?.emulator();
    if is_newer(saved_by, &here) {
        return Err(ApiError::new(
            ErrorCode::Incompatible,
            format!(
                "the state was saved by {saved_by}, and {} is the older {here}",
                instance.endpoint()
            ),
        )
        .hint(format!("start {saved_by} or newer; nothing was touched"))
        .into());
    }
    Ok(())
}

fn incomplete(taken: &Taken) -> ApiError {
    let first = taken
        .failed
        .first()
        .map_or_else(String::new, |(what, why)| format!(" ({what}: {why})"));
    ApiError::new(
        ErrorCode::Instance,
        format!("what is in the instance can't all be kept{first}; nothing was loaded"),
    )
    .hint("--without-checkpoint loads all the same")
    .consent(Consent::WithoutCheckpoint)
}

fn undoable(failure: Failure, checkpoint: Option<u64>) -> ApiError {
    let mut error = ApiError::from(failure);
    if checkpoint.is_some() {
        error.hint = Some("`podsync undo` puts back what was there before".to_owned());
    }
    error
}

fn checkpoint_reference(number: u64) -> String {
    format!("{CHECKPOINT_POD}:+{number}")
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

/// Hands what is written on as pieces of a body.
struct Pieces(mpsc::Sender<io::Result<Bytes>>);

impl io::Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .blocking_send(Ok(Bytes::copy_from_slice(bytes)))
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

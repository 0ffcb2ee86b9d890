//! Load: a version into a running emulator, with what was there kept; undo puts that back.

use std::{io, sync::Arc};

use bytes::Bytes;
use podsync_api::{ApiError, Consent, ErrorCode, Progress, Stage, pods};
use podsync_core::{TeamId, VersionId, codec::Format, manifest::Manifest};
use podsync_instance::{Identity, Instance, LoadProgress, LoadReport, LoadRequest, Merge};
use podsync_pack::Version;
use podsync_store::{Key, Namespace, Record};
use serde::{Deserialize, Serialize};
use tokio::sync::mpsc;

use super::{
    fitting::{self, Part},
    pull::{Asked, pack_ids},
    save::Packed,
    take::{Taken, connect},
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
        let (held, pulled, pins) = self
            .pull_to_read(
                team,
                Asked::new(&call.reference, call.wait_s, call.sources),
                &context,
            )
            .await?;
        let manifest = held.manifest().map_err(Failure::damaged)?;
        fitting::loadable(&manifest, &pulled.reference)?;
        let part = fitting::part(&manifest, &call.services, merge)?;
        let signer = self.signer(team, &pulled.reference).await?;
        // A runner has no memory of signers: who gave it the token trusts the team.
        if let Some(signer) = signer
            && !self.robot
            && !call.consents.contains(&Consent::NewSigner)
        {
            self.check_signer(team, signer, &pulled.reference).await?;
        }
        let instance = connect(&call.endpoint).await?;
        if !instance.is_loopback() && !call.consents.contains(&Consent::Remote) {
            return Err(ApiError::unconfirmed(
                Consent::Remote,
                format!(
                    "{} is not on this machine, and loading runs what is in the state there",
                    call.endpoint
                ),
            ));
        }
        fitting::fits(&manifest, &part, &instance).await?;
        let meant = instance.identity().await.map_err(Failure::from)?;
        if call.once && self.holds(meant.as_ref(), pulled.version).await? {
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
            self.checkpoint(team, &instance, optional, &context).await?
        };
        fail::fail_point!("daemon::load::checkpointed");
        let named = pack_ids(&manifest);
        let what = Loading {
            manifest,
            part,
            merge,
            meant: meant.as_ref(),
        };
        let loaded = self.load(&instance, what, &context).await;
        let report = self
            .doubting(team, named, loaded)
            .await
            .map_err(|failure| undoable(failure, checkpoint))?;
        if let Some(signer) = signer {
            self.remember_signer(team, signer).await?;
        }
        if report.failed.is_empty() {
            self.note_loaded(meant.as_ref(), Some(pulled.version))
                .await?;
        }
        drop(pins);
        self.keep_within_budget();
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
        let meant = instance.identity().await.map_err(Failure::from)?;
        self.note_loaded(meant.as_ref(), None).await?;
        let what = Loading {
            part: Part::all(),
            manifest,
            merge: Merge::Overwrite,
            meant: meant.as_ref(),
        };
        let report = self.load(&instance, what, &context).await?;
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

/// What goes into an instance, and how.
struct Loading<'a> {
    manifest: Manifest,
    part: Part,
    merge: Merge,
    /// The run of the instance that was looked at.
    meant: Option<&'a Identity>,
}

/// Which version a run of an instance got last.
#[derive(Debug, Serialize, Deserialize)]
struct LastLoaded {
    version: VersionId,
}

impl Format for LastLoaded {
    const NAME: &'static str = "last loaded version";
    const VERSION: u8 = 1;
    const MAX_LEN: usize = 33;
}

const LAST_LOADED: Namespace = Namespace::new("last-loaded");

impl Daemon {
    /// Whether this run of an instance got this version last. One that doesn't say which run it is
    /// got nothing.
    async fn holds(&self, run: Option<&Identity>, version: VersionId) -> Result<bool, Failure> {
        let Some(key) = run.map(last_loaded) else {
            return Ok(false);
        };
        let log = self.log.clone();
        let kept = tokio::task::spawn_blocking(move || log.get(&key)).await??;
        let last = kept.and_then(|bytes| LastLoaded::decode(&bytes).ok());
        Ok(last.is_some_and(|last| last.version == version))
    }

    async fn note_loaded(
        &self,
        run: Option<&Identity>,
        version: Option<VersionId>,
    ) -> Result<(), Failure> {
        let Some(key) = run.map(last_loaded) else {
            return Ok(());
        };
        let log = self.log.clone();
        tokio::task::spawn_blocking(move || {
            // One run is asked about at a time: the notes of the others make room for it.
            let others = log.settings(LAST_LOADED)?;
            let mut records = others
                .map(|row| row.map(|(name, _)| Record::delete(setting(name))))
                .collect::<Result<Vec<_>, _>>()?;
            records.push(match version {
                Some(version) => Record::put(key, LastLoaded { version }.encode()),
                None => Record::delete(key),
            });
            log.commit(&records)
        })
        .await??;
        Ok(())
    }

    /// Keeps what the instance holds, privately; its number. None where that failed and needn't work.
    async fn checkpoint(
        &self,
        team: TeamId,
        instance: &Instance,
        optional: bool,
        context: &Arc<Context>,
    ) -> Result<Option<u64>, Failure> {
        match self.keep(team, instance, optional, context).await {
            Ok(number) => Ok(Some(number)),
            Err(failure) => {
                let error = ApiError::from(failure);
                if !optional || error.code == ErrorCode::Cancelled {
                    return Err(error.into());
                }
                tracing::warn!(%error, "loading without a checkpoint");
                Ok(None)
            }
        }
    }

    async fn keep(
        &self,
        team: TeamId,
        instance: &Instance,
        in_part: bool,
        context: &Arc<Context>,
    ) -> Result<u64, Failure> {
        let taken = self.take_from(instance, &[]).await?;
        if !taken.failed.is_empty() && !in_part {
            return Err(incomplete(&taken).into());
        }
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
        Ok(number)
    }

    /// Rebuilds the zip and posts it, piece by piece.
    async fn load(
        &self,
        instance: &Instance,
        what: Loading<'_>,
        context: &Arc<Context>,
    ) -> Result<LoadReport, Failure> {
        let Loading {
            manifest,
            part,
            merge,
            meant,
        } = what;
        let part = Arc::new(part);
        let packs = Arc::new(HeldPacks::new(self.blobs.clone()));
        let manifest = Arc::new(manifest);
        let len = {
            let (manifest, packs) = (Arc::clone(&manifest), Arc::clone(&packs));
            let part = Arc::clone(&part);
            tokio::task::spawn_blocking(move || {
                Version::new(&manifest, &*packs).part_zip_len(&|name| part.holds(name))
            })
            .await??
        };
        let (pieces, queue) = mpsc::channel(PIECES);
        let rebuild = {
            let (manifest, part) = (Arc::clone(&manifest), Arc::clone(&part));
            let meter = Meter::new(
                Arc::clone(context),
                Stage::Rebuilding,
                Some(manifest.state_len),
            );
            tokio::task::spawn_blocking(move || {
                let mut out = io::BufWriter::with_capacity(PIECE_LEN, Pieces(pieces));
                let version = Version::new(&manifest, &*packs);
                let done = version.part_to_zip(&|name| part.holds(name), &mut out, &meter);
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
            meant,
        };
        let mut sent = 0;
        let loaded = instance
            .load(body, request, |seen| match seen {
                LoadProgress::Sent(done) => {
                    sent = done;
                    context.report(&Progress::new(Stage::Loading, done, Some(len)));
                }
                // The zip's list names every service of the state, so an instance may tell of those
                // of which nothing was sent.
                LoadProgress::Service(event)
                    if event.failure.is_none() && !part.names(event.service.as_str()) => {}
                LoadProgress::Service(event) => {
                    tracing::info!(service = %event.service, failure = ?event.failure, "loaded");
                    context.report(&Progress {
                        service: Some((event.service.to_string(), event.failure)),
                        ..Progress::new(Stage::Loading, sent, Some(len))
                    });
                }
            })
            .await;
        let rebuilt = rebuild.await?;
        match (loaded, rebuilt) {
            // The instance broke off, so the rebuild did: its reason is the one to tell.
            (Err(error), Ok(()) | Err(podsync_pack::RebuildError::Output(_))) => Err(error.into()),
            (_, Err(error)) => Err(error.into()),
            (Ok(mut report), Ok(())) => {
                report
                    .applied
                    .retain(|service| part.names(service.as_str()));
                Ok(report)
            }
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

fn incomplete(taken: &Taken) -> ApiError {
    let first = taken
        .failed
        .first()
        .map_or_else(String::new, |(what, why)| format!(" ({what}: {why})"));
    ApiError::unconfirmed(
        Consent::WithoutCheckpoint,
        format!("what is in the instance can't all be kept{first}; nothing was loaded"),
    )
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

fn last_loaded(run: &Identity) -> Key {
    setting(run.as_str().as_bytes().to_vec())
}

fn setting(key: Vec<u8>) -> Key {
    Key::Setting {
        namespace: LAST_LOADED,
        key,
    }
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
    /// Takes no more than a piece at once: large writes pass by the buffer before this.
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let bytes = bytes.get(..PIECE_LEN).unwrap_or(bytes);
        self.0
            .blocking_send(Ok(Bytes::copy_from_slice(bytes)))
            .map_err(|_| io::Error::from(io::ErrorKind::BrokenPipe))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

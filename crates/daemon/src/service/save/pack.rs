//! Packs a captured state into a version. Its bytes are durable, and it isn't listed anywhere yet.

use std::{
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use podsync_api::{ApiError, ErrorCode, Stage};
use podsync_core::{
    BlobId, ContentHash, PodName, TeamId, VersionId,
    feed::BlobRef,
    manifest::{Manifest, Source as Origin},
    seal::SALT_LEN,
};
use podsync_pack::{Base, ChunkIndex, SaveOptions, SaveStats, Saved, SavedState};
use podsync_store::{Blobs, Home};
use tokio_util::sync::DropGuard;

use crate::{
    call::Context,
    clock::now_ms,
    error::Failure,
    meter::Meter,
    node::handle::Node,
    packs::{HeldPacks, NewPacks},
    service::{
        holdings::Holdings,
        save::capture::{Captured, Capturer, Incoming, receive_beside},
    },
    tasks::Tasks,
    versions::{HeldVersion, Sealed, Versions},
};

/// Most earlier versions in whose chunks a save looks for duplicates. The index takes 12 bytes a chunk.
const MAX_BASES: usize = 4;
/// A shorter save shows no total, so its folder is not walked.
const MEASURED_AFTER: Duration = Duration::from_millis(500);

/// The result of packing.
pub(crate) enum Packed {
    /// The version without its place in the catalog. It is held and not listed yet.
    New {
        held: Box<HeldVersion>,
        manifest: Box<Manifest>,
        stats: SaveStats,
    },
    Unchanged {
        version: VersionId,
    },
}

/// A state that was read, with the parts that aren't recorded yet.
struct Drafted {
    parents: Vec<VersionId>,
    origin: Origin,
    content: ContentHash,
    /// `None` if the first parent has exactly this state.
    new: Option<(SavedState, NewPacks)>,
}

/// Packs states.
#[derive(Clone)]
pub(crate) struct Packer {
    pub(crate) home: Arc<Home>,
    pub(crate) blobs: Blobs,
    pub(crate) versions: Arc<Versions>,
    pub(crate) holdings: Holdings,
    pub(crate) recorder: Recorder,
    pub(crate) tasks: Tasks,
}

/// Records that a version is held. Its packs must be held already.
#[derive(Clone)]
pub(crate) struct Recorder {
    pub(crate) node: Node,
    pub(crate) blobs: Blobs,
    pub(crate) versions: Arc<Versions>,
}

impl Recorder {
    pub(crate) async fn record(
        &self,
        team: TeamId,
        manifest: &Manifest,
        own_packs: Vec<BlobId>,
    ) -> Result<HeldVersion, Failure> {
        let (plain, _) = sound_version(manifest)?;
        let sealed = seal_manifest(&self.node, &self.blobs, team, &plain).await?;
        let held = HeldVersion::new(manifest.pod.clone(), sealed, plain, own_packs);
        self.put(team, held).await
    }

    /// Seals the manifest of a held version to the current team key. Whoever shares the version announces this blob.
    pub(crate) async fn reseal(
        &self,
        team: TeamId,
        mut held: HeldVersion,
    ) -> Result<HeldVersion, Failure> {
        held.sealed = seal_manifest(&self.node, &self.blobs, team, held.plain_manifest()).await?;
        self.put(team, held).await
    }

    async fn put(&self, team: TeamId, held: HeldVersion) -> Result<HeldVersion, Failure> {
        let (versions, recorded) = (Arc::clone(&self.versions), held.clone());
        tokio::task::spawn_blocking(move || versions.put(team, recorded)).await??;
        Ok(held)
    }
}

impl Packer {
    /// Chunks, compresses and seals what the store lacks. The manifest is durable when this returns.
    pub(crate) async fn pack(
        &self,
        team: TeamId,
        pod: &PodName,
        captured: Captured,
        message: String,
        context: &Arc<Context>,
    ) -> Result<Packed, Failure> {
        let drafted = self.draft(team, pod, captured, context).await?;
        let Some((state, sink)) = drafted.new else {
            let version = drafted.parents.first().copied();
            let version = version
                .ok_or_else(|| ApiError::new(ErrorCode::Internal, "unchanged from nothing"))?;
            return Ok(Packed::Unchanged { version });
        };
        let stats = state.stats;
        let own_packs = state.written.clone();
        let manifest = manifest(pod.clone(), drafted.parents, message, drafted.origin, state);
        let recorded = self.recorder.record(team, &manifest, own_packs).await;
        let held = sink.kept_if(recorded).await?;
        Ok(Packed::New {
            held: Box::new(held),
            manifest: Box::new(manifest),
            stats,
        })
    }

    /// The content id of a state. Stores nothing.
    pub(crate) async fn content_of(
        &self,
        team: TeamId,
        pod: &PodName,
        captured: Captured,
        context: &Arc<Context>,
    ) -> Result<ContentHash, Failure> {
        let drafted = self.draft(team, pod, captured, context).await?;
        if let Some((_, sink)) = drafted.new {
            tokio::task::spawn_blocking(move || sink.discard()).await?;
        }
        Ok(drafted.content)
    }

    /// Reads a state as a stream, or after receiving it whole if it can't be streamed.
    async fn draft(
        &self,
        team: TeamId,
        pod: &PodName,
        captured: Captured,
        context: &Arc<Context>,
    ) -> Result<Drafted, Failure> {
        let retry = captured.incoming.as_ref().map(Incoming::retry);
        let (allow_secrets, builds_on) = (captured.allow_secrets, captured.builds_on);
        let drafted = self.draft_once(team, pod, captured, context).await;
        match (drafted, retry) {
            (Err(Failure::NeedsWholeState(_)), Some(retry)) => {
                let capturer = Capturer {
                    spool: self.home.tmp(),
                };
                let captured = Captured {
                    allow_secrets,
                    builds_on,
                    ..capturer.capture_whole(retry, context).await?
                };
                self.draft_once(team, pod, captured, context).await
            }
            (drafted, _) => drafted,
        }
    }

    async fn draft_once(
        &self,
        team: TeamId,
        pod: &PodName,
        captured: Captured,
        context: &Arc<Context>,
    ) -> Result<Drafted, Failure> {
        let bases = self.bases(team, pod, captured.builds_on)?;
        let total = captured.source.len_hint();
        let (blobs, spool) = (self.blobs.clone(), self.home.tmp());
        let meter = Meter::new(Arc::clone(context), Stage::Packing, total);
        let folder = captured.source.folder();
        let _measured = folder.map(|folder| self.measure(folder, meter.total()));
        let reader = HeldPacks::new(blobs.clone());
        let mut sink = NewPacks::new(blobs, self.tasks.clone());
        let Captured {
            source,
            origin,
            incoming,
            allow_secrets,
            ..
        } = captured;
        let muted = meter.muted();
        let packing = self.tasks.spawn_blocking(move || {
            let bases = whole(bases, &reader);
            let parents: Vec<VersionId> = bases.first().map(|(id, _)| *id).into_iter().collect();
            let manifests: Vec<_> = bases.iter().map(|(_, manifest)| manifest).collect();
            let index = ChunkIndex::new(&manifests, &reader, &spool)?;
            let base = Base {
                chunks: &index,
                packs: &reader,
            };
            let known = manifests.first().map(|manifest| manifest.content);
            let options = SaveOptions {
                spool: &spool,
                unless: known,
                allow_secrets,
            };
            let saved =
                podsync_pack::save(source, base, &mut sink, &options, &mut rand::random, &meter);
            match (saved, known) {
                // Nobody takes it any more.
                (Ok(_), _) if podsync_pack::Progress::cancelled(&meter) => {
                    sink.discard();
                    Err(Failure::from(podsync_pack::SaveError::Cancelled))
                }
                (Ok(Saved::Version(state)), _) => {
                    let content = state.content;
                    Ok((parents, content, Some((state, sink))))
                }
                (Ok(Saved::Unchanged(_)), Some(content)) => {
                    sink.discard();
                    Ok((parents, content, None))
                }
                (Ok(Saved::Unchanged(_)), None) => {
                    sink.discard();
                    let error = ApiError::new(ErrorCode::Internal, "unchanged from nothing");
                    Err(Failure::from(error))
                }
                (Err(error), _) => {
                    sink.discard();
                    Err(Failure::from(error))
                }
            }
        });
        let packed = receive_beside(incoming, packing, &muted, context).await;
        let (parents, content, new) = self.holdings.doubting(team, Vec::new(), packed).await?;
        Ok(Drafted {
            parents,
            origin,
            content,
            new,
        })
    }

    /// Finds out the size of a folder while it is packed. Dropping the guard ends that.
    fn measure(&self, folder: &Path, total: Arc<AtomicU64>) -> DropGuard {
        let stop = self.tasks.stopping().child_token();
        let (tasks, folder, stopped) = (self.tasks.clone(), folder.to_owned(), stop.clone());
        self.tasks.spawn(async move {
            let is_long = tokio::time::sleep(MEASURED_AFTER);
            if stopped.run_until_cancelled(is_long).await.is_none() {
                return;
            }
            let walk = tasks.spawn_blocking(move || {
                let len = podsync_pack::folder_len(&folder, || stopped.is_cancelled());
                total.store(len.unwrap_or_default(), Ordering::Relaxed);
            });
            // If the walk fails, the total stays unknown.
            let _ = walk.await;
        });
        stop.drop_guard()
    }

    /// Versions of the pod that are listed as held, newest first. A given parent comes before them.
    fn bases(
        &self,
        team: TeamId,
        pod: &PodName,
        builds_on: Option<VersionId>,
    ) -> Result<Vec<(VersionId, Manifest)>, Failure> {
        let mut bases = Vec::new();
        for (id, held) in self.versions.of_pod(team, pod) {
            if held.checkpoint.is_none() {
                bases.push((id, held.manifest().map_err(Failure::damaged)?));
            }
        }
        bases.sort_by_key(|(id, manifest)| {
            let is_first = Some(*id) == builds_on;
            std::cmp::Reverse((is_first, manifest.created_ms))
        });
        bases.truncate(MAX_BASES);
        Ok(bases)
    }
}

/// Seals a manifest to the current team key. Its blob is durable when this returns.
async fn seal_manifest(
    node: &Node,
    blobs: &Blobs,
    team: TeamId,
    plain: &[u8],
) -> Result<Sealed, Failure> {
    let (epoch, key) = node
        .read(move |engine| {
            engine
                .current_key(&team)
                .map(|(epoch, key)| (epoch, key.clone()))
        })
        .await?
        .ok_or(podsync_core::engine::EngineError::NoTeamKey(team))?;
    let salt: [u8; SALT_LEN] = rand::random();
    let bytes = Manifest::seal(plain, &key, salt);
    let len = bytes.len() as u64;
    let (id, pin) = blobs.put_bytes(bytes.into()).await?;
    // The record that names it follows at once, and the garbage collection reads the records before it deletes.
    drop(pin);
    Ok(Sealed {
        blob: BlobRef { id, len },
        epoch,
    })
}

/// The complete versions, which a save may build on.
fn whole(mut bases: Vec<(VersionId, Manifest)>, packs: &HeldPacks) -> Vec<(VersionId, Manifest)> {
    bases.retain(|(version, manifest)| match packs.are_whole(manifest) {
        Ok(whole) => whole,
        Err(error) => {
            tracing::warn!(version = %version.short(), %error, "not built on");
            false
        }
    });
    bases
}

/// Encodes a manifest. Fails if readers would refuse it.
pub(crate) fn sound_version(manifest: &Manifest) -> Result<(Vec<u8>, VersionId), Failure> {
    manifest.to_sound_version().map_err(|error| {
        let text = format!("the state is larger than a version may be: {error}");
        let error = ApiError::new(ErrorCode::BadState, text);
        error.hint("save fewer services, or a part of it").into()
    })
}

pub(crate) fn manifest(
    pod: PodName,
    parents: Vec<VersionId>,
    message: String,
    source: Origin,
    state: SavedState,
) -> Manifest {
    Manifest {
        pod,
        parents,
        message,
        source,
        created_ms: now_ms(),
        container: state.container,
        state_len: state.state_len,
        entry_count: state.entry_count,
        content: state.content,
        entries: state.entries,
        chunks: state.chunks,
        packs: state.packs,
    }
}

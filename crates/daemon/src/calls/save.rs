//! Save: a state becomes a private version, durable before anybody hears of it.

use std::{
    sync::Arc,
    time::{SystemTime, UNIX_EPOCH},
};

use podsync_api::{ApiError, ErrorCode, Stage, pods};
use podsync_core::{
    PodName, TeamId, VersionId,
    engine::{Answer, Command, SavePrivate},
    feed::BlobRef,
    manifest::{MAX_MESSAGE_LEN, Manifest, PACK_TARGET_LEN, Source as Origin},
    seal::SALT_LEN,
};
use podsync_pack::{Base, ChunkIndex, SaveOptions, SaveStats, Saved, SavedState};

use super::{
    take::{Coming, Taken, beside},
    team::unexpected,
};
use crate::{
    daemon::Daemon,
    failure::Failure,
    packs::{HeldPacks, NewPacks},
    report::Meter,
    server::{Context, Handle},
    versions::{HeldVersion, Sealed},
};

/// Earlier versions whose chunks a save looks up: the index costs 12 bytes a chunk of each.
const MAX_BASES: usize = 4;

/// What packing came to.
pub(super) enum Packed {
    /// All that a version is but its place in the catalog; it is held, and not listed yet.
    New {
        held: Box<HeldVersion>,
        manifest: Box<Manifest>,
        stats: SaveStats,
    },
    Unchanged {
        version: VersionId,
    },
}

impl Handle<pods::Save> for Daemon {
    async fn handle(
        self: Arc<Self>,
        call: pods::Save,
        context: Arc<Context>,
    ) -> Result<pods::Saved, ApiError> {
        let team = self.team(&context).await?;
        if call.message.len() > MAX_MESSAGE_LEN {
            return Err(ApiError::new(
                ErrorCode::Invalid,
                format!(
                    "the message has {} bytes, more than the {MAX_MESSAGE_LEN} allowed",
                    call.message.len()
                ),
            )
            .hint("say it shorter"));
        }
        tracing::Span::current().record("pod", call.pod.as_str());
        let _turn = self.locks.lock(team, &call.pod).await;
        // How much of the state is new shows only while it is read; a pack is what any change takes.
        self.home
            .ensure_room(PACK_TARGET_LEN)
            .map_err(Failure::from)?;
        let taken = self.take(&call).await?;
        let (failed, under_way) = (taken.failed.clone(), taken.under_way.clone());
        let packed = self
            .pack(team, &call.pod, taken, call.message.clone(), &context)
            .await?;
        let mut saved = match packed {
            Packed::Unchanged { version } => self.unchanged(team, version).await?,
            Packed::New {
                held,
                manifest,
                stats,
            } => self.list_private(team, *held, &manifest, stats).await?,
        };
        saved.failed = failed;
        saved.under_way = under_way;
        tracing::Span::current().record("version", saved.version.short());
        tracing::info!(
            unchanged = saved.unchanged,
            bytes = saved.state_len,
            "saved"
        );
        if call.share || self.settings.shares_by_itself(&call.pod) {
            let mut shared = self.share(team, &saved.reference, &context).await?;
            shared.durable = self.bring_to_bucket(team, call.durable, &context).await?;
            saved.reference.clone_from(&shared.reference);
            saved.version = shared.version;
            saved.shared = Some(shared);
        }
        self.keep_within_budget();
        Ok(saved)
    }
}

impl Daemon {
    /// Chunks, compresses and seals what the store lacks; the manifest is durable when this returns.
    pub(super) async fn pack(
        &self,
        team: TeamId,
        pod: &PodName,
        taken: Taken,
        message: String,
        context: &Arc<Context>,
    ) -> Result<Packed, Failure> {
        let again = taken.coming.as_ref().map(Coming::again);
        let packed = self
            .pack_once(team, pod, taken, message.clone(), context)
            .await;
        match (packed, again) {
            (Err(failure), Some(again)) if failure.only_whole => {
                let taken = self.take_whole(again, context).await?;
                self.pack_once(team, pod, taken, message, context).await
            }
            (packed, _) => packed,
        }
    }

    async fn pack_once(
        &self,
        team: TeamId,
        pod: &PodName,
        taken: Taken,
        message: String,
        context: &Arc<Context>,
    ) -> Result<Packed, Failure> {
        let bases = self.bases(team, pod)?;
        let total = taken.source.len_hint();
        let (blobs, spool) = (self.blobs.clone(), self.home.tmp());
        let meter = Meter::new(Arc::clone(context), Stage::Packing, total);
        let (reader, mut sink) = (HeldPacks::new(blobs.clone()), NewPacks::new(blobs.clone()));
        let Taken {
            source,
            origin,
            coming,
            ..
        } = taken;
        let hush = meter.hush();
        let packing = tokio::task::spawn_blocking(move || {
            let bases = whole(bases, &reader);
            let parents: Vec<VersionId> = bases.first().map(|(id, _)| *id).into_iter().collect();
            let manifests: Vec<_> = bases.iter().map(|(_, manifest)| manifest).collect();
            let index = ChunkIndex::new(&manifests, &reader, &spool)?;
            let base = Base {
                chunks: &index,
                packs: &reader,
            };
            let options = SaveOptions {
                spool: &spool,
                unless: manifests.first().map(|manifest| manifest.content),
            };
            let saved =
                podsync_pack::save(source, base, &mut sink, &options, &mut rand::random, &meter)?;
            Ok::<_, Failure>((saved, parents, sink))
        });
        let packed = beside(coming, packing, &hush, context).await;
        let (saved, parents, sink) = self.doubting(team, Vec::new(), packed).await?;
        let state = match saved {
            Saved::Unchanged(_) => {
                let version = parents.first().copied();
                let version = version
                    .ok_or_else(|| ApiError::new(ErrorCode::Internal, "unchanged from nothing"))?;
                return Ok(Packed::Unchanged { version });
            }
            Saved::Version(state) => state,
        };
        let own_packs = state.written.clone();
        let stats = state.stats;
        let manifest = manifest(pod.clone(), parents, message, origin, state);
        let (plain, _) = sound_version(&manifest)?;
        let sealed = self.seal_manifest(team, &plain).await?;
        let held = HeldVersion::new(pod.clone(), sealed, plain, own_packs);
        let versions = Arc::clone(&self.versions);
        let recorded = held.clone();
        tokio::task::spawn_blocking(move || versions.put(team, recorded)).await??;
        // Only now do the new packs need no pin.
        drop(sink);
        Ok(Packed::New {
            held: Box::new(held),
            manifest: Box::new(manifest),
            stats,
        })
    }

    /// Seals a manifest to the team key of now; its blob is durable when this returns.
    pub(super) async fn seal_manifest(
        &self,
        team: TeamId,
        plain: &[u8],
    ) -> Result<Sealed, Failure> {
        let (epoch, key) = self
            .node
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
        let (id, pin) = self.blobs.put_bytes(bytes.into()).await?;
        // The record that names it follows at once, and collections ask for records before they delete.
        drop(pin);
        Ok(Sealed {
            blob: BlobRef { id, len },
            epoch,
        })
    }

    /// Versions of the pod that are listed as held, newest first.
    fn bases(&self, team: TeamId, pod: &PodName) -> Result<Vec<(VersionId, Manifest)>, Failure> {
        let mut bases = Vec::new();
        for (id, held) in self.versions.of_pod(team, pod) {
            if held.checkpoint.is_none() {
                bases.push((id, held.manifest().map_err(Failure::damaged)?));
            }
        }
        bases.sort_by_key(|(_, manifest)| std::cmp::Reverse(manifest.created_ms));
        bases.truncate(MAX_BASES);
        Ok(bases)
    }

    async fn unchanged(&self, team: TeamId, version: VersionId) -> Result<pods::Saved, Failure> {
        let held = self.versions.get(team, version).ok_or_else(|| {
            ApiError::new(
                ErrorCode::NotFound,
                "the version that holds this state was dropped meanwhile",
            )
        })?;
        let manifest = held.manifest().map_err(Failure::damaged)?;
        let reference = self.reference_of(team, held.pod.clone(), version).await?;
        Ok(pods::Saved {
            reference,
            version,
            unchanged: true,
            state_len: manifest.state_len,
            entries: manifest.entry_count,
            new_len: 0,
            failed: Vec::new(),
            under_way: Vec::new(),
            shared: None,
        })
    }

    async fn reference_of(
        &self,
        team: TeamId,
        pod: PodName,
        version: VersionId,
    ) -> Result<String, Failure> {
        let text = format!("{pod}@{version}");
        Ok(self.resolve(team, &text).await?.reference)
    }

    async fn list_private(
        &self,
        team: TeamId,
        held: HeldVersion,
        manifest: &Manifest,
        stats: SaveStats,
    ) -> Result<pods::Saved, Failure> {
        fail::fail_point!("daemon::save::held");
        let command = SavePrivate {
            team,
            pod: held.pod.clone(),
            version: held.id(),
            manifest: held.sealed.blob,
            message: manifest.message.clone(),
            services: manifest.source.services.clone(),
            emulator: manifest.source.emulator.clone(),
            created_ms: manifest.created_ms,
            state_len: manifest.state_len,
            entry_count: manifest.entry_count,
        };
        let listed = self.command(Command::SavePrivate(Box::new(command))).await;
        if listed.is_err() {
            let (versions, id) = (Arc::clone(&self.versions), held.id());
            tokio::task::spawn_blocking(move || versions.remove(team, id)).await??;
        }
        match listed? {
            Answer::Saved { number, version } => Ok(pods::Saved {
                reference: format!("{}:+{number}", held.pod),
                version,
                unchanged: false,
                state_len: manifest.state_len,
                entries: manifest.entry_count,
                new_len: stats.sealed_new,
                failed: Vec::new(),
                under_way: Vec::new(),
                shared: None,
            }),
            other => Err(unexpected(&other).into()),
        }
    }
}

/// Those from which nothing is missing: what a save may build on.
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

/// A manifest's bytes, refused where no reader would take them.
pub(super) fn sound_version(manifest: &Manifest) -> Result<(Vec<u8>, VersionId), Failure> {
    manifest.to_sound_version().map_err(|error| {
        let text = format!("the state is larger than a version may be: {error}");
        let error = ApiError::new(ErrorCode::BadState, text);
        error.hint("save fewer services, or a part of it").into()
    })
}

pub(super) fn manifest(
    pod: PodName,
    parents: Vec<VersionId>,
    message: String,
    source: Origin,
    state: SavedState,
) -> Manifest {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    Manifest {
        pod,
        parents,
        message,
        source,
        created_ms: u64::try_from(now.as_millis()).unwrap_or(u64::MAX),
        container: state.container,
        state_len: state.state_len,
        entry_count: state.entry_count,
        content: state.content,
        entries: state.entries,
        chunks: state.chunks,
        packs: state.packs,
    }
}

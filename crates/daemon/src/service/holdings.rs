//! What is held on this machine. Three places have to agree on it: the store, the list of held versions and the
//! engine.

use std::{collections::BTreeSet, sync::Arc};

use podsync_core::{
    BlobId, TeamId, VersionId,
    engine::{Engine, Input},
    manifest::Manifest,
};
use podsync_store::{Blobs, Log};

use crate::{
    earlier,
    error::Failure,
    node::handle::Node,
    packs::{HeldPacks, held_inputs},
    pulls,
    versions::{HeldVersion, Versions},
};

/// A handle; clones share one home.
#[derive(Clone)]
pub(crate) struct Holdings {
    pub(crate) node: Node,
    pub(crate) log: Log,
    pub(crate) blobs: Blobs,
    pub(crate) versions: Arc<Versions>,
}

impl Holdings {
    /// A version of which no bytes are missing. Bytes that were found damaged count as missing.
    pub(crate) async fn held_whole(
        &self,
        team: TeamId,
        version: VersionId,
    ) -> Result<Option<HeldVersion>, Failure> {
        let Some(held) = self.versions.get(team, version) else {
            return Ok(None);
        };
        let manifest = held.manifest().map_err(Failure::damaged)?;
        let named = pack_ids(&manifest);
        let packs = HeldPacks::new(self.blobs.clone());
        let whole =
            tokio::task::spawn_blocking(move || packs.are_whole(&manifest).map_err(Failure::from));
        let whole = self.doubting(team, named, whole.await?).await?;
        Ok(whole.then_some(held))
    }

    /// Tells the engine which parts of a blob can be served from here.
    pub(crate) async fn offer_blob(&self, blob: BlobId) -> Result<(), Failure> {
        if let Some(holding) = self.blobs.held(blob)? {
            self.versions.note_held(blob, true);
            for input in held_inputs(blob, holding) {
                self.node.input(input).await?;
            }
        }
        Ok(())
    }

    /// Marks a damaged blob as not held.
    pub(crate) async fn doubt(&self, blob: BlobId) -> Result<(), Failure> {
        self.blobs.doubt(blob).await?;
        self.versions.note_held(blob, false);
        Ok(self.node.input(Input::Evicted { blob }).await?)
    }

    /// Marks a damaged pack as not held: it isn't served or built on, and a pull fetches it again. Does the same
    /// for the shared ones of `packs`, which were read too: more may be damaged, and the pull checks them all.
    pub(crate) async fn doubting<T>(
        &self,
        team: TeamId,
        packs: Vec<BlobId>,
        result: Result<T, Failure>,
    ) -> Result<T, Failure> {
        let (damaged, error) = match result {
            Err(Failure::DamagedPack { pack, error }) => (pack, error),
            other => return other,
        };
        let shared = self.node.read(move |engine| {
            let catalog = engine.catalog(&team);
            let packs = packs.into_iter().chain([damaged]);
            packs
                .filter(|pack| catalog.is_some_and(|catalog| catalog.is_shared(pack)))
                .collect::<BTreeSet<_>>()
        });
        let mut doubted = shared.await?;
        let error = if doubted.insert(damaged) {
            error.hint("save the state again: no other device has these bytes")
        } else {
            error
        };
        for blob in doubted {
            self.doubt(blob).await?;
        }
        Err(Failure::DamagedPack {
            pack: damaged,
            error,
        })
    }

    /// Removes a version from this machine. The next garbage collection deletes its bytes.
    pub(crate) async fn forget(&self, team: TeamId, version: VersionId) -> Result<(), Failure> {
        let (versions, log) = (Arc::clone(&self.versions), self.log.clone());
        tokio::task::spawn_blocking(move || {
            versions.remove(team, version)?;
            pulls::end_pull(&log, team, version)
        })
        .await??;
        Ok(())
    }

    /// Deletes blobs that no held version needs and nothing pins. A failure only leaves garbage.
    pub(crate) async fn collect_garbage(self) {
        match self.collect_now().await {
            Ok(0) => {}
            Ok(blobs) => tracing::info!(blobs, "deleted blobs that nothing needs any more"),
            Err(error) => tracing::warn!(
                ?error,
                "podsync could not collect garbage and tries again at the next start"
            ),
        }
    }

    /// The same, but waits for it. Returns how many blobs were deleted.
    pub(crate) async fn collect_now(&self) -> Result<usize, Failure> {
        let knows_a_team = self.node.read(|engine| engine.teams().next().is_some());
        if self.versions.are_doubtful() || !knows_a_team.await? {
            tracing::info!("the log doesn't say what the blobs here are; podsync deletes none");
            return Ok(0);
        }
        let earlier = self.of_an_earlier_log().await?;
        let (versions, log) = (Arc::clone(&self.versions), self.log.clone());
        let live = || async move {
            tokio::task::spawn_blocking(move || {
                let mut live = pulls::begun(&log)?;
                live.extend(earlier);
                live.extend(versions.blobs().map_err(Failure::damaged)?);
                Ok::<_, Failure>(live)
            })
            .await?
        };
        let dead = self.blobs.collect(live).await?;
        for blob in &dead {
            self.node.input(Input::Evicted { blob: *blob }).await?;
        }
        Ok(dead.len())
    }

    /// The blobs that an earlier log of this home may name. Those of them that are no longer in doubt are released.
    async fn of_an_earlier_log(&self) -> Result<BTreeSet<BlobId>, Failure> {
        let log = self.log.clone();
        let read = move || Ok::<_, Failure>((earlier::kept(&log)?, log.is_another_set_aside()?));
        let (mut kept, is_set_aside) = tokio::task::spawn_blocking(read).await??;
        if kept.is_empty() || is_set_aside {
            return Ok(kept);
        }
        let asked = kept.clone();
        let shared = self
            .node
            .read(move |engine| match knows_what_is_shared(engine) {
                true => shared_of(engine, asked),
                false => asked,
            });
        let shared = shared.await?;
        let needed = self.versions.blobs().map_err(Failure::damaged)?;
        let released = kept
            .extract_if(.., |blob| !shared.contains(blob) || needed.contains(blob))
            .collect::<BTreeSet<_>>();
        if !released.is_empty() {
            let log = self.log.clone();
            tokio::task::spawn_blocking(move || earlier::release(&log, &released)).await??;
        }
        Ok(kept)
    }
}

/// Whether teammates have told all that the teams of this home share.
fn knows_what_is_shared(engine: &Engine) -> bool {
    let me = engine.device();
    let mut current = engine
        .teams()
        .filter(|team| {
            let roster = engine.roster(team);
            roster.is_some_and(|roster| roster.is_member(&me))
        })
        .peekable();
    current.peek().is_some() && current.all(|team| engine.is_caught_up(&team))
}

fn shared_of(engine: &Engine, mut blobs: BTreeSet<BlobId>) -> BTreeSet<BlobId> {
    let teams = engine.teams();
    let catalogs: Vec<_> = teams.filter_map(|team| engine.catalog(&team)).collect();
    blobs.retain(|blob| catalogs.iter().any(|catalog| catalog.is_shared(blob)));
    blobs
}

pub(crate) fn pack_ids(manifest: &Manifest) -> Vec<BlobId> {
    manifest.packs.iter().map(|pack| pack.id).collect()
}

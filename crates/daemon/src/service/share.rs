//! Share: publishes private versions to the team.

use std::{collections::BTreeSet, sync::Arc};

use podsync_api::{ApiError, Consent, ErrorCode, Stage, pods};
use podsync_core::{
    BlobId, DeviceId, TeamId, VersionId,
    catalog::PrivateVersion,
    engine::{Answer, Command, EngineError, Publish},
    feed::BlobRef,
    manifest::{Manifest, PACK_TARGET_LEN},
    membership::Role,
    reference::Reference,
};
use podsync_net::Net;
use podsync_pack::{SaveOptions, Version};
use podsync_store::{Blobs, Home};

use crate::{
    call::{Context, Handle},
    error::Failure,
    hub::sync::HubSync,
    locks::PodLocks,
    meter::Meter,
    node::handle::Node,
    packs::{HeldPacks, NewPacks},
    service::{
        choose::team_of,
        find::{Finder, Found, private_reference},
        holdings::{Holdings, pack_ids},
        pull::bytes_gone,
        save::pack::Recorder,
        skew,
    },
    tasks::Tasks,
    versions::{HeldVersion, Versions},
};

/// Most tries to seal a manifest: the team key may change meanwhile, but not more often than this.
const MAX_RESEALS: usize = 5;

/// Shares versions with the team.
pub(crate) struct Share {
    pub(crate) device: DeviceId,
    pub(crate) node: Node,
    pub(crate) net: Net,
    pub(crate) home: Arc<Home>,
    pub(crate) blobs: Blobs,
    pub(crate) versions: Arc<Versions>,
    pub(crate) locks: Arc<PodLocks>,
    pub(crate) finder: Finder,
    pub(crate) holdings: Holdings,
    pub(crate) hubs: Arc<HubSync>,
    pub(crate) recorder: Recorder,
    pub(crate) tasks: Tasks,
}

impl Handle<pods::Share> for Share {
    async fn handle(
        self: Arc<Self>,
        call: pods::Share,
        context: Arc<Context>,
    ) -> Result<pods::Shared, Failure> {
        let team = team_of(&self.node, &context).await?;
        self.finder.check_is_member(team).await?;
        let reference = self.newest_private(team, &call.reference).await?;
        let found = self.finder.resolve(team, &reference).await?.found;
        let newer = self.newer_than(team, &found, &call.consents).await?;
        let turn = self.locks.lock(team, found.pod()).await;
        let mut shared = self
            .share(team, &reference, newer.is_some(), &context)
            .await?;
        shared.warnings = skew::warnings(&self.node, team).await?;
        shared.warnings.extend(newer.map(|newer| newer.warning()));
        // The upload pulls what this machine has lost of the version, and a pull takes its turn too.
        drop(turn);
        shared.durable = self
            .hubs
            .bring_to_bucket(team, call.durable, &context)
            .await
            .map_err(|failure| but_shared("Shared", &shared, failure))?;
        Ok(shared)
    }
}

/// The version is shared, though it isn't in the bucket. `done` is what was done before.
pub(crate) fn but_shared(done: &str, shared: &pods::Shared, failure: Failure) -> Failure {
    let error = ApiError::from(failure);
    ApiError {
        message: format!(
            "{done} {}, but it is not in the team's bucket yet: {}",
            shared.reference, error.message
        ),
        ..error
    }
    .into()
}

impl Share {
    /// The team's newest version, if it was saved after this one. An older state doesn't become the newest, and
    /// sharing it needs consent.
    pub(crate) async fn newer_than(
        &self,
        team: TeamId,
        found: &Found,
        consents: &BTreeSet<Consent>,
    ) -> Result<Option<Newer>, Failure> {
        let Found::Private(private) = found else {
            return Ok(None);
        };
        let (pod, created_ms) = (private.pod.clone(), private.created_ms);
        let newer = self.node.read(move |engine| {
            let catalog = engine.catalog(&team)?;
            let tips = catalog.tips(&pod).into_iter();
            let newest = tips.max_by_key(|record| record.publication.created_ms)?;
            (newest.publication.created_ms > created_ms).then(|| Newer {
                reference: catalog.exact_reference(newest),
                author: newest.author.to_string(),
            })
        });
        let newer = newer.await?;
        match &newer {
            Some(Newer { reference, author }) if !consents.contains(&Consent::OlderState) => {
                Err(ApiError::unconfirmed(
                    Consent::OlderState,
                    format!(
                        "{author} shared {reference}, which was saved after {}. It stays the newest version, and \
                         teammates get the older state only by its own number",
                        private_reference(private)
                    ),
                )
                .into())
            }
            _ => Ok(newer),
        }
    }

    /// A bare name means the newest private version, if there is one.
    async fn newest_private(&self, team: TeamId, text: &str) -> Result<String, Failure> {
        let Ok(Reference::Pod(pod)) = text.parse() else {
            return Ok(text.to_owned());
        };
        let newest = self.node.read(move |engine| {
            let versions = engine.catalog(&team)?.private_versions(&pod);
            versions.last().map(|version| private_reference(version))
        });
        Ok(newest.await?.unwrap_or_else(|| text.to_owned()))
    }

    /// Shares one version. `is_older` says that the team has a newer one. The caller holds the pod's lock.
    pub(crate) async fn share(
        &self,
        team: TeamId,
        reference: &str,
        is_older: bool,
        context: &Arc<Context>,
    ) -> Result<pods::Shared, Failure> {
        let named = self.finder.resolve(team, reference).await?;
        let private = match named.found {
            Found::Shared(record) => {
                return Ok(pods::Shared {
                    reference: named.reference,
                    version: record.version(),
                    number: record.number(),
                    already: true,
                    peers: self.net.connections().len(),
                    durable: None,
                    warnings: Vec::new(),
                });
            }
            Found::Private(private) => private,
        };
        self.may_publish(team).await?;
        let held = self.holdings.held_whole(team, private.version).await?;
        let held = held.ok_or_else(|| bytes_gone(reference))?;
        let held = self.without_private_packs(team, held, context).await?;
        fail::fail_point!("daemon::share::packs");
        let (number, version, already) = self.publish(team, held, &private, is_older).await?;
        let reference = self
            .finder
            .resolve(team, &format!("{}@{version}", private.pod))
            .await?
            .reference;
        Ok(pods::Shared {
            reference,
            version,
            number,
            already,
            peers: self.net.connections().len(),
            durable: None,
            warnings: Vec::new(),
        })
    }

    /// Refuses before any work what the engine would refuse afterwards.
    pub(crate) async fn may_publish(&self, team: TeamId) -> Result<(), Failure> {
        self.finder.check_is_member(team).await?;
        let device = self.device;
        let read = self.node.read(move |engine| {
            let membership = engine.membership(&team)?;
            let mut devices = membership.state().devices();
            let has_admin = devices.any(|record| record.role == Role::Admin);
            Some((membership.state().may_publish(&device), has_admin))
        });
        let (may, has_admin) = read.await?.unwrap_or_default();
        if may {
            return Ok(());
        }
        let next = match has_admin {
            true => "ask an admin: `podsync team role NAME publisher`",
            false => {
                "the team has no admin: `podsync team recover` makes this device one with the recovery key"
            }
        };
        Err(ApiError::new(
            ErrorCode::Forbidden,
            "this device may not share in the team: it is a reader",
        )
        .hint(next)
        .into())
    }

    /// Rewrites the version over packs without private data of other versions: its chunks in their packs are copied
    /// into new packs.
    async fn without_private_packs(
        &self,
        team: TeamId,
        held: HeldVersion,
        context: &Arc<Context>,
    ) -> Result<HeldVersion, Failure> {
        let manifest = held.manifest().map_err(Failure::damaged)?;
        let packs: Vec<BlobId> = manifest.packs.iter().map(|pack| pack.id).collect();
        let shared = self.node.read(move |engine| {
            let Some(catalog) = engine.catalog(&team) else {
                return BTreeSet::new();
            };
            packs
                .into_iter()
                .filter(|pack| catalog.is_shared(pack))
                .collect::<BTreeSet<_>>()
        });
        let shared = shared.await?;
        let foreign: BTreeSet<BlobId> = manifest
            .packs
            .iter()
            .map(|pack| pack.id)
            .filter(|pack| !shared.contains(pack) && !held.own_packs.contains(pack))
            .collect();
        if foreign.is_empty() {
            return Ok(held);
        }
        self.copy_out_of(team, held, manifest, foreign, context)
            .await
    }

    async fn copy_out_of(
        &self,
        team: TeamId,
        held: HeldVersion,
        manifest: Manifest,
        foreign: BTreeSet<BlobId>,
        context: &Arc<Context>,
    ) -> Result<HeldVersion, Failure> {
        self.home.ensure_room(PACK_TARGET_LEN)?;
        let meter = Meter::new(Arc::clone(context), Stage::Sharing, None);
        let (reader, mut sink) = (
            HeldPacks::new(self.blobs.clone()),
            NewPacks::new(self.blobs.clone(), self.tasks.clone()),
        );
        let spool = self.home.tmp();
        let named = pack_ids(&manifest);
        let rewritten = self.tasks.spawn_blocking(move || {
            let version = Version::new(&manifest, &reader);
            let options = SaveOptions {
                spool: &spool,
                unless: None,
                allow_secrets: true,
            };
            let rewritten = podsync_pack::rewrite(
                version,
                &foreign,
                &mut sink,
                &options,
                &mut rand::random,
                &meter,
            );
            let state = match rewritten {
                Ok(state) => state,
                Err(error) => {
                    sink.discard();
                    return Err(Failure::from(error));
                }
            };
            let written = state.written.clone();
            let rewritten = Manifest {
                entries: state.entries,
                chunks: state.chunks,
                packs: state.packs,
                ..manifest
            };
            Ok::<_, Failure>((rewritten, written, sink))
        });
        let (manifest, written, sink) = self
            .holdings
            .doubting(team, named, rewritten.await?)
            .await?;
        let mut own_packs = held.own_packs.clone();
        own_packs.extend(written);
        let recorded = self.recorder.record(team, &manifest, own_packs).await;
        sink.kept_if(recorded).await
    }

    /// Announces the version, with its manifest sealed to the current key.
    async fn publish(
        &self,
        team: TeamId,
        mut held: HeldVersion,
        private: &PrivateVersion,
        is_older: bool,
    ) -> Result<(u64, VersionId, bool), Failure> {
        let manifest = held.manifest().map_err(Failure::damaged)?;
        if self.blobs.held(held.sealed.blob.id)?.is_none() {
            // It was lost. Nobody else knows this private version, so a new seal is as good.
            held = self.recorder.reseal(team, held).await?;
        }
        for _ in 0..MAX_RESEALS {
            self.offer(&held, &manifest).await?;
            let command = Publish {
                team,
                pod: held.pod.clone(),
                version: held.id(),
                epoch: held.sealed.epoch,
                manifest: held.sealed.blob,
                packs: manifest
                    .packs
                    .iter()
                    .map(|pack| BlobRef {
                        id: pack.id,
                        len: pack.len,
                    })
                    .collect(),
                message: private.message.clone(),
                services: private.services.clone(),
                emulator: private.emulator.clone(),
                created_ms: private.created_ms,
                state_len: private.state_len,
                entry_count: private.entry_count,
                tags: Vec::new(),
                is_older,
                replaces: Some(private.version),
            };
            match self
                .node
                .command(Command::Publish(Box::new(command)))
                .await?
            {
                Ok(Answer::Published {
                    number,
                    version,
                    already,
                }) => {
                    if version != private.version {
                        self.forget_held(team, private.version).await?;
                    }
                    return Ok((number, version, already));
                }
                Ok(other) => return Err(Failure::unexpected(&other)),
                Err(EngineError::EpochChanged) => {
                    held = self.recorder.reseal(team, held).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
        Err(EngineError::EpochChanged.into())
    }

    /// Tells the engine which parts of the version's blobs can be served from here.
    async fn offer(&self, held: &HeldVersion, manifest: &Manifest) -> Result<(), Failure> {
        let packs = manifest.packs.iter().map(|pack| pack.id);
        for blob in packs.chain([held.sealed.blob.id]) {
            self.holdings.offer_blob(blob).await?;
        }
        Ok(())
    }

    async fn forget_held(&self, team: TeamId, version: VersionId) -> Result<(), Failure> {
        let versions: Arc<Versions> = Arc::clone(&self.versions);
        Ok(tokio::task::spawn_blocking(move || versions.remove(team, version)).await??)
    }
}

/// A team version that was saved after the one to share.
pub(crate) struct Newer {
    reference: String,
    author: String,
}

impl Newer {
    pub(crate) fn warning(&self) -> String {
        format!(
            "{}, which {} shared, was saved later and stays the newest version",
            self.reference, self.author
        )
    }
}

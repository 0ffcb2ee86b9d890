//! What a publication names, into the bucket: its packs, their outboards, then its manifest.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    sync::{Arc, Mutex, PoisonError},
};

use podsync_api::{
    ApiError, ErrorCode,
    hub::{MAX_ENTRY_OUTBOARDS, ObjectId, ObjectKind, ObjectRef, Placement, Sha256},
};
use podsync_bucket::{OutboardsBuilder, Source, Upload};
use podsync_core::{
    BlobId, TeamId,
    engine::{EngineError, Sources},
    feed::{Body, Entry, Publication},
    manifest::{Manifest, PackRef},
};
use podsync_store::{BlobReader, Blobs, StoreError};
use sha2::Digest;

use super::TeamHub;
use crate::{
    calls::Asked, daemon::Daemon, failure::Failure, server::Context, versions::HeldVersion,
};

/// Outboards objects of earlier entries that an entry names; beyond that they are made anew, as one.
const MAX_BORROWED: usize = 16;
const _: () = assert!(
    MAX_BORROWED < MAX_ENTRY_OUTBOARDS,
    "room is left for new ones"
);

/// Read of a pack at once.
const PIECE_LEN: usize = 1 << 20;

/// Where a publication's blobs lie now.
pub(super) struct Uploaded {
    /// One for each blob of the entry's header, in its order.
    pub(super) objects: Vec<Placement>,
    pub(super) outboards: Vec<ObjectRef>,
}

impl Daemon {
    pub(super) async fn upload(
        &self,
        team: TeamId,
        hub: &TeamHub,
        entry: &Arc<Entry>,
    ) -> Result<Uploaded, Failure> {
        let held = self.published(team, entry).await?;
        let manifest = held.manifest().map_err(Failure::damaged)?;
        let packs = self.packs_to_upload(team, &manifest).await?;
        let meter = Sent::new(hub, &packs);

        let placed = hub
            .client
            .upload(&packs.uploads(), |object, sent| meter.note(*object, sent))
            .await?;
        let outboards = self.upload_outboards(team, hub, &packs).await?;
        let sealed = self.read_blob(held.sealed.blob.id).await?;
        let sealed = Upload::of_bytes(ObjectKind::Manifest, sealed.into());
        let placed_manifest = hub.client.upload(&[sealed], |_, _| {}).await?;

        let mut places: BTreeMap<BlobId, Placement> = packs.known;
        for (pack, object) in packs.here.iter().zip(placed) {
            places.insert(pack.pack, placement(&object));
        }
        let manifest = placed_manifest.first().map(placement);
        let packs = entry.header().blobs.iter().skip(1);
        let objects =
            std::iter::once(manifest).chain(packs.map(|blob| places.get(&blob.id).copied()));
        let objects: Option<Vec<_>> = objects.collect();
        let objects = objects.ok_or_else(|| {
            ApiError::new(
                ErrorCode::Internal,
                "an entry names packs that its manifest doesn't",
            )
        })?;
        Ok(Uploaded { objects, outboards })
    }

    /// The version that an entry of the own feed published, whole on this machine again if it was not.
    async fn published(&self, team: TeamId, entry: &Arc<Entry>) -> Result<HeldVersion, Failure> {
        let publication = self.publication(team, entry).await?;
        if let Some(held) = self.held_whole(team, publication.version).await?
            && held.sealed.blob == entry.header().blobs[0]
        {
            return Ok(held);
        }
        let reference = format!("{}@{}", publication.pod, publication.version);
        let (held, _) = self
            .pull(
                team,
                Asked {
                    reference: &reference,
                    wait_s: 0,
                    sources: Sources::Any,
                },
                &Arc::new(Context::silent()),
            )
            .await?;
        Ok(held)
    }

    async fn publication(&self, team: TeamId, entry: &Arc<Entry>) -> Result<Publication, Failure> {
        let epoch = entry.header().epoch;
        let key = self
            .node
            .read(move |engine| engine.key(&team, &epoch).cloned())
            .await?
            .ok_or(EngineError::NoTeamKey(team))?;
        match entry.open(&key) {
            Ok(Body::Publish(publication)) => Ok(publication),
            Ok(_) | Err(_) => Err(ApiError::new(
                ErrorCode::Untrusted,
                "an entry of this device's own feed can't be read",
            )
            .hint("the disk is damaged: `podsync doctor` looks at it")
            .into()),
        }
    }

    /// The packs of which all is here, and where the others lie.
    async fn packs_to_upload(&self, team: TeamId, manifest: &Manifest) -> Result<Packs, Failure> {
        let mut packs = Packs {
            here: Vec::new(),
            known: BTreeMap::new(),
            borrowed: BTreeSet::new(),
            uncovered: Vec::new(),
            blobs: self.blobs.clone(),
        };
        for pack in &manifest.packs {
            let (places, id) = (self.hubs.places.clone(), pack.id);
            let known = tokio::task::spawn_blocking(move || places.get(team, id)).await??;
            let holding = self.blobs.held(pack.id)?;
            let is_whole = holding.is_some_and(|holding| holding.is_whole());
            let here = match (&known, is_whole) {
                (_, true) => {
                    let known = known.as_ref().map(|known| known.object().id.sha256);
                    Some(self.here(pack, known).await?)
                }
                (Some(known), false) => {
                    packs.known.insert(pack.id, placement(&known.object()));
                    None
                }
                (None, false) => return Err(not_whole(pack).into()),
            };
            match known {
                Some(known) => packs.borrowed.extend(known.outboards()),
                None => packs.uncovered.extend(here),
            }
            packs.here.extend(here);
        }
        if packs.borrowed.len() > MAX_BORROWED {
            packs.uncovered.clone_from(&packs.here);
            packs.borrowed.clear();
            // Those of which only a part is here have to lend theirs.
            for pack in manifest
                .packs
                .iter()
                .filter(|p| packs.known.contains_key(&p.id))
            {
                let (places, id) = (self.hubs.places.clone(), pack.id);
                let known = tokio::task::spawn_blocking(move || places.get(team, id)).await??;
                packs
                    .borrowed
                    .extend(known.into_iter().flat_map(|known| known.outboards()));
            }
        }
        Ok(packs)
    }

    /// A pack as the bucket is to know it. Where nobody took its SHA-256 yet, it is read for it.
    async fn here(&self, pack: &PackRef, known: Option<Sha256>) -> Result<Here, Failure> {
        let sha256 = match pack.sha256.map(Sha256::from_bytes).or(known) {
            Some(sha256) => sha256,
            None => {
                // The bucket would take damaged bytes for what they are.
                self.blobs.verify(pack.id).await?;
                let reader = self.blobs.reader(pack.id).await?;
                tokio::task::spawn_blocking(move || sha256(&reader)).await??
            }
        };
        Ok(Here {
            pack: pack.id,
            object: ObjectId {
                kind: ObjectKind::Pack,
                sha256,
                size: pack.len,
            },
        })
    }

    /// The outboards of all packs: those that lie in the bucket, and new ones of new packs.
    async fn upload_outboards(
        &self,
        _: TeamId,
        hub: &TeamHub,
        packs: &Packs,
    ) -> Result<Vec<ObjectRef>, Failure> {
        let mut builder = OutboardsBuilder::new();
        let mut built = Vec::new();
        for pack in &packs.uncovered {
            let full = builder.add(&packs.upload(pack), pack.pack).await?;
            built.extend(full);
        }
        built.extend(builder.finish());
        let uploads: Vec<_> = built.into_iter().map(|built| built.upload).collect();
        let placed = hub.client.upload(&uploads, |_, _| {}).await?;
        // A commit that finds one of them gone names it, and they are made anew.
        let mut outboards: Vec<_> = placed;
        let room = MAX_ENTRY_OUTBOARDS.saturating_sub(outboards.len());
        outboards.extend(packs.borrowed.iter().take(room));
        Ok(outboards)
    }

    async fn read_blob(&self, id: BlobId) -> Result<Vec<u8>, Failure> {
        let reader = self.blobs.reader(id).await?;
        let read = tokio::task::spawn_blocking(move || {
            let mut bytes = vec![0; usize::try_from(reader.len()).unwrap_or(0)];
            reader.read_at(0, &mut bytes)?;
            Ok::<_, Failure>(bytes)
        });
        read.await?
    }
}

/// The packs of a version.
struct Packs {
    here: Vec<Here>,
    /// Where those lie of which only a part is here.
    known: BTreeMap<BlobId, Placement>,
    /// Outboards objects of earlier entries.
    borrowed: BTreeSet<ObjectRef>,
    /// Packs that none of those covers.
    uncovered: Vec<Here>,
    blobs: Blobs,
}

/// A pack of which all is on this machine.
#[derive(Clone, Copy)]
struct Here {
    pack: BlobId,
    object: ObjectId,
}

impl Packs {
    fn uploads(&self) -> Vec<Upload> {
        self.here.iter().map(|pack| self.upload(pack)).collect()
    }

    fn upload(&self, here: &Here) -> Upload {
        Upload {
            id: here.object,
            source: held_blob(&self.blobs, here.pack),
        }
    }
}

/// A blob that is here, to be read as often as an upload takes.
pub(crate) fn held_blob(blobs: &Blobs, id: BlobId) -> Source {
    let blobs = blobs.clone();
    Source::opened_by(move || {
        let blobs = blobs.clone();
        async move {
            let reader = blobs.reader(id).await.map_err(io::Error::other)?;
            Ok(move |offset: u64, into: &mut [u8]| {
                reader.read_at(offset, into).map_err(io::Error::other)
            })
        }
    })
}

/// How much of an upload is sent.
struct Sent<'a> {
    hub: &'a TeamHub,
    total: u64,
    objects: Mutex<BTreeMap<ObjectId, u64>>,
}

impl<'a> Sent<'a> {
    fn new(hub: &'a TeamHub, packs: &Packs) -> Self {
        let total = packs.here.iter().map(|here| here.object.size).sum();
        hub.note(|standing| standing.uploading = Some((0, total)));
        Self {
            hub,
            total,
            objects: Mutex::default(),
        }
    }

    fn note(&self, object: ObjectId, sent: u64) {
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        objects.insert(object, sent);
        let sent = objects.values().sum();
        self.hub
            .note(|standing| standing.uploading = Some((sent, self.total)));
    }
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        self.hub.note(|standing| standing.uploading = None);
    }
}

fn sha256(pack: &BlobReader) -> Result<Sha256, StoreError> {
    let mut sha256 = sha2::Sha256::new();
    let mut piece = vec![0; PIECE_LEN];
    let mut offset = 0;
    while offset < pack.len() {
        let left = usize::try_from(pack.len() - offset).unwrap_or(PIECE_LEN);
        let piece = &mut piece[..left.min(PIECE_LEN)];
        pack.read_at(offset, piece)?;
        sha256.update(&*piece);
        offset += piece.len() as u64;
    }
    Ok(Sha256::from_bytes(sha256.finalize().into()))
}

fn placement(object: &ObjectRef) -> Placement {
    Placement {
        sha256: object.id.sha256,
        generation: object.generation,
    }
}

fn not_whole(pack: &PackRef) -> ApiError {
    let text = format!(
        "only a part of pack {} is on this machine, and the bucket isn't known to have it",
        pack.id.short()
    );
    ApiError::new(ErrorCode::Unreachable, text)
        .hint("it is brought by whoever shared it first, or by this device once it has all of it")
}

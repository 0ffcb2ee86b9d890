//! Uploads what a publication names: its packs, then their outboards, then its manifest.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    io,
    sync::{Arc, Mutex, PoisonError},
};

use futures::{
    StreamExt, TryStreamExt,
    stream::{self, BoxStream},
};
use podsync_api::{
    ApiError, ErrorCode,
    events::Direction,
    hub::{MAX_ENTRY_OUTBOARDS, ObjectId, ObjectKind, ObjectRef, Placement},
};
use podsync_bucket::{OutboardsBuilder, PackRead, Source, TransferError, Upload};
use podsync_core::{
    BlobId, TeamId,
    engine::{EngineError, Sources},
    feed::{BlobRef, Body, Entry, Publication},
    manifest::{Manifest, PackRef},
};
use podsync_net::Traffic;
use podsync_store::{Blobs, StoreError};

use super::Uploads;
use crate::{
    call::Context,
    error::Failure,
    events::transfers::{About, Transferring},
    hub::state::TeamHub,
    service::{find::Patience, pull::Wanted},
    versions::HeldVersion,
};

/// Most outboards objects of earlier entries that an entry names. If there are more, one new object replaces them.
const MAX_BORROWED: usize = 16;
const _: () = assert!(
    MAX_BORROWED < MAX_ENTRY_OUTBOARDS,
    "room is left for new ones"
);

/// New packs that are read at once. Hashing each takes one core.
const READ_AT_ONCE: usize = 4;

/// The places of a publication's blobs in the bucket.
pub(super) struct Uploaded {
    /// One for each blob of the entry's header, in its order.
    pub(super) objects: Vec<Placement>,
    pub(super) outboards: Vec<ObjectRef>,
}

impl Uploads {
    pub(super) async fn upload(
        &self,
        team: TeamId,
        hub: &TeamHub,
        entry: &Arc<Entry>,
    ) -> Result<Uploaded, Failure> {
        let held = self.published(team, entry).await?;
        let manifest = held.manifest().map_err(Failure::damaged)?;
        let mut packs = self.packs_to_upload(team, &manifest).await?;
        let transferring = self.transferring(team, &held).await?;
        let meter = Sent::new(hub, &packs, transferring);

        let placed = self.upload_packs(hub, &mut packs, &meter).await?;
        let outboards = self.upload_outboards(hub, &mut packs).await?;
        let sealed = self.read_blob(held.sealed.blob.id).await?;
        let sealed = Upload::of_bytes(ObjectKind::Manifest, sealed.into());
        let placed_manifest = hub.client.upload(&[sealed], |_, _| {}).await?;

        let mut places: BTreeMap<BlobId, Placement> = packs.known;
        for here in &packs.here {
            let object = placed.get(&here.object).copied();
            places.extend(object.map(|object| (here.pack, placement(&object))));
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
        meter.done();
        Ok(Uploaded { objects, outboards })
    }

    /// Sends each pack as soon as it is read. The hub hears beforehand how much it will be, and refuses all of
    /// it where it doesn't fit.
    async fn upload_packs(
        &self,
        hub: &TeamHub,
        packs: &mut Packs,
        meter: &Sent<'_>,
    ) -> Result<HashMap<ObjectId, ObjectRef>, Failure> {
        let new = std::mem::take(&mut packs.new);
        let read = Mutex::new(BTreeMap::new());
        let sent = self
            .upload_as_read(hub, packs, new.clone(), &read, meter)
            .await;
        let mut read = read.into_inner().unwrap_or_else(PoisonError::into_inner);
        let refused = match &sent {
            Err(NotUploaded::Transfer(error)) => error.is_quota() && !new.is_empty(),
            _ => false,
        };
        if refused {
            // Some of it may be there already: which, the hub can only tell by their hashes.
            let mut unread = new.clone();
            unread.retain(|pack| !read.contains_key(&pack.id));
            let looks: Vec<_> = unread.into_iter().map(|pack| self.look(pack)).collect();
            let rest: Vec<PackRead> = stream::iter(looks)
                .buffered(READ_AT_ONCE)
                .try_collect()
                .await?;
            read.extend(rest.into_iter().map(|pack| (pack.blob, pack)));
        }
        let in_order = new.iter().filter_map(|pack| read.remove(&pack.id));
        packs.read = in_order.collect();
        let here = packs.read.iter().map(Here::of);
        packs.here.extend(here);
        let placed = if refused {
            let progress = |object: &ObjectId, sent| meter.note(*object, sent);
            hub.client.upload(&packs.uploads(), progress).await?
        } else {
            sent?
        };
        Ok(placed
            .into_iter()
            .map(|object| (object.id, object))
            .collect())
    }

    async fn upload_as_read(
        &self,
        hub: &TeamHub,
        packs: &Packs,
        new: Vec<BlobRef>,
        read: &Mutex<BTreeMap<BlobId, PackRead>>,
        meter: &Sent<'_>,
    ) -> Result<Vec<ObjectRef>, NotUploaded> {
        let known = packs.uploads().into_iter().map(Ok);
        let looks: Vec<_> = new.into_iter().map(|pack| self.look(pack)).collect();
        let new = stream::iter(looks).buffered(READ_AT_ONCE).map(|pack| {
            let pack = pack.map_err(NotUploaded::Local)?;
            let upload = packs.upload(&Here::of(&pack));
            let mut read = read.lock().unwrap_or_else(PoisonError::into_inner);
            read.insert(pack.blob, pack);
            Ok(upload)
        });
        let progress = |object: &ObjectId, sent| meter.note(*object, sent);
        let uploads: BoxStream<'_, Result<Upload, NotUploaded>> =
            stream::iter(known).chain(new).boxed();
        hub.client.upload_each(uploads, meter.total, progress).await
    }

    async fn transferring(
        &self,
        team: TeamId,
        held: &HeldVersion,
    ) -> Result<Transferring, Failure> {
        let (pod, version) = (held.pod.clone(), held.id());
        let reference = self.sync.node.read(move |engine| {
            let catalog = engine.catalog(&team)?;
            Some(catalog.exact_reference(catalog.version(&pod, &version)?))
        });
        let reference = reference.await?;
        let about = About {
            direction: Direction::Upload,
            pod: held.pod.clone(),
            reference: reference.unwrap_or_else(|| format!("{}@{version}", held.pod)),
        };
        Ok(self.team_events.transfer(team, about).await)
    }

    /// The version that an entry of this device's feed published. If it isn't complete on this machine, it is
    /// fetched first.
    async fn published(&self, team: TeamId, entry: &Arc<Entry>) -> Result<HeldVersion, Failure> {
        let publication = self.publication(team, entry).await?;
        if let Some(held) = self.holdings.held_whole(team, publication.version).await?
            && held.sealed.blob == entry.header().blobs[0]
        {
            return Ok(held);
        }
        let reference = format!("{}@{}", publication.pod, publication.version);
        let (held, _) = self
            .pull
            .pull(
                team,
                Wanted {
                    reference: &reference,
                    patience: Patience::fixed(0),
                    sources: Sources::Any,
                    with_manifest: true,
                },
                &Arc::new(Context::silent()),
            )
            .await?;
        Ok(held)
    }

    async fn publication(&self, team: TeamId, entry: &Arc<Entry>) -> Result<Publication, Failure> {
        let epoch = entry.header().epoch;
        let key = self
            .sync
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

    /// Splits the packs into those that are complete here, and the places of the others.
    async fn packs_to_upload(&self, team: TeamId, manifest: &Manifest) -> Result<Packs, Failure> {
        let mut packs = Packs {
            here: Vec::new(),
            known: BTreeMap::new(),
            borrowed: BTreeSet::new(),
            new: Vec::new(),
            read: Vec::new(),
            unread: Vec::new(),
            blobs: self.holdings.blobs.clone(),
            traffic: self.sync.traffic.clone(),
        };
        for pack in &manifest.packs {
            let (places, id) = (self.sync.hubs.places.clone(), pack.id);
            let known = tokio::task::spawn_blocking(move || places.get(team, id)).await??;
            let holding = self.holdings.blobs.held(pack.id)?;
            let is_whole = holding.is_some_and(|holding| holding.is_whole());
            match (known, is_whole) {
                (Some(known), is_whole) => {
                    let object = known.object();
                    if is_whole {
                        packs.here.push(Here {
                            pack: pack.id,
                            object: object.id,
                        });
                    } else {
                        packs.known.insert(pack.id, placement(&object));
                    }
                    packs.borrowed.extend(known.outboards());
                }
                (None, true) => packs.new.push(BlobRef {
                    id: pack.id,
                    len: pack.len,
                }),
                (None, false) => return Err(not_whole(pack).into()),
            }
        }
        if packs.borrowed.len() > MAX_BORROWED {
            packs.unread.clone_from(&packs.here);
            packs.borrowed.clear();
            // The outboards of packs that are only partly here must come from earlier entries.
            for pack in manifest
                .packs
                .iter()
                .filter(|p| packs.known.contains_key(&p.id))
            {
                let (places, id) = (self.sync.hubs.places.clone(), pack.id);
                let known = tokio::task::spawn_blocking(move || places.get(team, id)).await??;
                packs
                    .borrowed
                    .extend(known.into_iter().flat_map(|known| known.outboards()));
            }
        }
        Ok(packs)
    }

    /// Reads a new pack to compute its SHA-256 and its outboard. Also checks its BLAKE3 hash, for the bucket can't
    /// notice damage.
    async fn look(&self, pack: BlobRef) -> Result<PackRead, Failure> {
        let read = PackRead::of(&held_blob(&self.holdings.blobs, pack.id), pack.len).await;
        let read = read.map_err(|error| ApiError::new(ErrorCode::Disk, error.to_string()))?;
        if read.blob == pack.id {
            Ok(read)
        } else {
            Err(StoreError::Corrupt { id: pack.id }.into())
        }
    }

    /// The outboards objects of all packs: existing ones of the bucket, and a new one for new packs.
    async fn upload_outboards(
        &self,
        hub: &TeamHub,
        packs: &mut Packs,
    ) -> Result<Vec<ObjectRef>, Failure> {
        let mut builder = OutboardsBuilder::new();
        let mut built = Vec::new();
        for read in std::mem::take(&mut packs.read) {
            built.extend(builder.add_read(read));
        }
        for pack in &packs.unread {
            built.extend(builder.add(&packs.upload(pack), pack.pack).await?);
        }
        built.extend(builder.finish());
        let uploads: Vec<_> = built.into_iter().map(|built| built.upload).collect();
        let placed = hub.client.upload(&uploads, |_, _| {}).await?;
        // If one of them is gone, the commit fails and names it. Then they are made again.
        let mut outboards: Vec<_> = placed;
        let room = MAX_ENTRY_OUTBOARDS.saturating_sub(outboards.len());
        outboards.extend(packs.borrowed.iter().take(room));
        Ok(outboards)
    }

    async fn read_blob(&self, id: BlobId) -> Result<Vec<u8>, Failure> {
        let reader = self.holdings.blobs.reader(id).await?;
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
    /// The places of packs that are only partly here.
    known: BTreeMap<BlobId, Placement>,
    /// Outboards objects of earlier entries.
    borrowed: BTreeSet<ObjectRef>,
    /// Packs that the bucket isn't known to have, until they are read.
    new: Vec<BlobRef>,
    read: Vec<PackRead>,
    /// Packs in the bucket that need new outboards.
    unread: Vec<Here>,
    blobs: Blobs,
    traffic: Traffic,
}

/// A pack that is complete on this machine.
#[derive(Clone, Copy)]
struct Here {
    pack: BlobId,
    object: ObjectId,
}

impl Here {
    fn of(read: &PackRead) -> Self {
        Self {
            pack: read.blob,
            object: read.object,
        }
    }
}

/// Why packs aren't all in the bucket.
enum NotUploaded {
    Transfer(TransferError),
    /// They can't be read here.
    Local(Failure),
}

impl From<TransferError> for NotUploaded {
    fn from(error: TransferError) -> Self {
        Self::Transfer(error)
    }
}

impl From<NotUploaded> for Failure {
    fn from(not_uploaded: NotUploaded) -> Self {
        match not_uploaded {
            NotUploaded::Transfer(error) => error.into(),
            NotUploaded::Local(failure) => failure,
        }
    }
}

impl Packs {
    fn uploads(&self) -> Vec<Upload> {
        self.here.iter().map(|pack| self.upload(pack)).collect()
    }

    fn upload(&self, here: &Here) -> Upload {
        Upload {
            id: here.object,
            source: sent_blob(&self.blobs, here.pack, &self.traffic),
        }
    }
}

/// A blob on this machine. An upload may read it several times.
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

/// The same for the network: limited to this device's upload rate.
fn sent_blob(blobs: &Blobs, id: BlobId, traffic: &Traffic) -> Source {
    let (blobs, traffic) = (blobs.clone(), traffic.clone());
    Source::opened_by(move || {
        let (blobs, traffic) = (blobs.clone(), traffic.clone());
        async move {
            let reader = blobs.reader(id).await.map_err(io::Error::other)?;
            let runtime = tokio::runtime::Handle::current();
            Ok(move |offset: u64, into: &mut [u8]| {
                reader.read_at(offset, into).map_err(io::Error::other)?;
                // Bodies are read on a thread that may block.
                runtime.block_on(traffic.sent(into.len()))?;
                Ok(())
            })
        }
    })
}

/// How much of an upload is sent.
struct Sent<'a> {
    hub: &'a TeamHub,
    told: Transferring,
    total: u64,
    objects: Mutex<BTreeMap<ObjectId, u64>>,
}

impl<'a> Sent<'a> {
    fn new(hub: &'a TeamHub, packs: &Packs, told: Transferring) -> Self {
        let known = packs.here.iter().map(|here| here.object.size);
        let total = known.chain(packs.new.iter().map(|pack| pack.len)).sum();
        hub.note(|standing| standing.uploading = Some((0, total)));
        if total > 0 {
            told.begin_part(total);
        }
        Self {
            hub,
            told,
            total,
            objects: Mutex::default(),
        }
    }

    fn note(&self, object: ObjectId, sent: u64) {
        let mut objects = self.objects.lock().unwrap_or_else(PoisonError::into_inner);
        objects.insert(object, sent);
        let sent = objects.values().sum();
        self.told.moved(sent, 1);
        self.hub
            .note(|standing| standing.uploading = Some((sent, self.total)));
    }

    fn done(&self) {
        self.told.done();
    }
}

impl Drop for Sent<'_> {
    fn drop(&mut self) {
        self.hub.note(|standing| standing.uploading = None);
    }
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
    ApiError::new(ErrorCode::Unreachable, text).hint(
        "the device that shared it first brings it, or this device does once it has all of it",
    )
}

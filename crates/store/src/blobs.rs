//! Packs and sealed manifests on disk: iroh-blobs' store, and what it leaves to its user.
//!
//! iroh-blobs syncs nothing when a blob completes, so "held" is our own word: a blob is held once
//! its bytes and names were synced and the index says so. Its garbage collection deletes whatever
//! nobody names, at any time: bytes that the catalog doesn't name yet need a [`Pin`], downloads
//! included.

mod folders;
mod pack;
mod pin;
mod ranges;
mod reader;
mod recovery;
mod sweep;

use std::{
    collections::BTreeSet,
    fs,
    future::Future,
    io,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::StreamExt;
use iroh_blobs::{
    BlobFormat, Hash,
    api::{
        Store,
        blobs::{AddPathOptions, BlobStatus, EncodedItem, ImportMode},
    },
    protocol::ChunkRanges,
    store::fs::{FsStore, options::Options},
};
use podsync_core::BlobId;

use self::{folders::Folders, pin::Pins, sweep::Sweeper};
pub use self::{
    pack::{PackFile, PackWriter},
    pin::Pin,
    ranges::{Held, Ranges},
    reader::BlobReader,
};
use crate::{ChunkIndex, Home, StoreError};

/// How long closing waits for blobs in use.
const IDLE_GRACE: Duration = Duration::from_secs(1);

/// The blobs of a home. Clones share them.
#[derive(Debug, Clone)]
pub struct Blobs {
    store: FsStore,
    index: ChunkIndex,
    folders: Arc<Folders>,
    pins: Pins,
    sweeper: Sweeper,
    /// The store, once shut down, leaves some calls without an answer: they are refused here.
    closed: Arc<AtomicBool>,
    home: Home,
}

impl Blobs {
    /// Opens the blobs, sweeps what a crash left, and mends what it left behind half known.
    pub async fn open(home: &Home, index: ChunkIndex) -> Result<Self, StoreError> {
        let root = home.folder("blobs")?;
        let (sweeper, gc) = Sweeper::new();
        let mut options = Options::new(&root);
        options.gc = Some(gc);
        let folders = Arc::new(Folders {
            packs: home.folder("packs")?,
            store: options.path.clone(),
            inline_max: options.inline.max_data_inlined,
        });
        match fs::remove_dir_all(&folders.store.temp_path) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::io("sweep", &folders.store.temp_path, 0, e));
            }
            _ => {}
        }
        let store = FsStore::load_with_opts(root.join("blobs.db"), options)
            .await
            .map_err(|e| StoreError::io("open", &root, 0, io::Error::other(e.to_string())))?;
        let blobs = Self {
            store,
            index,
            folders,
            pins: Pins::default(),
            sweeper,
            closed: Arc::default(),
            home: home.clone(),
        };
        blobs.refer_to_packs().await?;
        blobs.sweep_downloads().await?;
        Ok(blobs)
    }

    /// The store itself, for serving and fetching. Pin what you fetch.
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// Keeps a blob, there already or still to come, from being collected until the pin is dropped.
    pub async fn pin(&self, id: BlobId) -> Pin {
        self.pins.pin(id).await
    }

    /// Begins a pack. Writing and finishing block: use a blocking thread.
    pub fn pack_writer(&self) -> Result<PackWriter, StoreError> {
        PackWriter::new(&self.home)
    }

    /// Makes a finished pack a blob that is held. Its bytes are neither copied nor moved to another
    /// filesystem; the store hashes them once to build the tree that peers verify by, and so checks
    /// `expected`.
    pub async fn adopt(&self, file: PackFile, expected: BlobId) -> Result<Pin, StoreError> {
        self.refuse_closed()?;
        let pin = self.pins.pin(expected).await;
        let path = self.folders.pack(&expected);
        let len = file.len();
        let target = path.clone();
        blocking(move || file.move_to(&target)).await?;
        let found = self.refer_to(&path, len).await?;
        if found != expected {
            fs::remove_file(&path).map_err(|e| StoreError::io("remove", &path, 0, e))?;
            return Err(StoreError::WrongHash {
                expected,
                found,
                len,
            });
        }
        fail::fail_point!("store::pack::adopted");
        self.hold(expected, len).await?;
        Ok(pin)
    }

    /// Stores a small blob, such as a sealed manifest; when this returns it is held.
    pub async fn put_bytes(&self, bytes: Bytes) -> Result<(BlobId, Pin), StoreError> {
        self.refuse_closed()?;
        let (id, len) = (BlobId::of(&bytes), bytes.len() as u64);
        self.home.ensure_room(len)?;
        let pin = self.pins.pin(id).await;
        let tag = self.store.add_bytes(bytes).temp_tag().await;
        let _tag = tag.map_err(|e| self.failed("write", len, e))?;
        self.mark_held(id).await?;
        Ok((id, pin))
    }

    /// Syncs a blob that was downloaded completely; when this returns it is held.
    pub async fn mark_held(&self, id: BlobId) -> Result<(), StoreError> {
        let BlobStatus::Complete { size } = self.status(id).await? else {
            return Err(StoreError::NotHeld { id });
        };
        let folders = self.folders.clone();
        blocking(move || folders.sync(&id, size)).await?;
        // An answer comes after the commit of everything before it.
        self.store
            .sync_db()
            .await
            .map_err(|e| self.failed("sync", size, e))?;
        self.hold(id, size).await
    }

    /// Has the store write down that a download has begun and how far it is, so that a restart after
    /// a crash finds the bytes. They are not synced: a loss of power may take them.
    pub async fn note_partial(&self, id: BlobId) -> Result<(), StoreError> {
        self.store
            .sync_db()
            .await
            .map_err(|e| self.failed("sync", 0, e))?;
        tracing::trace!(blob = %id.short(), "noted as begun");
        Ok(())
    }

    /// How much of a blob is here.
    pub async fn held(&self, id: BlobId) -> Result<Held, StoreError> {
        if self.held_len(id)?.is_some() {
            return Ok(Held::Whole);
        }
        let bitfield = self.store.observe(hash(id)).await;
        let bitfield = bitfield.map_err(|e| self.failed("read", 0, e))?;
        let ranges = Ranges::of(&bitfield.ranges, bitfield.validated_size());
        Ok(if ranges.is_empty() {
            Held::No
        } else {
            Held::Partial(ranges)
        })
    }

    /// Opens a blob that is held for many reads. The bytes are as they lie on the disk: whoever
    /// opens seals notices damage; for anything else [`Blobs::verify`] first.
    pub async fn reader(&self, id: BlobId) -> Result<BlobReader, StoreError> {
        let Some(len) = self.held_len(id)? else {
            return Err(StoreError::NotHeld { id });
        };
        let folders = self.folders.clone();
        if let Some(reader) = blocking(move || folders.open(&id, len)).await? {
            return Ok(reader);
        }
        // Small blobs lie in the store's own database.
        let bytes = self
            .store
            .get_bytes(hash(id))
            .await
            .map_err(|_| StoreError::Corrupt { id })?;
        Ok(BlobReader::memory(id, bytes))
    }

    /// Reads a blob and its hash tree through and checks every byte of both.
    pub async fn verify(&self, id: BlobId) -> Result<(), StoreError> {
        let Some(len) = self.held_len(id)? else {
            return Err(StoreError::NotHeld { id });
        };
        let mut items = self.store.export_bao(hash(id), ChunkRanges::all()).stream();
        let mut found = 0;
        while let Some(item) = items.next().await {
            match item {
                EncodedItem::Leaf(leaf) => found += leaf.data.len() as u64,
                EncodedItem::Error(_) => return Err(StoreError::Corrupt { id }),
                EncodedItem::Size(_) | EncodedItem::Parent(_) | EncodedItem::Done => {}
            }
        }
        if found == len {
            Ok(())
        } else {
            Err(StoreError::Corrupt { id })
        }
    }

    /// Deletes a blob, damaged or not wanted any more, with its chunks in the index, pinned or not.
    pub async fn evict(&self, id: BlobId) -> Result<(), StoreError> {
        let turn = self.sweeper.turn().await;
        self.refuse_closed()?;
        let _sweep = self.pins.begin_sweep();
        let mut live = self.listed().await?;
        live.extend(self.pins.pinned());
        live.remove(&id);
        self.delete(BTreeSet::from([id])).await?;
        turn.sweep(&self.store, live.into_iter().map(hash).collect())
            .await?;
        self.folders.remove_packs(&[id])
    }

    /// Deletes every blob that is neither pinned nor named by `live`, and returns what it deleted.
    ///
    /// `live` runs while pins are being watched, so a blob may go from a pin to the catalog at any
    /// time; it must not wait for a new pin. An error of `live` deletes nothing.
    pub async fn collect<F, E>(&self, live: impl FnOnce() -> F) -> Result<BTreeSet<BlobId>, E>
    where
        F: Future<Output = Result<BTreeSet<BlobId>, E>>,
        E: From<StoreError>,
    {
        let turn = self.sweeper.turn().await;
        self.refuse_closed()?;
        let watch = self.pins.watch();
        let mut live = live().await?;
        let _sweep = self.pins.begin_sweep();
        live.extend(watch.seen());

        let mut there = self.listed().await?;
        there.extend(self.folders.packs_there()?);
        let dead: BTreeSet<BlobId> = there.difference(&live).copied().collect();
        self.delete(dead.clone()).await?;
        turn.sweep(&self.store, live.into_iter().map(hash).collect())
            .await?;
        self.folders.remove_packs(dead.iter())?;
        Ok(dead)
    }

    /// Closes the store; what was downloaded of unfinished blobs is kept. Nothing works afterwards.
    pub async fn shutdown(&self) -> Result<(), StoreError> {
        let _turn = self.sweeper.turn().await;
        self.refuse_closed()?;
        self.closed.store(true, Ordering::Release);
        // Idle blobs have written down how much of them is here. One in use may never become idle;
        // the next start then finds out by hashing.
        let _ = tokio::time::timeout(IDLE_GRACE, self.store.wait_idle()).await;
        self.store.shutdown().await.map_err(|_| StoreError::Closed)
    }
}

impl Blobs {
    async fn refer_to(&self, path: &Path, len: u64) -> Result<BlobId, StoreError> {
        let options = AddPathOptions {
            path: path.to_owned(),
            format: BlobFormat::Raw,
            mode: ImportMode::TryReference,
        };
        let tag = self.store.add_path_with_opts(options).temp_tag().await;
        let tag = tag.map_err(|e| StoreError::blobs("adopt", path, len, e))?;
        Ok(BlobId::from_bytes(*tag.hash().as_bytes()))
    }

    fn refuse_closed(&self) -> Result<(), StoreError> {
        if self.closed.load(Ordering::Acquire) {
            Err(StoreError::Closed)
        } else {
            Ok(())
        }
    }

    async fn status(&self, id: BlobId) -> Result<BlobStatus, StoreError> {
        self.refuse_closed()?;
        self.store
            .status(hash(id))
            .await
            .map_err(|e| self.failed("read", 0, e))
    }

    async fn hold(&self, id: BlobId, len: u64) -> Result<(), StoreError> {
        let index = self.index.clone();
        blocking(move || index.hold(&id, len)).await
    }

    /// A point lookup, in memory or in one page: not worth a thread.
    fn held_len(&self, id: BlobId) -> Result<Option<u64>, StoreError> {
        self.refuse_closed()?;
        self.index.held(&id)
    }

    async fn listed(&self) -> Result<BTreeSet<BlobId>, StoreError> {
        let hashes: Vec<Hash> = self
            .store
            .list()
            .hashes()
            .await
            .map_err(|e| self.failed("list", 0, e))?;
        Ok(hashes
            .into_iter()
            .map(|hash| BlobId::from_bytes(*hash.as_bytes()))
            .collect())
    }

    /// Takes blobs out of the index: before their bytes go, so that nothing is counted on that isn't
    /// there.
    async fn delete(&self, dead: BTreeSet<BlobId>) -> Result<(), StoreError> {
        let index = self.index.clone();
        blocking(move || index.drop_packs(&dead)).await
    }

    fn failed(
        &self,
        action: &'static str,
        len: u64,
        error: impl std::error::Error + Send + Sync + 'static,
    ) -> StoreError {
        StoreError::blobs(action, &self.folders.store.data_path, len, error)
    }
}

fn hash(id: BlobId) -> Hash {
    Hash::from_bytes(*id.as_bytes())
}

async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    // It fails only where the runtime is going away.
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| StoreError::Closed)?
}

#[cfg(test)]
mod tests;

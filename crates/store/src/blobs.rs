//! Packs and sealed manifests on disk: iroh-blobs' store, plus the durability and pinning that it
//! lacks.
//!
//! iroh-blobs syncs nothing when a blob arrives. So podsync tracks which units are *held*: their
//! bytes and names were synced, and [`Holdings`] records it. The store's garbage collection may
//! delete unreferenced blobs at any time, so bytes that the catalog doesn't name yet need a [`Pin`],
//! downloads included.

mod alive;
mod folders;
mod import;
mod pack;
mod pin;
mod ranges;
mod reader;
mod recovery;
mod sweep;

use std::{
    collections::{BTreeSet, HashSet},
    fs,
    future::Future,
    io,
    panic::AssertUnwindSafe,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use futures::{FutureExt, StreamExt};
use iroh_blobs::{
    BlobFormat, Hash,
    api::{
        Store,
        blobs::{AddPathOptions, BlobStatus, EncodedItem, ImportMode},
    },
    protocol::{ChunkRanges, ChunkRangesExt},
    store::fs::{FsStore, options::Options},
};
use podsync_core::{
    BlobId,
    units::{Units, byte_range},
};

pub use self::{
    folders::BlobFiles,
    import::Import,
    pack::{PackFile, PackWriter},
    pin::Pin,
    reader::BlobReader,
};
use self::{
    folders::Folders,
    pin::Pins,
    sweep::{Sweeper, Turn},
};
use crate::{
    Holding, Home, Remedy, StoreError, database::Database, holdings::Holdings, home::close_all,
    write_atomic,
};

/// How long closing waits for blobs in use.
const IDLE_GRACE: Duration = Duration::from_secs(1);

/// The most bytes that opening the store writes.
const OPENING_LEN: u64 = 2 << 20;

/// The store's own database, in its folder.
const RECORDS: &str = "blobs.db";

/// The blobs of a home. Clones share them.
#[derive(Debug, Clone)]
pub struct Blobs {
    store: FsStore,
    holdings: Holdings,
    folders: Arc<Folders>,
    pins: Pins,
    sweeper: Sweeper,
    /// Blobs that were found damaged since the start, and are not mended.
    doubted: Arc<Mutex<BTreeSet<BlobId>>>,
    /// Set at shutdown: calls are refused then, since the store would leave some without an answer.
    closed: Arc<AtomicBool>,
    home: Home,
}

impl Blobs {
    /// Opens the blobs, removes leftovers of a crash, and repairs incomplete records.
    pub async fn open(home: &Home) -> Result<Self, StoreError> {
        let opened = Self::open_sound(home).await;
        let Err(StoreError::Io { .. } | StoreError::Closed | StoreError::Stopped { .. }) = &opened
        else {
            return opened;
        };
        // The store reports damage to its records only as text, or by ending.
        match Self::examine_records(home) {
            Err(damage @ StoreError::Damaged { .. }) => Err(damage),
            _ => opened,
        }
    }

    async fn open_sound(home: &Home) -> Result<Self, StoreError> {
        let unnoted = recovery::is_unnoted(home)?;
        let holdings = Holdings::open(home)?;
        let (root, packs) = (home.folder("blobs")?, home.folder("packs")?);
        let records = root.join(RECORDS);
        if records.try_exists().map_err(StoreError::read(&records))? {
            // The store reads its records unchecked, and would take blobs with damaged ones for damaged blobs.
            let path = records.clone();
            blocking(move || Database::examine(&path, Remedy::Blobs)).await?;
        }
        let (sweeper, gc) = Sweeper::new();
        let mut options = Options::new(&root);
        options.gc = Some(gc);
        let folders = Arc::new(Folders::new(packs, &options));
        folders.sweep_unfinished()?;
        // It panics on some damage.
        let loaded = AssertUnwindSafe(FsStore::load_with_opts(records, options)).catch_unwind();
        let store = loaded.await.map_err(|_| StoreError::Closed)?.map_err(|e| {
            // The store reports this only as text.
            let full = crate::free_bytes(&root).is_ok_and(|free| free < OPENING_LEN);
            let e = match full {
                true => io::ErrorKind::StorageFull.into(),
                false => io::Error::other(e.to_string()),
            };
            StoreError::io("open", &root, OPENING_LEN, e)
        })?;
        let blobs = Self {
            store,
            holdings,
            folders,
            pins: Pins::default(),
            sweeper,
            doubted: Arc::default(),
            closed: Arc::default(),
            home: home.clone(),
        };
        // The store makes files with the process's umask. Close them to others; files of unfinished blobs
        // follow at the next start.
        close_all(&root)?;
        if unnoted {
            blobs.note_anew().await?;
        }
        blobs.refer_to_packs().await?;
        blobs.sweep_downloads().await?;
        blobs.write_small_ones().await?;
        Ok(blobs)
    }

    /// Reads and checks all records about a home's blobs, which must not be open. Records that are gone count as
    /// damaged, though the next start makes them again.
    pub fn examine(home: &Home) -> Result<(), StoreError> {
        Self::examine_records(home)?;
        Holdings::examine(home)?;
        recovery::refuse_lost(home)?;
        recovery::refuse_lost_packs(home)
    }

    /// Reads all of the store's own database.
    fn examine_records(home: &Home) -> Result<(), StoreError> {
        let records = recovery::records(home);
        match records.try_exists().map_err(StoreError::read(&records))? {
            true => Database::examine(&records, Remedy::Blobs),
            false => Ok(()),
        }
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

    /// Turns a finished pack into a held blob. Its bytes are neither copied nor moved to another
    /// filesystem. The store hashes them once for the tree that peers verify with, which also
    /// checks `expected`.
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
        self.hold(expected, Holding::whole(len)).await?;
        Ok(pin)
    }

    /// Stores a small blob, such as a sealed manifest; when this returns it is held.
    pub async fn put_bytes(&self, bytes: Bytes) -> Result<(BlobId, Pin), StoreError> {
        self.refuse_closed()?;
        let (id, len) = (BlobId::of(&bytes), bytes.len() as u64);
        self.home.ensure_room(len)?;
        let pin = self.pins.pin(id).await;
        let tag = self.store.add_bytes(bytes).temp_tag().await;
        let _tag = self.explain(tag, |e| self.failed("write", len, e)).await?;
        self.mark_held(id, len).await?;
        Ok((id, pin))
    }

    /// Syncs what has arrived of a blob of `len` bytes, and returns the units held now.
    pub async fn mark_held(&self, id: BlobId, len: u64) -> Result<Units, StoreError> {
        let units = self.arrived(id, len).await?;
        if units.is_empty() {
            return Err(StoreError::NotHeld { id });
        }
        let holding = Holding { len, units };
        if self.held(id)? == Some(holding) {
            return Ok(units);
        }
        let folders = self.folders.clone();
        blocking(move || folders.sync(&id, holding)).await?;
        self.write_down(len).await?;
        if holding.is_whole() {
            self.write_beside(id, len).await?;
        }
        self.hold(id, holding).await?;
        Ok(units)
    }

    /// Writes a file for a small blob, which the store has in its database alone: lost or damaged records are made
    /// again from the files.
    async fn write_beside(&self, id: BlobId, len: u64) -> Result<(), StoreError> {
        let path = self.folders.pack(&id);
        if len > self.folders.inline_max || path.exists() {
            return Ok(());
        }
        let bytes = self.store.get_bytes(hash(id)).await;
        let bytes = self.explain(bytes, |_| StoreError::NotHeld { id }).await?;
        blocking(move || write_atomic(&path, &bytes, 0o600)).await
    }

    /// Notes that a range of a download has arrived. A blob that it completes is held from now on. For
    /// a partial blob the store records its extent, so that a restart after a crash finds the bytes.
    /// They are not synced, so a power failure may lose them.
    pub async fn note_arrival(&self, id: BlobId, len: u64) -> Result<(), StoreError> {
        if matches!(self.status(id).await?, BlobStatus::Complete { .. }) {
            return self.mark_held(id, len).await.map(drop);
        }
        self.write_down(0).await
    }

    /// Deletes the damaged files of blobs of which all that is needed is here again. It blocks.
    pub fn drop_damaged(&self, ids: &[BlobId]) -> Result<(), StoreError> {
        ids.iter().try_for_each(|id| self.folders.drop_aside(id))
    }

    /// Whether a held blob still has its file. Nothing of it is read.
    pub fn is_there(&self, id: BlobId, holding: Holding) -> bool {
        self.folders.has(&id, holding)
    }

    /// What is held of a blob. None if nothing is.
    pub fn held(&self, id: BlobId) -> Result<Option<Holding>, StoreError> {
        self.refuse_closed()?;
        self.holdings.get(&id)
    }

    /// Bytes held of these blobs together.
    pub fn held_len(&self, ids: &BTreeSet<BlobId>) -> Result<u64, StoreError> {
        self.refuse_closed()?;
        self.holdings.byte_len(ids)
    }

    /// The units of a blob of `len` bytes that are here: the held ones, and those that an earlier
    /// download left. The latter were not synced, or are in doubt, so they are checked first. A blob
    /// that fails is mended if this machine has it whole. Otherwise nothing of it is here, and the file
    /// of a whole one is set aside until then.
    pub async fn resume(&self, id: BlobId, len: u64) -> Result<Units, StoreError> {
        let holding = self.held(id)?.filter(|holding| holding.len == len);
        let held = holding.map_or(Units::NONE, |holding| holding.units);
        let left = self.arrived(id, len).await?.without(held);
        let checked = self.check(id, Holding { len, units: left }).await;
        let is_sound = match checked {
            Ok(()) => true,
            Err(StoreError::Corrupt { .. }) => false,
            Err(error) => return Err(error),
        };
        let here = held | left;
        let is_whole = here == Units::whole(len);
        let has_pack = self.folders.pack(&id).exists();
        if is_sound && (is_whole || !has_pack) {
            return Ok(here);
        }
        if self.mend(id, len).await? {
            return Ok(Units::whole(len));
        }
        tracing::warn!(blob = %id.short(), "this disk has the blob damaged");
        if has_pack || is_whole {
            // Readers would take it for the blob while that is fetched.
            let folders = self.folders.clone();
            blocking(move || folders.set_aside(&id)).await?;
        }
        if is_sound {
            return Ok(here);
        }
        self.forget(id).await?;
        Ok(Units::NONE)
    }

    /// Marks a damaged blob as no longer held. Its bytes stay, and are checked before they count
    /// again.
    pub async fn doubt(&self, id: BlobId) -> Result<(), StoreError> {
        self.refuse_closed()?;
        self.delete(BTreeSet::from([id])).await?;
        self.doubted().insert(id);
        Ok(())
    }

    /// Whether a blob was [doubted](Self::doubt) since the start, and not held or deleted after that.
    pub fn is_doubted(&self, id: BlobId) -> bool {
        self.doubted().contains(&id)
    }

    /// Holds a blob again that this machine has whole. Its file may be right where the store's record of it is
    /// damaged. Of a small blob the store has a second copy in its database. Both are checked first. False if
    /// neither is whole.
    pub async fn mend(&self, id: BlobId, len: u64) -> Result<bool, StoreError> {
        self.refuse_closed()?;
        let _pin = self.pins.pin(id).await;
        let (folders, path) = (self.folders.clone(), self.folders.pack(&id));
        if blocking(move || folders.take_whole(&id, len)).await? {
            // The store would build on the record that it has.
            self.forget(id).await?;
            let found = self.refer_to(&path, len).await?;
            return Ok(found == id && self.mark_held(id, len).await? == Units::whole(len));
        }
        if len > self.folders.inline_max {
            return Ok(false);
        }
        let Ok(bytes) = self.store.get_bytes(hash(id)).await else {
            return self.refuse_stopped().await.map(|()| false);
        };
        if BlobId::of(&bytes) != id {
            return Ok(false);
        }
        blocking(move || write_atomic(&path, &bytes, 0o600)).await?;
        self.mark_held(id, len).await?;
        Ok(true)
    }

    /// The units of a blob of `len` bytes that are here, held or just arrived.
    async fn arrived(&self, id: BlobId, len: u64) -> Result<Units, StoreError> {
        if let Some(holding) = self.held(id)?
            && holding.is_whole()
            && holding.len == len
        {
            return Ok(holding.units);
        }
        let bitfield = self.store.observe(hash(id)).await;
        let bitfield = self
            .explain(bitfield, |e| self.failed("read", 0, e))
            .await?;
        Ok(ranges::arrived(&bitfield, len))
    }

    /// Opens a held blob, complete or partial, for many reads. The bytes come unchecked from disk:
    /// opening a seal detects damage; for other uses call [`Blobs::verify`] first.
    pub async fn reader(&self, id: BlobId) -> Result<BlobReader, StoreError> {
        let Some(holding) = self.held(id)? else {
            return Err(StoreError::NotHeld { id });
        };
        let folders = self.folders.clone();
        if let Some(reader) = blocking(move || folders.open(&id, holding)).await? {
            return Ok(reader);
        }
        // Small blobs are in the store's own database.
        let bytes = self.store.get_bytes(hash(id)).await;
        let bytes = self.explain(bytes, |_| StoreError::Corrupt { id }).await?;
        Ok(BlobReader::memory(id, bytes))
    }

    /// The files of a completely held blob, for reads without the store. The bytes are unchecked. It blocks.
    /// None for small or partial blobs.
    pub fn files(&self, id: BlobId) -> Option<BlobFiles> {
        let holding = self.held(id).ok()??;
        match holding.is_whole() {
            true => self.folders.files(&id, holding.len),
            false => None,
        }
    }

    /// Reads what is held of a blob, and its hash tree, and checks every byte of both.
    pub async fn verify(&self, id: BlobId) -> Result<(), StoreError> {
        let Some(holding) = self.held(id)? else {
            return Err(StoreError::NotHeld { id });
        };
        self.check(id, holding).await
    }

    /// Deletes a blob, damaged or not wanted any more, pinned or not.
    pub async fn evict(&self, id: BlobId) -> Result<(), StoreError> {
        self.discard(BTreeSet::from([id])).await
    }

    /// Takes a blob out of the store, so that all of it is fetched anew. Its pack stays.
    pub async fn forget(&self, id: BlobId) -> Result<(), StoreError> {
        let turn = self.sweeper.turn().await;
        let _sweep = self.pins.begin_sweep();
        self.sweep_out(&turn, &BTreeSet::from([id])).await
    }

    /// Deletes blobs, pinned or not, in one sweep.
    pub async fn discard(&self, ids: BTreeSet<BlobId>) -> Result<(), StoreError> {
        let turn = self.sweeper.turn().await;
        let _sweep = self.pins.begin_sweep();
        self.sweep_out(&turn, &ids).await?;
        self.folders.remove_packs(&ids)
    }

    /// Deletes every blob that is neither pinned nor named by `live`, and returns what it deleted.
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

        let there = self.all().await?;
        let dead: BTreeSet<BlobId> = there.difference(&live).copied().collect();
        self.delete(dead.clone()).await?;
        let live = live.into_iter().map(hash).collect();
        self.sweep(&turn, live).await?;
        self.folders.remove_packs(dead.iter())?;
        Ok(dead)
    }

    /// Every blob of which anything is here, held or not.
    pub async fn all(&self) -> Result<BTreeSet<BlobId>, StoreError> {
        let mut there = self.listed().await?;
        there.extend(self.folders.packs_there()?);
        there.extend(self.folders.set_aside_there()?);
        Ok(there)
    }

    /// Closes the store and keeps unfinished downloads. Later calls fail.
    pub async fn shutdown(&self) -> Result<(), StoreError> {
        let _turn = self.sweeper.turn().await;
        self.refuse_closed()?;
        self.closed.store(true, Ordering::Release);
        // Idle blobs have recorded their extent. One in use may never become idle; the next start
        // then finds its extent by hashing.
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
        let tag = self
            .explain(tag, |e| StoreError::blobs("adopt", path, len, e))
            .await?;
        let found = BlobId::from_bytes(*tag.hash().as_bytes());
        let folders = self.folders.clone();
        blocking(move || folders.close_tree(&found)).await?;
        Ok(found)
    }

    /// Takes blobs out of the store while nobody gets a new pin. Their packs stay.
    async fn sweep_out(&self, turn: &Turn, ids: &BTreeSet<BlobId>) -> Result<(), StoreError> {
        self.refuse_closed()?;
        let mut live = self.listed().await?;
        live.extend(self.pins.pinned());
        live.retain(|id| !ids.contains(id));
        self.delete(ids.clone()).await?;
        self.sweep(turn, live.into_iter().map(hash).collect()).await
    }

    async fn sweep(&self, turn: &Turn, live: HashSet<Hash>) -> Result<(), StoreError> {
        let swept = turn.sweep(&self.store, live).await;
        self.explain(swept, |error| error).await
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
        let status = self.store.status(hash(id)).await;
        self.explain(status, |e| self.failed("read", 0, e)).await
    }

    async fn check(&self, id: BlobId, Holding { len, units }: Holding) -> Result<(), StoreError> {
        let ranges = units.runs().map(|run| byte_range(&run, len));
        let ranges = ranges.fold(ChunkRanges::empty(), |all, range| {
            all | ChunkRanges::bytes(range)
        });
        if ranges.is_empty() {
            return Ok(());
        }
        let mut items = self.store.export_bao(hash(id), ranges).stream();
        let mut found = 0;
        while let Some(item) = items.next().await {
            match item {
                EncodedItem::Leaf(leaf) => found += leaf.data.len() as u64,
                EncodedItem::Error(_) => {
                    return Err(self.explained(StoreError::Corrupt { id }).await);
                }
                EncodedItem::Size(_) | EncodedItem::Parent(_) | EncodedItem::Done => {}
            }
        }
        if found != units.byte_len(len) {
            return Err(self.explained(StoreError::Corrupt { id }).await);
        }
        // Of a small pack the store has checked the copy in its database, and readers use the file.
        let folders = self.folders.clone();
        match len <= folders.inline_max {
            true => blocking(move || folders.check_small_pack(id)).await,
            false => Ok(()),
        }
    }

    async fn hold(&self, id: BlobId, holding: Holding) -> Result<(), StoreError> {
        let (holdings, folders) = (self.holdings.clone(), self.folders.clone());
        blocking(move || {
            holdings.add(&id, holding)?;
            match holding.is_whole() {
                true => folders.drop_aside(&id),
                false => Ok(()),
            }
        })
        .await?;
        self.doubted().remove(&id);
        Ok(())
    }

    /// Makes the store commit its records: it answers only after committing everything before.
    async fn write_down(&self, len: u64) -> Result<(), StoreError> {
        let written = self.store.sync_db().await;
        self.explain(written, |e| self.failed("sync", len, e)).await
    }

    async fn listed(&self) -> Result<BTreeSet<BlobId>, StoreError> {
        let hashes = self.store.list().hashes().await;
        let hashes: Vec<Hash> = self.explain(hashes, |e| self.failed("list", 0, e)).await?;
        // One that has stopped lists nothing.
        self.refuse_stopped().await?;
        Ok(hashes
            .into_iter()
            .map(|hash| BlobId::from_bytes(*hash.as_bytes()))
            .collect())
    }

    /// Deletes blobs. Their holdings go before their bytes, so that no record claims missing bytes.
    async fn delete(&self, dead: BTreeSet<BlobId>) -> Result<(), StoreError> {
        self.doubted().retain(|id| !dead.contains(id));
        let holdings = self.holdings.clone();
        blocking(move || holdings.remove(&dead)).await
    }

    fn doubted(&self) -> MutexGuard<'_, BTreeSet<BlobId>> {
        self.doubted.lock().unwrap_or_else(PoisonError::into_inner)
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
    // It fails only if the runtime is shutting down.
    tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| StoreError::Closed)?
}

#[cfg(test)]
mod tests;

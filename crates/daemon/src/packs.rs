//! Gives the `pack` crate access to the store, to read and write packs. Everything here blocks.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs::File,
    io,
    sync::{Arc, Mutex, PoisonError},
};

use podsync_core::{
    BlobId,
    engine::Input,
    manifest::{Manifest, PackRef},
    units::{Units, byte_range},
};
use podsync_pack::{NeededUnits, PackReader, PackSink, ReadError, Version, table_units};
use podsync_store::{BlobReader, Blobs, Holding, PackWriter, Pin, StoreError};
use tokio::{runtime::Handle, task::JoinHandle};

use crate::{error::Failure, tasks::Tasks};

/// Packs kept open at once: far below a process's limit of open files.
const MAX_OPEN: usize = 64;

/// Reads held packs.
pub(crate) struct HeldPacks {
    blobs: Blobs,
    runtime: Handle,
    open: Mutex<BTreeMap<BlobId, Arc<BlobReader>>>,
}

impl HeldPacks {
    /// Must be made within the runtime, and used outside of its async threads.
    pub(crate) fn new(blobs: Blobs) -> Self {
        Self {
            blobs,
            runtime: Handle::current(),
            open: Mutex::default(),
        }
    }

    /// Whether a version can be rebuilt from what is held. Its tables are read for it.
    pub(crate) fn are_whole(&self, manifest: &Manifest) -> Result<bool, ReadError> {
        if !self.hold(manifest, &table_units(manifest)?) {
            return Ok(false);
        }
        let needed = Version::new(manifest, self).needed_units()?;
        Ok(self.hold(manifest, &needed))
    }

    fn hold(&self, manifest: &Manifest, needed: &NeededUnits) -> bool {
        let mut needs = manifest.packs.iter().zip(needed);
        needs.all(|(pack, needed)| self.holds(pack.id, *needed))
    }

    /// Whether these units of a pack are held.
    pub(crate) fn holds(&self, pack: BlobId, needed: Units) -> bool {
        // A record that can't be read counts as not held.
        let held = self.blobs.held(pack).ok().flatten();
        needed.is_empty() || held.is_some_and(|held| held.units.contains(needed))
    }

    fn reader(&self, id: BlobId) -> io::Result<Arc<BlobReader>> {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(reader) = open.get(&id) {
            return Ok(Arc::clone(reader));
        }
        let reader = Arc::new(
            self.runtime
                .block_on(self.blobs.reader(id))
                .map_err(to_io)?,
        );
        // Versions are read front to back, so it hardly matters which pack is closed.
        if open.len() >= MAX_OPEN {
            open.pop_first();
        }
        open.insert(id, Arc::clone(&reader));
        Ok(reader)
    }
}

impl PackReader for HeldPacks {
    fn read(&self, pack: &PackRef, offset: u64, into: &mut [u8]) -> io::Result<()> {
        self.reader(pack.id)?.read_at(offset, into).map_err(to_io)
    }
}

/// Converts a holding into the engine's terms.
pub(crate) fn held_inputs(blob: BlobId, holding: Holding) -> Vec<Input> {
    let Holding { len, units } = holding;
    let input = |run| Input::Held {
        blob,
        len,
        bytes: byte_range(&run, len),
    };
    units.runs().map(input).collect()
}

/// Takes new packs into the store, each while the next is written. Dropping this unpins the packs and deletes them
/// unless they were [kept](Self::kept_if), so a failed save leaves nothing behind.
pub(crate) struct NewPacks {
    blobs: Blobs,
    runtime: Handle,
    /// Deleting is one of them, so a daemon that ends waits for it.
    tasks: Tasks,
    draft: Option<PackWriter>,
    /// The pack that is being synced and taken in.
    settling: Option<JoinHandle<io::Result<Pin>>>,
    pins: Vec<Pin>,
    /// New packs that a version may need. Empty once they are kept.
    unneeded: BTreeSet<BlobId>,
}

impl NewPacks {
    /// Must be made within the runtime, and used outside of its async threads.
    pub(crate) fn new(blobs: Blobs, tasks: Tasks) -> Self {
        Self {
            blobs,
            runtime: Handle::current(),
            tasks,
            draft: None,
            settling: None,
            pins: Vec::new(),
            unneeded: BTreeSet::new(),
        }
    }

    /// Keeps the packs if a record names them now, and deletes them otherwise.
    pub(crate) async fn kept_if<T>(mut self, recorded: Result<T, Failure>) -> Result<T, Failure> {
        if recorded.is_ok() {
            self.unneeded.clear();
        }
        self.leave().await;
        recorded
    }

    /// Deletes the packs. Blocks until that is done.
    pub(crate) fn discard(mut self) {
        let leaving = self.leave();
        self.runtime.clone().block_on(leaving);
    }

    /// Unpins what was written, and deletes it unless it is kept.
    fn leave(&mut self) -> impl Future<Output = ()> + Send + use<> {
        self.draft = None;
        let (settling, pins) = (self.settling.take(), std::mem::take(&mut self.pins));
        let (blobs, unneeded) = (self.blobs.clone(), std::mem::take(&mut self.unneeded));
        async move {
            if let Some(settling) = settling {
                // The result is reported elsewhere. Here the task must only have ended.
                let _ = settling.await;
            }
            drop(pins);
            if unneeded.is_empty() {
                return;
            }
            if let Err(error) = blobs.discard(unneeded).await {
                tracing::warn!(%error, "podsync deletes the packs of an unfinished version at the next start");
            }
        }
    }
}

impl Drop for NewPacks {
    fn drop(&mut self) {
        if !self.unneeded.is_empty() {
            let leaving = self.leave();
            let runtime = self.runtime.clone();
            // It may be dropped on a thread outside of the runtime.
            let _runtime = runtime.enter();
            self.tasks.tidy(leaving);
        }
    }
}

impl PackSink for NewPacks {
    fn create(&mut self) -> io::Result<File> {
        let draft = self.blobs.pack_writer().map_err(to_io)?;
        let file = draft.file().map_err(to_io)?;
        self.draft = Some(draft);
        Ok(file)
    }

    fn finish(&mut self, file: File, pack: &PackRef) -> io::Result<()> {
        drop(file);
        let draft = self
            .draft
            .take()
            .ok_or_else(|| io::Error::other("a pack ended that was never begun"))?;
        self.settle()?;
        self.unneeded.insert(pack.id);
        let (blobs, id) = (self.blobs.clone(), pack.id);
        self.settling = Some(self.runtime.spawn(async move {
            let finished = tokio::task::spawn_blocking(move || draft.finish()).await?;
            let adopted = blobs.adopt(finished.map_err(to_io)?, id).await;
            adopted.map_err(to_io)
        }));
        Ok(())
    }

    fn settle(&mut self) -> io::Result<()> {
        if let Some(settling) = self.settling.take() {
            self.pins.push(self.runtime.block_on(settling)??);
        }
        Ok(())
    }
}

/// Keeps the error kind of a full disk.
fn to_io(error: StoreError) -> io::Error {
    let kind = match error {
        StoreError::DiskFull { .. } => io::ErrorKind::StorageFull,
        // The caller that reads the version adds the hint.
        StoreError::NotHeld { .. } | StoreError::PartlyHeld { .. } => {
            return io::Error::new(
                io::ErrorKind::NotFound,
                "its bytes are not all on this machine",
            );
        }
        StoreError::Corrupt { .. } | StoreError::WrongHash { .. } => io::ErrorKind::InvalidData,
        _ => io::ErrorKind::Other,
    };
    io::Error::new(kind, error)
}

//! Repairs at open: restores records that the store lost in a crash, by a rename of the home, or along with its file.
//!
//! It runs before other code can use the store, so blobs that are unknown now belong to nobody.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

use iroh_blobs::{api::blobs::BlobStatus, store::fs::options::Options};
use podsync_core::BlobId;

use super::{
    Blobs, RECORDS, blocking,
    folders::{Folders, id_of, remove_if_there},
    hash,
};
use crate::{
    Holding, Home, Remedy, StoreError, holdings::Holdings, home::blobs_are_in,
    regular::read_regular, write_atomic,
};

/// This file exists while records are being rebuilt.
const NOTING: &str = "held.unfinished";

/// The store's own database.
pub(super) fn records(home: &Home) -> PathBuf {
    home.root().join("blobs").join(RECORDS)
}

/// Whether the records must be rebuilt by reading: a file of them is missing, or a rebuild was
/// interrupted.
pub(super) fn is_unnoted(home: &Home) -> Result<bool, StoreError> {
    let noting = home.root().join(NOTING);
    if lost(home)?.is_none() {
        return Ok(noting.exists());
    }
    write_atomic(&noting, b"", 0o600)?;
    Ok(true)
}

/// Refuses a home in which blobs were used, and of whose records a file is missing.
pub(super) fn refuse_lost(home: &Home) -> Result<(), StoreError> {
    if home.root().join(NOTING).exists() || !blobs_are_in(home.root())? {
        return Ok(());
    }
    match lost(home)? {
        None => Ok(()),
        Some(path) => Err(StoreError::Damaged {
            path,
            what: "it is gone".to_owned(),
            remedy: Remedy::LostRecords,
        }),
    }
}

/// Refuses a home from which files of held blobs are gone.
pub(super) fn refuse_lost_packs(home: &Home) -> Result<(), StoreError> {
    if !Holdings::path(home).exists() {
        return Ok(());
    }
    let packs = home.root().join("packs");
    let options = Options::new(&home.root().join("blobs"));
    let folders = Folders::new(packs.clone(), &options);
    let holdings = Holdings::open(home)?;
    let mut gone = 0;
    for id in holdings.ids()? {
        let holding = holdings.get(&id)?;
        gone += usize::from(holding.is_some_and(|holding| !folders.has(&id, holding)));
    }
    match gone {
        0 => Ok(()),
        gone => Err(StoreError::Damaged {
            path: packs,
            what: format!("{gone} of the packs that this machine holds are gone"),
            remedy: Remedy::Packs,
        }),
    }
}

/// The file of records that is missing, if one is.
fn lost(home: &Home) -> Result<Option<PathBuf>, StoreError> {
    for path in [Holdings::path(home), records(home)] {
        if !path.try_exists().map_err(StoreError::read(&path))? {
            return Ok(Some(path));
        }
    }
    Ok(None)
}

impl Blobs {
    /// Reads every complete blob and notes it as held if its hash is right. A later pull checks partial ones. What
    /// was noted as held and isn't there any more is not held.
    pub(super) async fn note_anew(&self) -> Result<(), StoreError> {
        tracing::info!(
            "the records of what is held are missing; podsync reads every blob to make them again"
        );
        // The store files a damaged pack under the hash that its bytes have.
        let mut strays = BTreeSet::new();
        for id in self.folders.packs_there()? {
            let path = self.folders.pack(&id);
            let len = path.metadata().map_err(StoreError::read(&path))?.len();
            let found = self.refer_to(&path, len).await?;
            if found == id {
                self.hold(id, Holding::whole(len)).await?;
            } else {
                strays.insert(found);
            }
        }
        self.sweep_downloads().await?;
        let listed = self.listed().await?;
        for id in listed.difference(&strays).copied() {
            let BlobStatus::Complete { size } = self.status(id).await? else {
                continue;
            };
            if self.held(id)?.is_some() || self.check(id, Holding::whole(size)).await.is_err() {
                continue;
            }
            match self.mark_held(id, size).await {
                // Its file is gone.
                Ok(_) | Err(StoreError::NotHeld { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let mut gone = BTreeSet::new();
        for id in self.holdings.ids()? {
            if matches!(self.status(id).await?, BlobStatus::NotFound) {
                gone.insert(id);
            }
        }
        self.delete(gone).await?;
        remove_if_there(&self.home.root().join(NOTING))
    }

    /// Registers packs that the store has no record of. A crash may have come before its commit, or
    /// the home was renamed, and the record is an absolute path.
    pub(super) async fn refer_to_packs(&self) -> Result<(), StoreError> {
        let location = self.home.root().join("packs.location");
        let here = self.folders.packs.as_os_str().as_encoded_bytes();
        let moved = match read_regular(&location, here.len() as u64 + 1) {
            Ok(there) => there != here,
            Err(error) if error.kind() == io::ErrorKind::NotFound => true,
            Err(error) => return Err(StoreError::read(&location)(error)),
        };
        for id in self.folders.packs_there()? {
            let Some(holding) = self.held(id)? else {
                continue;
            };
            let known = matches!(self.status(id).await?, BlobStatus::Complete { .. });
            if known && !moved {
                continue;
            }
            let path = self.folders.pack(&id);
            let found = self.refer_to(&path, holding.len).await?;
            if found != id {
                tracing::warn!(blob = %id.short(), "podsync found a damaged pack, and doesn't call it held any more");
                self.delete(BTreeSet::from([id])).await?;
            }
        }
        if moved {
            write_atomic(&location, here, 0o600)?;
        }
        Ok(())
    }

    /// Takes downloads that the store has no record of as packs if they are whole, and removes the rest of them.
    pub(super) async fn sweep_downloads(&self) -> Result<(), StoreError> {
        let folder = &self.folders.store.data_path;
        for entry in folder.read_dir().map_err(StoreError::read(folder))? {
            let path = entry.map_err(StoreError::read(folder))?.path();
            let Some(id) = id_of(&path) else { continue };
            if !matches!(self.status(id).await?, BlobStatus::NotFound) {
                continue;
            }
            let is_data = path == self.folders.store.data_path(&hash(id));
            if !is_data || !self.take_download(id, &path).await? {
                remove_if_there(&path)?;
            }
        }
        Ok(())
    }

    /// Holds a download if its file is whole.
    async fn take_download(&self, id: BlobId, path: &Path) -> Result<bool, StoreError> {
        let len = path.metadata().map_err(StoreError::read(path))?.len();
        let folders = self.folders.clone();
        if !blocking(move || folders.take_whole(&id, len)).await? {
            return Ok(false);
        }
        let pack = self.folders.pack(&id);
        if self.refer_to(&pack, len).await? == id {
            self.mark_held(id, len).await?;
        }
        Ok(true)
    }

    /// Writes files for the small blobs that an earlier podsync kept in the store's database alone.
    pub(super) async fn write_small_ones(&self) -> Result<(), StoreError> {
        for id in self.listed().await? {
            let Some(holding) = self.held(id)?.filter(Holding::is_whole) else {
                continue;
            };
            if let Err(error) = self.write_beside(id, holding.len).await {
                tracing::warn!(blob = %id.short(), %error, "a small blob has no file of its own; podsync tries again at the next start");
            }
        }
        Ok(())
    }
}

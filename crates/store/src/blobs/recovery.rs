//! Repairs at open: restores records that the store lost in a crash or by a rename of the home.
//!
//! It runs before other code can use the store, so blobs that are unknown now belong to nobody.

use std::{collections::BTreeSet, fs, io};

use iroh_blobs::api::blobs::BlobStatus;

use super::{Blobs, folders::id_of};
use crate::{Holding, Home, StoreError, holdings::Holdings, regular::read_regular, write_atomic};

/// This file exists while holdings are being rebuilt.
const NOTING: &str = "held.unfinished";

/// Whether the holdings must be rebuilt by reading: their file is missing, or a rebuild was
/// interrupted.
pub(super) fn is_unnoted(home: &Home) -> Result<bool, StoreError> {
    let noting = home.root().join(NOTING);
    if Holdings::are_there(home) {
        return Ok(noting.exists());
    }
    write_atomic(&noting, b"", 0o600)?;
    Ok(true)
}

impl Blobs {
    /// Reads every complete blob and notes it as held if its hash is right. A later pull checks partial ones.
    pub(super) async fn note_anew(&self) -> Result<(), StoreError> {
        tracing::info!(
            "the list of held blobs is missing; podsync reads every blob to make it again"
        );
        for id in self.folders.packs_there()? {
            let path = self.folders.pack(&id);
            let len = path.metadata().map_err(StoreError::read(&path))?.len();
            if self.refer_to(&path, len).await? == id {
                self.hold(id, Holding::whole(len)).await?;
            }
        }
        for id in self.listed().await? {
            let BlobStatus::Complete { size } = self.status(id).await? else {
                continue;
            };
            if self.held(id)?.is_some() || self.check(id, Holding::whole(size)).await.is_err() {
                continue;
            }
            match self.mark_held(id, size).await {
                // A damaged pack that was just read: the store filed its bytes under the hash they have.
                Ok(_) | Err(StoreError::NotHeld { .. }) => {}
                Err(error) => return Err(error),
            }
        }
        let noting = self.home.root().join(NOTING);
        match fs::remove_file(&noting) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::io("remove", &noting, 0, e))
            }
            _ => Ok(()),
        }
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
                tracing::warn!(blob = %id.short(), "podsync found a damaged pack and drops it");
                self.delete(BTreeSet::from([id])).await?;
            }
        }
        if moved {
            write_atomic(&location, here, 0o600)?;
        }
        Ok(())
    }

    /// Removes download files that the store has no record of.
    pub(super) async fn sweep_downloads(&self) -> Result<(), StoreError> {
        let folder = &self.folders.store.data_path;
        for entry in folder.read_dir().map_err(StoreError::read(folder))? {
            let path = entry.map_err(StoreError::read(folder))?.path();
            let Some(id) = id_of(&path) else { continue };
            if matches!(self.status(id).await?, BlobStatus::NotFound) {
                fs::remove_file(&path).map_err(|e| StoreError::io("remove", &path, 0, e))?;
            }
        }
        Ok(())
    }
}

//! What opening makes good: records that a crash or a rename of the home took from the store.
//!
//! It runs before anybody else can reach the store, so what is unknown now is nobody's.

use std::{collections::BTreeSet, fs, io};

use iroh_blobs::api::blobs::BlobStatus;

use super::{Blobs, folders::id_of};
use crate::{StoreError, write_atomic};

impl Blobs {
    /// Names the packs that the store has no record of: a crash may have come before its commit, or
    /// the home was renamed since, and its record is an absolute path.
    pub(super) async fn refer_to_packs(&self) -> Result<(), StoreError> {
        let location = self.home.root().join("packs.location");
        let here = self.folders.packs.as_os_str().as_encoded_bytes();
        let moved = match fs::read(&location) {
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
                tracing::warn!(blob = %id.short(), "a damaged pack was found and is given up");
                self.delete(BTreeSet::from([id])).await?;
            }
        }
        if moved {
            write_atomic(&location, here, 0o600)?;
        }
        Ok(())
    }

    /// Removes what downloads left that the store has no record of.
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

//! The files of blobs: where they are, and how they are made durable.
//!
//! A pack saved here stays in `packs/`, and the store only refers to it. Downloads are in the
//! store's own folder, under its names. The file of a partial blob has holes and may be shorter
//! than the blob. A small blob, such as a sealed manifest, is in the store's database and in `packs/`:
//! the database can be made again from the files.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

use bao_tree::BaoTree;
use iroh_blobs::store::{
    IROH_BLOCK_SIZE,
    fs::options::{Options, PathOptions},
};
use podsync_core::BlobId;

use super::{BlobReader, hash};
use crate::{
    Holding, StoreError,
    atomic::{self, sync_folder},
    home::close_file,
    regular::{open_regular, read_regular},
};

/// The name prefix of a damaged file that is kept until its blob is whole again.
const ASIDE: &str = "damaged-";

/// A whole blob as files.
#[derive(Debug)]
pub struct BlobFiles {
    pub data: File,
    pub len: u64,
    /// Its hash tree: nodes in pre-order, over groups of 16 KiB.
    pub tree: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Folders {
    /// The folder of packs saved here. The store refers to them and never deletes them.
    pub(super) packs: PathBuf,
    /// Where the store keeps what it downloaded.
    pub(super) store: PathOptions,
    /// Longer blobs are files; others are in the store's database.
    pub(super) inline_max: u64,
}

impl Folders {
    pub(super) fn new(packs: PathBuf, options: &Options) -> Self {
        Self {
            packs,
            store: options.path.clone(),
            inline_max: options.inline.max_data_inlined,
        }
    }

    /// Removes files that were being written when the process was killed.
    pub(super) fn sweep_unfinished(&self) -> Result<(), StoreError> {
        swept(&self.store.temp_path, |name| name.ends_with(".temp"))?;
        swept(&self.packs, |name| name.starts_with(atomic::PREFIX))
    }

    pub(super) fn pack(&self, id: &BlobId) -> PathBuf {
        self.packs.join(format!("{id}.pack"))
    }

    pub(super) fn packs_there(&self) -> Result<Vec<BlobId>, StoreError> {
        self.list(id_of)
    }

    /// The blobs whose damaged file is kept.
    pub(super) fn set_aside_there(&self) -> Result<Vec<BlobId>, StoreError> {
        self.list(|path| {
            path.file_name()?
                .to_str()?
                .strip_prefix(ASIDE)?
                .parse()
                .ok()
        })
    }

    fn list(&self, id: impl Fn(&Path) -> Option<BlobId>) -> Result<Vec<BlobId>, StoreError> {
        let read = || {
            self.packs
                .read_dir()?
                .map(|entry| Ok(id(&entry?.path())))
                .collect()
        };
        let ids: io::Result<Vec<Option<BlobId>>> = read();
        Ok(ids
            .map_err(StoreError::read(&self.packs))?
            .into_iter()
            .flatten()
            .collect())
    }

    /// The possible files of a blob: saved here, or downloaded.
    fn candidates(&self, id: &BlobId) -> [PathBuf; 2] {
        [self.pack(id), self.store.data_path(&hash(*id))]
    }

    /// Whether a held blob has its file. A small one needs none.
    pub(super) fn has(&self, id: &BlobId, holding: Holding) -> bool {
        holding.len <= self.inline_max || self.candidates(id).iter().any(|path| path.exists())
    }

    /// Makes a pack of a blob's file if the file is whole. False if it has none that is.
    pub(super) fn take_whole(&self, id: &BlobId, len: u64) -> Result<bool, StoreError> {
        let pack = self.pack(id);
        for path in self.candidates(id) {
            let is_long_enough = path.metadata().is_ok_and(|metadata| metadata.len() == len);
            if !is_long_enough || hash_of(&path)? != *id {
                continue;
            }
            if path != pack {
                self.move_here(&path, &pack)?;
            }
            return Ok(true);
        }
        Ok(false)
    }

    /// Keeps a blob's damaged file under another name, where nothing reads it.
    pub(super) fn set_aside(&self, id: &BlobId) -> Result<(), StoreError> {
        match self.candidates(id).into_iter().find(|path| path.exists()) {
            Some(path) => self.move_here(&path, &self.aside(id)),
            None => Ok(()),
        }
    }

    /// Deletes a blob's damaged file once the blob is whole, or is not needed.
    pub(super) fn drop_aside(&self, id: &BlobId) -> Result<(), StoreError> {
        remove_if_there(&self.aside(id))
    }

    fn aside(&self, id: &BlobId) -> PathBuf {
        self.packs.join(format!("{ASIDE}{id}"))
    }

    fn move_here(&self, from: &Path, to: &Path) -> Result<(), StoreError> {
        fs::rename(from, to)
            .and_then(|()| sync_folder(&self.packs))
            .map_err(|error| StoreError::io("move a pack to", to, 0, error))
    }

    /// Syncs the files of a blob and their names.
    pub(super) fn sync(&self, id: &BlobId, holding: Holding) -> Result<(), StoreError> {
        // A blob that was collected during an unpinned fetch may be known without a file.
        if self.open(id, holding)?.is_none() && holding.len > self.inline_max {
            return Err(StoreError::NotHeld { id: *id });
        }
        let [pack, data] = self.candidates(id);
        let tree = self.store.outboard_path(&hash(*id));
        // Only a partial blob has the last file, which alone holds its length.
        let sizes = self.store.sizes_path(&hash(*id));
        let bitfield = self.store.bitfield_path(&hash(*id));
        for path in [pack, data, tree, sizes, bitfield] {
            let closed_and_synced = |file: File| {
                close_file(&file)?;
                file.sync_all()
            };
            match File::open(&path).and_then(closed_and_synced) {
                Err(e) if e.kind() != io::ErrorKind::NotFound => {
                    return Err(StoreError::io("sync", &path, 0, e));
                }
                _ => {}
            }
        }
        let folder = &self.store.data_path;
        sync_folder(folder).map_err(|e| StoreError::io("sync", folder, 0, e))
    }

    /// Closes a blob's hash tree to others: the store makes its file with the process's umask.
    pub(super) fn close_tree(&self, id: &BlobId) -> Result<(), StoreError> {
        let tree = self.store.outboard_path(&hash(*id));
        match File::open(&tree).and_then(|file| close_file(&file)) {
            Err(e) if e.kind() != io::ErrorKind::NotFound => {
                Err(StoreError::io("close to others", &tree, 0, e))
            }
            _ => Ok(()),
        }
    }

    /// Reads the file of a small pack, if it has one, and compares it with its hash.
    pub(super) fn check_small_pack(&self, id: BlobId) -> Result<(), StoreError> {
        let path = self.pack(&id);
        match read_regular(&path, self.inline_max + 1) {
            Ok(bytes) if BlobId::of(&bytes) != id => Err(StoreError::Corrupt { id }),
            Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StoreError::read(&path)(e)),
            _ => Ok(()),
        }
    }

    pub(super) fn open(
        &self,
        id: &BlobId,
        holding: Holding,
    ) -> Result<Option<BlobReader>, StoreError> {
        for path in self.candidates(id) {
            match open_regular(&path) {
                Ok(file) => return BlobReader::file(*id, file, path, holding).map(Some),
                Err(e) if e.kind() == io::ErrorKind::NotFound => {}
                Err(e) => return Err(StoreError::read(&path)(e)),
            }
        }
        Ok(None)
    }

    /// The files of a complete blob. None if they are elsewhere or have the wrong length.
    pub(super) fn files(&self, id: &BlobId, len: u64) -> Option<BlobFiles> {
        let expected = BaoTree::new(len, IROH_BLOCK_SIZE).outboard_size();
        let tree = self.store.outboard_path(&hash(*id));
        let tree = read_regular(&tree, expected + 1).ok()?;
        if tree.len() as u64 != expected {
            return None;
        }
        let mut files = self.candidates(id).into_iter().filter_map(|path| {
            let file = open_regular(&path).ok()?;
            let found = file.metadata().ok()?.len();
            (found == len).then_some(file)
        });
        let data = files.next()?;
        Some(BlobFiles { data, len, tree })
    }

    /// Removes packs saved here, which the store never deletes.
    pub(super) fn remove_packs<'a>(
        &self,
        dead: impl IntoIterator<Item = &'a BlobId>,
    ) -> Result<(), StoreError> {
        for id in dead {
            remove_if_there(&self.pack(id))?;
            self.drop_aside(id)?;
        }
        Ok(())
    }
}

fn swept(folder: &Path, is_ours: impl Fn(&str) -> bool) -> Result<(), StoreError> {
    match atomic::sweep(folder, is_ours) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StoreError::io("sweep", folder, 0, e)),
        _ => Ok(()),
    }
}

pub(super) fn remove_if_there(path: &Path) -> Result<(), StoreError> {
    match fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => Err(StoreError::io("remove", path, 0, e)),
        _ => Ok(()),
    }
}

fn hash_of(path: &Path) -> Result<BlobId, StoreError> {
    let mut hasher = blake3::Hasher::new();
    File::open(path)
        .and_then(|file| hasher.update_reader(file).map(drop))
        .map_err(StoreError::read(path))?;
    Ok(BlobId::from_bytes(*hasher.finalize().as_bytes()))
}

/// The blob that a file belongs to: `<hex>.<kind>`.
pub(super) fn id_of(path: &Path) -> Option<BlobId> {
    path.file_stem()?.to_str()?.parse().ok()
}

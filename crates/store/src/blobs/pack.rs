//! A pack on its way to the disk: written, synced, then moved into place.
//!
//! A file that is dropped early is removed; one left by a crash is removed at the next open.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::Path,
};

use podsync_core::manifest::{PACK_MAX_LEN, PACK_TARGET_LEN};
use tempfile::{NamedTempFile, TempPath};

use crate::{Home, StoreError, atomic::sync_folder, home::PACK_PREFIX};

/// Sealed chunks are some tens of KiB. Buffered, a pack takes a few hundred writes.
const BUFFER_LEN: usize = 256 << 10;

/// A pack being written.
#[derive(Debug)]
pub struct PackWriter {
    file: BufWriter<NamedTempFile>,
    len: u64,
    /// Files may not outlive the lock on their folder.
    home: Home,
}

/// A pack that is written and synced, but not yet a blob.
#[derive(Debug)]
pub struct PackFile {
    path: TempPath,
    len: u64,
    _home: Home,
}

impl PackWriter {
    pub(super) fn new(home: &Home) -> Result<Self, StoreError> {
        home.ensure_room(PACK_TARGET_LEN)?;
        let folder = home.tmp();
        let file = NamedTempFile::with_prefix_in(PACK_PREFIX, &folder)
            .map_err(|error| StoreError::io("create a pack in", &folder, PACK_MAX_LEN, error))?;
        let file = BufWriter::with_capacity(BUFFER_LEN, file);
        Ok(Self {
            file,
            len: 0,
            home: home.clone(),
        })
    }

    /// Writes some of the pack.
    pub fn append(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        let len = bytes.len() as u64;
        refuse_large(self.len + len)?;
        if let Err(error) = self.file.write_all(bytes) {
            return Err(StoreError::io(
                "write",
                self.file.get_ref().path(),
                len,
                error,
            ));
        }
        self.len += len;
        Ok(())
    }

    /// The file, for code that writes to one and keeps a pack's bounds itself. Don't mix it with
    /// [`PackWriter::append`].
    pub fn file(&self) -> Result<File, StoreError> {
        let file = self.file.get_ref();
        let cloned = file.as_file().try_clone();
        cloned.map_err(|error| StoreError::io("open", file.path(), 0, error))
    }

    /// Bytes appended so far.
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Ends the pack and syncs it.
    pub fn finish(self) -> Result<PackFile, StoreError> {
        let Self { file, len, home } = self;
        let path = file.get_ref().path().to_owned();
        let failed = |error| StoreError::io("write", &path, len, error);
        let file = file
            .into_inner()
            .map_err(|error| failed(error.into_error()))?;
        fail::fail_point!("store::pack::written");
        file.as_file().sync_all().map_err(failed)?;
        fail::fail_point!("store::pack::synced");
        let len = file.as_file().metadata().map_err(failed)?.len();
        refuse_large(len)?;
        Ok(PackFile {
            path: file.into_temp_path(),
            len,
            _home: home,
        })
    }
}

/// Keeps the kind of an error, such as `StorageFull`.
impl Write for PackWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.append(bytes).map_err(|error| match error {
            StoreError::DiskFull { .. } => io::Error::new(io::ErrorKind::StorageFull, error),
            other => io::Error::other(other),
        })?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl PackFile {
    /// Sealed bytes.
    pub fn len(&self) -> u64 {
        self.len
    }

    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Moves the file to its final name, durably.
    pub(super) fn move_to(self, target: &Path) -> Result<(), StoreError> {
        let folder = target.parent().unwrap_or(target);
        let moved = fs::rename(&self.path, target).and_then(|()| sync_folder(folder));
        moved.map_err(|error| StoreError::io("move a pack to", target, 0, error))
    }
}

fn refuse_large(len: u64) -> Result<(), StoreError> {
    if len <= PACK_MAX_LEN {
        return Ok(());
    }
    Err(StoreError::TooLarge {
        what: "a pack",
        len,
        max: PACK_MAX_LEN,
    })
}

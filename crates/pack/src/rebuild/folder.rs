//! Rebuilds a state as a folder: under a temporary name, then renamed.
//!
//! Symlinks are made after all files, so nothing is ever written through one, even if the file
//! system treats two names as the same.

use std::{
    fs::{self, File, FileTimes, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::{
        self,
        fs::{OpenOptionsExt, PermissionsExt},
    },
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use bytes::Bytes;
use tempfile::TempDir;

use super::{RebuildError, Target, stream};
use crate::{
    entry::{Entry, EntryKind},
    name::EntryName,
    progress::Progress,
    read::Version,
};

impl Version<'_> {
    /// Writes the state as the folder `path`, which must not exist or be empty.
    pub fn to_folder(&self, path: &Path, progress: &dyn Progress) -> Result<(), RebuildError> {
        let failed = |source| RebuildError::Target {
            path: path.to_owned(),
            source,
        };
        if !is_free(path).map_err(failed)? {
            return Err(RebuildError::Exists {
                path: path.to_owned(),
            });
        }
        let parent = match path.parent() {
            Some(parent) if parent != Path::new("") => parent,
            _ => Path::new("."),
        };
        let building = tempfile::Builder::new()
            .prefix(".podsync-")
            .tempdir_in(parent)
            .map_err(failed)?;
        let mut folder = Folder::new(&building);
        stream(*self, &mut folder, progress)?;
        self.finish_folders(&building)?;
        // A temporary folder is 0700; the state's is like any other.
        fs::set_permissions(&building, Permissions::from_mode(0o755)).map_err(failed)?;
        sync(&building).map_err(failed)?;
        fs::rename(&building, path).map_err(failed)?;
        File::open(parent)
            .and_then(|parent| parent.sync_all())
            .map_err(failed)?;
        // Its old name is gone; nothing is left to remove.
        let _ = building.keep();
        Ok(())
    }

    /// Makes the symlinks, and gives folders their modes and times once nothing changes in them.
    fn finish_folders(&self, root: &TempDir) -> Result<(), RebuildError> {
        // Each folder is inside the one before it. Later entries may be in any of them.
        let mut open: Vec<Entry> = Vec::new();
        for entry in self.entries()? {
            let entry = entry?;
            while let Some(folder) =
                open.pop_if(|folder| !entry.name.as_str().starts_with(folder.name.as_str()))
            {
                finish_folder(root, &folder)?;
            }
            match &entry.kind {
                EntryKind::File { .. } => {}
                EntryKind::Dir => open.push(entry),
                EntryKind::Symlink { target } => {
                    unix::fs::symlink(target.as_str(), root.path().join(entry.name.as_str()))
                        .map_err(|source| failed_at(&entry.name, source))?;
                }
            }
        }
        open.iter()
            .rev()
            .try_for_each(|folder| finish_folder(root, folder))
    }
}

/// Syncs a whole folder, so that no power failure leaves empty files. All at once: file by file,
/// 200,000 of them would take minutes.
fn sync(folder: &TempDir) -> io::Result<()> {
    #[cfg(target_os = "linux")]
    rustix::fs::syncfs(File::open(folder)?)?;
    #[cfg(not(target_os = "linux"))]
    rustix::fs::sync();
    Ok(())
}

fn is_free(path: &Path) -> io::Result<bool> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(true),
        Err(error) => Err(error),
        Ok(metadata) => Ok(metadata.is_dir() && fs::read_dir(path)?.next().is_none()),
    }
}

fn finish_folder(root: &TempDir, folder: &Entry) -> Result<(), RebuildError> {
    let path = root.path().join(folder.name.as_str());
    let finish = || {
        let dir = File::open(&path)?;
        dir.set_times(FileTimes::new().set_modified(system_time(folder.mtime_ns)))?;
        dir.set_permissions(Permissions::from_mode(folder.mode))
    };
    finish().map_err(|source| failed_at(&folder.name, source))
}

fn failed_at(name: &EntryName, source: io::Error) -> RebuildError {
    RebuildError::Target {
        path: name.as_str().into(),
        source,
    }
}

struct Folder<'d> {
    root: &'d TempDir,
    file: Option<File>,
    /// The folder that the last entry lies in: made already.
    parent: PathBuf,
}

impl<'d> Folder<'d> {
    fn new(root: &'d TempDir) -> Self {
        Self {
            root,
            file: None,
            parent: root.path().to_owned(),
        }
    }

    fn make_parent(&mut self, path: &Path) -> io::Result<()> {
        match path.parent() {
            Some(parent) if parent != self.parent => {
                fs::create_dir_all(parent)?;
                parent.clone_into(&mut self.parent);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn make(&mut self, entry: &Entry) -> io::Result<()> {
        let path = self.root.path().join(entry.name.as_str());
        self.make_parent(&path)?;
        match entry.kind {
            EntryKind::File { .. } => {
                let file = OpenOptions::new()
                    .write(true)
                    .create_new(true)
                    .mode(0o600)
                    .open(&path)?;
                self.file = Some(file);
            }
            EntryKind::Dir => fs::create_dir(&path)?,
            EntryKind::Symlink { .. } => {}
        }
        Ok(())
    }
}

impl Target for Folder<'_> {
    fn begin(&mut self, entry: &Entry) -> Result<(), RebuildError> {
        self.make(entry)
            .map_err(|source| failed_at(&entry.name, source))
    }

    fn data(&mut self, bytes: Bytes) -> Result<(), RebuildError> {
        let file = self
            .file
            .as_mut()
            .expect("data follows the beginning of a file");
        file.write_all(&bytes)
            .map_err(|source| RebuildError::Target {
                path: self.root.path().to_owned(),
                source,
            })
    }

    fn end(&mut self, entry: &Entry) -> Result<(), RebuildError> {
        let Some(file) = self.file.take() else {
            return Ok(());
        };
        file.set_modified(system_time(entry.mtime_ns))
            .and_then(|()| file.set_permissions(Permissions::from_mode(entry.mode)))
            .map_err(|source| failed_at(&entry.name, source))
    }
}

fn system_time(mtime_ns: i64) -> SystemTime {
    let distance = Duration::from_nanos(mtime_ns.unsigned_abs());
    if mtime_ns < 0 {
        SystemTime::UNIX_EPOCH - distance
    } else {
        SystemTime::UNIX_EPOCH + distance
    }
}

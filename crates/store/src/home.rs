//! A home: the folder of one install, held by one process at a time.
//!
//! The lock lives as long as the [`Home`] and everything opened from it: it is the open file that
//! is locked, so nothing is left behind by a crash and a stale `lock` file means nothing.

mod identity;
mod lock;
mod mark;

use std::{
    fs::{self, DirBuilder, File},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::Arc,
};

use podsync_core::seal::SecretKey;

use crate::{
    StoreError,
    atomic::{self, write_atomic},
};

/// The layout that this podsync writes.
const FORMAT: u32 = 1;

/// What is never filled up: an index that fails to grow takes the blob store down with it.
const RESERVE: u64 = 16 << 20;

/// Why a home cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    #[error("{} is in use by {holder}", path.display())]
    InUse { path: PathBuf, holder: String },
    #[error("{} is a copy or was moved, and two devices with one key would be taken for a forged one", path.display())]
    CopiedHome { path: PathBuf },
    #[error("{} was written by a newer podsync (format {found}, this one knows {FORMAT})", path.display())]
    Newer { path: PathBuf, found: u32 },
    #[error("{} can be {risk} by others (mode {mode:o})", path.display())]
    Exposed {
        path: PathBuf,
        risk: &'static str,
        mode: u32,
        fix: &'static str,
    },
    #[error("{} already has a key", path.display())]
    IdentityExists { path: PathBuf },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl HomeError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::InUse { .. } => "stop it, or choose another home with --home".to_owned(),
            Self::CopiedHome { path } => format!(
                "if the old one never runs again, run `podsync init --moved --home {}`; else make a new home and join again from there",
                path.display()
            ),
            Self::Newer { .. } => "update podsync".to_owned(),
            Self::Exposed { path, fix, .. } => format!("run `chmod {fix} {}`", path.display()),
            Self::IdentityExists { .. } => "a device keeps its key for life".to_owned(),
            Self::Store(error) => return error.hint().map(str::to_owned),
        })
    }
}

/// An opened home. Clones share the lock.
#[derive(Debug, Clone)]
pub struct Home {
    root: PathBuf,
    lock: Arc<File>,
}

impl Home {
    /// Opens `root`, making it if it isn't there, and holds it; `purpose` is what a second process
    /// is told that this one does.
    pub fn open(root: &Path, purpose: &str) -> Result<Self, HomeError> {
        let home = Self::hold(root, purpose)?;
        mark::check(&home.root)?;
        home.prepare()?;
        Ok(home)
    }

    /// Opens a home that its owner moved here on purpose, so that from now on it counts as the
    /// original.
    pub fn open_moved(root: &Path, purpose: &str) -> Result<Self, HomeError> {
        let home = Self::hold(root, purpose)?;
        mark::write(&home.root)?;
        home.prepare()?;
        Ok(home)
    }

    /// An absolute path without links.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// This device's key; none before `podsync init`.
    pub fn identity(&self) -> Result<Option<SecretKey>, HomeError> {
        identity::load(&self.root.join("identity"))
    }

    /// Makes `seed` this device's key, durably and once.
    pub fn create_identity(&self, seed: &SecretKey) -> Result<(), HomeError> {
        identity::create(&self.root.join("identity"), seed)
    }

    /// Where files are written that a crash may leave; emptied at every open.
    pub fn tmp(&self) -> PathBuf {
        self.root.join("tmp")
    }

    /// Whether `len` more bytes fit; ask before a long transfer, not only where it ends.
    pub fn ensure_room(&self, len: u64) -> Result<(), StoreError> {
        let free = free_bytes(&self.root)?;
        match len.saturating_add(RESERVE).checked_sub(free) {
            None | Some(0) => Ok(()),
            Some(needed) => Err(StoreError::DiskFull {
                path: self.root.clone(),
                needed,
            }),
        }
    }

    fn hold(root: &Path, purpose: &str) -> Result<Self, HomeError> {
        make_folder(root)?;
        let root = root.canonicalize().map_err(StoreError::read(root))?;
        refuse_writable(&root)?;
        let lock = Arc::new(lock::hold(&root.join("lock"), purpose)?);
        check_format(&root.join("format"))?;
        Ok(Self { root, lock })
    }

    fn prepare(&self) -> Result<(), HomeError> {
        atomic::sweep(&self.root).map_err(|e| StoreError::io("sweep", &self.root, 0, e))?;
        let tmp = self.tmp();
        match fs::remove_dir_all(&tmp) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(StoreError::io("sweep", &tmp, 0, error).into());
            }
            _ => make_folder(&tmp)?,
        }
        Ok(())
    }

    /// A folder of this home, made if it isn't there.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf, StoreError> {
        let folder = self.root.join(name);
        make_folder(&folder)?;
        Ok(folder)
    }

    /// Keeps the home held for as long as the returned value lives.
    pub(crate) fn guard(&self) -> Arc<File> {
        self.lock.clone()
    }
}

/// Bytes that this user can still write on the disk of a folder.
pub fn free_bytes(folder: &Path) -> Result<u64, StoreError> {
    let disk =
        rustix::fs::statvfs(folder).map_err(|error| StoreError::read(folder)(error.into()))?;
    Ok(disk.f_bavail.saturating_mul(disk.f_frsize))
}

fn make_folder(folder: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| StoreError::io("create", folder, 0, error))
}

/// Who can write to the folder can put another key into it.
fn refuse_writable(root: &Path) -> Result<(), HomeError> {
    let mode = root
        .metadata()
        .map_err(StoreError::read(root))?
        .permissions()
        .mode()
        & 0o777;
    if mode & 0o022 != 0 {
        return Err(HomeError::Exposed {
            path: root.to_owned(),
            risk: "written",
            mode,
            fix: "700",
        });
    }
    Ok(())
}

fn check_format(path: &Path) -> Result<(), HomeError> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Ok(write_atomic(path, format!("{FORMAT}\n").as_bytes(), 0o600)?);
        }
        Err(error) => return Err(StoreError::read(path)(error).into()),
    };
    match text.trim().parse::<u32>() {
        Ok(found) if found > FORMAT => Err(HomeError::Newer {
            path: path.to_owned(),
            found,
        }),
        Ok(FORMAT) => Ok(()),
        _ => Err(StoreError::Damaged {
            path: path.to_owned(),
            what: format!(
                "it says {:?} instead of a format number",
                text.chars().take(20).collect::<String>()
            ),
        }
        .into()),
    }
}

#[cfg(test)]
mod tests;

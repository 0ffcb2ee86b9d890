//! A home: the folder of one install, locked by one process at a time.
//!
//! The lock lasts as long as the [`Home`] and everything opened from it. The open file is locked,
//! so a crash leaves nothing locked and a stale `lock` file means nothing.

mod folder;
mod identity;
mod lock;
mod mark;
mod new;

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use podsync_core::seal::SecretKey;

use self::folder::make_folder;
pub(crate) use self::{
    folder::{blobs_are_in, close_all, close_file},
    identity::is_initialised,
};
pub use self::{
    folder::{check_may_be_home, is_home},
    lock::Holder,
    new::NewHome,
};

use crate::{
    StoreError,
    atomic::{self, write_atomic},
    database::Database,
    error::Remedy,
    regular::read_regular,
    shell::{shell_word, with_suffix},
};

/// The layout that this podsync writes.
const FORMAT: u32 = 1;

/// More bytes than the file with the format's number has.
const MAX_FORMAT_LEN: u64 = 64;

/// The folders in which files come and go.
const FOLDERS: [&str; 4] = ["tmp", "packs", "blobs", "run"];

/// The blob store's folders within its own.
const STORES: [&str; 2] = ["blobs/data", "blobs/temp"];

/// The file that a holder locks, so that the kernel names the holder's process.
const CLAIM: &str = "run/holder";

/// The files that a daemon has open as long as it runs.
const DATABASES: [&str; 2] = ["log.redb", "held.redb"];

/// The name prefix of packs while they are written.
pub(crate) const PACK_PREFIX: &str = "pack-";

/// Disk space that is always left free: an index that fails to grow takes the blob store down.
const RESERVE: u64 = 16 << 20;

/// Why a home cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum HomeError {
    #[error("{} is in use by {holder}", path.display())]
    InUse { path: PathBuf, holder: Holder },
    #[error("{} was copied or moved, and teammates would take two devices with one key for a forgery", path.display())]
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
    #[error("{} is not empty and not a podsync home: it has {found:?} in it", path.display())]
    NotAHome { path: PathBuf, found: String },
    #[error("{} cannot be locked: {source}", path.display())]
    NoLocks { path: PathBuf, source: io::Error },
    #[error("{} is not a folder", path.display())]
    NotAFolder { path: PathBuf },
    #[error("{} lies in the podsync home {}, and a home cannot contain another one", path.display(), outer.display())]
    Nested { path: PathBuf, outer: PathBuf },
    #[error("{} is a symbolic link, and podsync deletes only in folders that it made itself", path.display())]
    Link { path: PathBuf },
    #[error("{} is not a folder, and podsync keeps one there", path.display())]
    InTheWay { path: PathBuf },
    #[error("{} is a symbolic link, and podsync keeps a file of its own there", path.display())]
    LinkedFile { path: PathBuf },
    #[error("{} leads nowhere: it is a symbolic link to {}, which is not there", path.display(), target.display())]
    LeadsNowhere { path: PathBuf, target: PathBuf },
    #[error("{} already has a key", path.display())]
    IdentityExists { path: PathBuf },
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl HomeError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::InUse { .. } => {
                "`podsync stop` ends a daemon, and a command ends by itself; or choose another home with --home"
                    .to_owned()
            }
            Self::CopiedHome { path } => format!(
                "if the old one never runs again, run `podsync init --moved --home {}`; else make a new home and join again from there",
                shell_word(path)
            ),
            Self::Newer { .. } => "update podsync".to_owned(),
            Self::Exposed { path, fix, .. } => format!("run `chmod {fix} {}`", shell_word(path)),
            Self::NotAHome { .. } | Self::NotAFolder { .. } | Self::Nested { .. } => {
                "choose a new or empty folder with --home".to_owned()
            }
            Self::NoLocks { .. } => "choose a folder on a local disk with --home".to_owned(),
            Self::Link { .. } => "put a folder in its place".to_owned(),
            Self::InTheWay { path } | Self::LinkedFile { path } => format!(
                "move it away with `mv {} {}`, then run the same command again",
                shell_word(path),
                with_suffix(path, ".old")
            ),
            Self::LeadsNowhere { .. } => {
                "make the folder that the link names, or choose another one with --home".to_owned()
            }
            Self::IdentityExists { .. } => "a device keeps its key for life".to_owned(),
            Self::Store(error) => return error.hint(),
        })
    }
}

/// An opened home. Clones share the lock.
#[derive(Debug, Clone)]
pub struct Home {
    root: PathBuf,
    lock: Arc<File>,
    _claim: Option<Arc<File>>,
}

impl Home {
    /// Opens and locks `root`, and makes it if needed. `purpose` describes this process to a second
    /// one that finds the lock taken.
    pub fn open(root: &Path, purpose: &str) -> Result<Self, HomeError> {
        let home = Self::hold(root, purpose)?;
        mark::check(&home.root)?;
        home.prepared(purpose)
    }

    /// Opens a home that its owner moved on purpose, and marks it as the original.
    pub fn open_moved(root: &Path, purpose: &str) -> Result<Self, HomeError> {
        let home = Self::hold(root, purpose)?;
        mark::write(&home.root)?;
        home.prepared(purpose)
    }

    /// The process that holds the home at `root`. None if it is free. Changes nothing there.
    pub fn holder(root: &Path) -> Result<Option<Holder>, HomeError> {
        lock::current(&root.join("lock"), &root.join(CLAIM))
    }

    /// A database of the home at `root` that another process has open. That process holds the home, also where its
    /// locks were removed, so that [`Self::holder`] finds nobody. Changes nothing there.
    pub fn database_in_use(root: &Path) -> Option<PathBuf> {
        let paths = DATABASES.map(|name| root.join(name));
        paths.into_iter().find(|path| Database::is_in_use(path))
    }

    /// Whether this holder's process certainly holds the home at `root` now. Always false for the caller's own
    /// process.
    pub fn is_held_by(root: &Path, holder: &Holder) -> bool {
        let again = Self::holder(root);
        holder.owns(&root.join(CLAIM)) && again.is_ok_and(|now| now.as_ref() == Some(holder))
    }

    /// Looks whether this user may use each folder and file of the home at `root`. Opens and changes nothing there.
    pub fn check_access(root: &Path) -> Result<(), HomeError> {
        Ok(folder::refuse_closed(root)?)
    }

    /// An absolute path without links.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// This device's key. None before `podsync init`.
    pub fn identity(&self) -> Result<Option<SecretKey>, HomeError> {
        identity::load(&self.root)
    }

    /// Makes `seed` this device's key, durably and once.
    pub fn create_identity(&self, seed: &SecretKey) -> Result<(), HomeError> {
        identity::create(&self.root, seed)
    }

    /// The folder for temporary files. podsync's leftovers are removed at every open.
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
                free: Some(free),
            }),
        }
    }

    fn hold(root: &Path, purpose: &str) -> Result<Self, HomeError> {
        folder::refuse_foreign(root)?;
        make_folder(root)?;
        let root = root.canonicalize().map_err(StoreError::read(root))?;
        folder::refuse_writable(&root)?;
        folder::refuse_no_file(&root)?;
        let lock = Arc::new(lock::hold(&root.join("lock"), purpose)?);
        // Somebody may have removed the file that another process had locked.
        if let Some(holder) = lock::claimant(&root.join(CLAIM)) {
            return Err(HomeError::InUse { path: root, holder });
        }
        check_format(&root.join("format"))?;
        Ok(Self {
            root,
            lock,
            _claim: None,
        })
    }

    fn prepared(mut self, purpose: &str) -> Result<Self, HomeError> {
        for name in FOLDERS.iter().chain(&STORES) {
            folder::refuse_other(&self.root.join(name))?;
        }
        folder::close_to_others(&self.root)?;
        let tmp = self.folder("tmp")?;
        for (folder, prefix) in [(&self.root, atomic::PREFIX), (&tmp, PACK_PREFIX)] {
            atomic::sweep(folder, |name| name.starts_with(prefix))
                .map_err(|e| StoreError::io("sweep", folder, 0, e))?;
        }
        self.folder("run")?;
        let claim = self.root.join(CLAIM);
        let claimed =
            lock::claim(&claim, purpose).map_err(|e| StoreError::io("lock", &claim, 0, e))?;
        self._claim = claimed.map(Arc::new);
        Ok(self)
    }

    /// A folder of this home, made if it isn't there.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf, StoreError> {
        let folder = self.root.join(name);
        make_folder(&folder)?;
        Ok(folder)
    }

    /// A guard that keeps the home locked.
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

fn check_format(path: &Path) -> Result<(), HomeError> {
    let text = match read_regular(path, MAX_FORMAT_LEN) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
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
            remedy: Remedy::Note,
        }
        .into()),
    }
}

#[cfg(test)]
mod tests;

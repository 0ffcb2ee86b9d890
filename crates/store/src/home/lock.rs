//! The lock that keeps a home to one process.
//!
//! A second file has a record lock, because the kernel names the owner of such a lock. The lock ends when its process
//! closes any handle of that file, so nothing else there opens it. One file can't have both locks: on some systems
//! they exclude each other. If somebody removes the first file, the second one still tells who holds the home.

use std::{
    fmt,
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use rustix::{
    fs::{FlockOperation, fcntl_lock},
    process::{Flock, FlockType, fcntl_getlk},
};

use super::HomeError;
use crate::StoreError;

/// The most bytes to read of a holder's note.
const MAX_HOLDER_LEN: u64 = 200;

/// The holder of a home, from its own note. It may have only just taken the lock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Its process id. None if it is not written yet.
    pub process: Option<u32>,
    pub purpose: String,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.process {
            Some(id) => write!(f, "process {id} ({})", self.purpose),
            None => f.write_str("another process"),
        }
    }
}

impl Holder {
    fn read(file: &File) -> Self {
        let mut text = String::new();
        let read = file.take(MAX_HOLDER_LEN).read_to_string(&mut text);
        read.ok()
            .and_then(|_| Self::parse(text.trim()))
            .unwrap_or(Self {
                process: None,
                purpose: String::new(),
            })
    }

    fn parse(text: &str) -> Option<Self> {
        let (id, purpose) = text.strip_prefix("process ")?.split_once(" (")?;
        Some(Self {
            process: Some(id.parse().ok()?),
            purpose: purpose.strip_suffix(')')?.to_owned(),
        })
    }

    /// Whether the kernel says that the process in the note has locked `path`. The note may be of an earlier process,
    /// or of another machine or container that shares the folder.
    pub(super) fn owns(&self, path: &Path) -> bool {
        self.process
            .is_some_and(|process| look(path).is_ok_and(|file| owner(&file) == Some(process)))
    }
}

/// The process that the kernel names as the owner of the record lock. Never the caller's own process.
fn owner(file: &File) -> Option<u32> {
    let lock = fcntl_getlk(file, &Flock::from(FlockType::ReadLock));
    let owner = lock.ok().flatten()?.pid?;
    u32::try_from(owner.as_raw_pid()).ok()
}

/// The process that has claimed `path`, whatever became of the lock. The caller's process must not have claimed it:
/// this would end the claim.
pub(super) fn claimant(path: &Path) -> Option<Holder> {
    let file = look(path).ok()?;
    let process = owner(&file)?;
    let noted = Holder::read(&file);
    Some(Holder {
        process: Some(process),
        purpose: match noted.process == Some(process) {
            true => noted.purpose,
            false => "podsync".to_owned(),
        },
    })
}

/// The current holder of the lock at `path`, or of the claim where that lock was removed. None if it is free. Changes
/// nothing.
pub(super) fn current(path: &Path, claim: &Path) -> Result<Option<Holder>, HomeError> {
    let file = match look(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(claimant(claim)),
        Err(error) => return Err(StoreError::read(path)(error).into()),
    };
    match file.try_lock_shared() {
        Ok(()) => Ok(claimant(claim)),
        Err(TryLockError::WouldBlock) => Ok(Some(Holder::read(&file))),
        Err(TryLockError::Error(source)) => Err(HomeError::NoLocks {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Locks `path` and writes the holder into it.
pub(super) fn hold(path: &Path, purpose: &str) -> Result<File, HomeError> {
    let failed = |error| StoreError::io("lock", path, 0, error);
    let mut file = open(path).map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(HomeError::InUse {
                path: path.parent().unwrap_or(path).to_owned(),
                holder: Holder::read(&file),
            });
        }
        Err(TryLockError::Error(source)) => {
            return Err(HomeError::NoLocks {
                path: path.to_owned(),
                source,
            });
        }
    }
    write_holder(&mut file, purpose).map_err(failed)?;
    Ok(file)
}

/// Locks `path` so that the kernel names this process as its owner, as long as the file is open. None on a file system
/// without such locks: then `stop` can't be sure of this process, and nothing else changes.
pub(super) fn claim(path: &Path, purpose: &str) -> io::Result<Option<File>> {
    let mut file = open(path)?;
    if fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
        return Ok(None);
    }
    write_holder(&mut file, purpose)?;
    Ok(Some(file))
}

/// Opens a file only to read it, without waiting where it is a pipe.
fn look(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        // Don't write through a link to a foreign file.
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
}

fn write_holder(file: &mut File, purpose: &str) -> io::Result<()> {
    file.set_len(0)?;
    let purpose: String = purpose
        .chars()
        .filter(|c| !c.is_control())
        .take(80)
        .collect();
    writeln!(file, "process {} ({purpose})", std::process::id())
}

/// Whether a file was written by [`hold`], completely or up to a crash.
pub(super) fn is_one(path: &Path) -> bool {
    let Ok(file) = look(path) else {
        return false;
    };
    let mut text = String::new();
    let read = file.take(MAX_HOLDER_LEN).read_to_string(&mut text);
    read.is_ok() && (text.is_empty() || text.starts_with("process "))
}

//! Errors of the disk, grouped by what the caller can do about them.
//!
//! A full disk appears at different depths (`std`, redb, iroh-blobs, each wrapped differently).
//! Build errors with [`StoreError::io`] and its siblings, which detect it.

use std::{
    error::Error,
    io,
    ops::Range,
    path::{Path, PathBuf},
};

use podsync_core::BlobId;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(
        "the disk is full: {}{}",
        path.display(),
        more(.needed)
    )]
    DiskFull { path: PathBuf, needed: u64 },
    #[error("cannot {action} {}: {source}", path.display())]
    Io {
        action: &'static str,
        path: PathBuf,
        source: io::Error,
    },
    #[error("{} is damaged ({what})", path.display())]
    Damaged {
        path: PathBuf,
        what: String,
        remedy: Remedy,
    },
    #[error("this disk does not hold blob {id}")]
    NotHeld { id: BlobId },
    #[error("this disk holds only a part of blob {id}: its bytes from {} to {} are missing", range.start, range.end)]
    PartlyHeld { id: BlobId, range: Range<u64> },
    #[error("blob {id} on this disk is damaged: its bytes do not match its hash")]
    Corrupt { id: BlobId },
    #[error("a file of {len} bytes should be blob {expected}, but its hash is {found}")]
    WrongHash {
        expected: BlobId,
        found: BlobId,
        len: u64,
    },
    #[error("{what} has {len} bytes, more than the {max} allowed")]
    TooLarge {
        what: &'static str,
        len: u64,
        max: u64,
    },
    #[error("the store on this disk has stopped")]
    Closed,
}

/// How to repair a damaged file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// The device's key, which exists nowhere else.
    Identity,
    /// The log. Teammates have the signed records.
    Log,
    /// The holdings. Reading the blobs rebuilds them.
    Holdings,
    /// The blob store's records about its files.
    Blobs,
    /// A note about the folder or the key, which podsync can rewrite.
    Note,
}

impl Remedy {
    fn text(self, path: &Path) -> String {
        let file = path.display();
        let home = path.parent().unwrap_or(path).display();
        match self {
            Self::Identity => format!(
                "restore it from a backup, or start as a new device: `mv {home} {home}.damaged`, then `podsync team \
                 join` with a new ticket, and an admin removes the old device with `podsync team remove DEVICE`"
            ),
            Self::Log => format!(
                "restore it from a backup, or fetch it from the team: `mv {file} {file}.damaged`, then `podsync team \
                 join` with a new ticket brings back all that was shared, and `podsync pull` the versions"
            ),
            Self::Holdings => format!(
                "run `mv {file} {file}.damaged`, then the same command again: podsync reads what is here and notes \
                 anew what is whole"
            ),
            Self::Blobs => {
                let home = path.parent().and_then(Path::parent).unwrap_or(path);
                let home = home.display();
                format!(
                    "run `mv {home}/blobs {home}/blobs.damaged` and `mv {home}/held.redb {home}/held.redb.damaged`, then \
                     the same command again; what was pulled is fetched again by `podsync pull`"
                )
            }
            Self::Note => {
                format!("run `rm {file}`, then the same command again: podsync writes it again")
            }
        }
    }
}

impl StoreError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::DiskFull { .. } => "free some space there, then try again",
            Self::Damaged { remedy, path, .. } => return Some(remedy.text(path)),
            Self::NotHeld { .. } => "pull the version that needs it",
            Self::PartlyHeld { .. } => "pull the version that needs them",
            Self::Corrupt { .. } => "`podsync verify --repair` fetches it again",
            Self::WrongHash { .. } => "save again",
            Self::Closed => "start podsync again",
            Self::Io { .. } => "check that it is there, and that you may read and write it",
            Self::TooLarge { .. } => return None,
        };
        Some(hint.to_owned())
    }
}

impl StoreError {
    /// An I/O error while doing `action` to `path`; `needed` is the number of bytes to write.
    pub(crate) fn io(action: &'static str, path: &Path, needed: u64, source: io::Error) -> Self {
        if is_disk_full(&source) {
            return Self::DiskFull {
                path: path.to_owned(),
                needed,
            };
        }
        Self::Io {
            action,
            path: path.to_owned(),
            source,
        }
    }

    /// For reads, which need no space.
    pub(crate) fn read(path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::io("read", path, 0, source)
    }

    pub(crate) fn database(
        path: &Path,
        needed: u64,
        remedy: Remedy,
        error: impl Into<redb::Error>,
    ) -> Self {
        let damaged = |what| Self::Damaged {
            path: path.to_owned(),
            what,
            remedy,
        };
        match error.into() {
            redb::Error::Corrupted(what) => damaged(what),
            // redb's error for a file that is no database or ends too early.
            redb::Error::Io(source) if is_malformed(&source) => damaged(source.to_string()),
            error @ (redb::Error::TableTypeMismatch { .. }
            | redb::Error::TypeDefinitionChanged { .. }
            | redb::Error::TableDoesNotExist(_)) => damaged(error.to_string()),
            redb::Error::Io(source) => Self::io("use", path, needed, source),
            other => Self::io("use", path, needed, io::Error::other(other)),
        }
    }

    /// An error of the blob store's own.
    pub(crate) fn blobs(
        action: &'static str,
        path: &Path,
        needed: u64,
        error: impl Error + Send + Sync + 'static,
    ) -> Self {
        Self::io(action, path, needed, io::Error::other(error))
    }
}

/// ` needs about 37.9 MB more`. Nothing if that is not known.
fn more(needed: &u64) -> String {
    let needed = *needed;
    let mut size = (needed.saturating_mul(10), "bytes");
    for unit in ["kB", "MB", "GB", "TB"] {
        if size.0 < 10_000 {
            break;
        }
        size = (size.0 / 1000, unit);
    }
    match needed {
        0 => String::new(),
        1..1000 => format!(" needs about {needed} bytes more"),
        _ => format!(
            " needs about {}.{} {} more",
            size.0 / 10,
            size.0 % 10,
            size.1
        ),
    }
}

fn is_malformed(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::InvalidData | io::ErrorKind::UnexpectedEof
    )
}

/// Whether `error` or one of its causes means that no space or quota is left.
fn is_disk_full(error: &io::Error) -> bool {
    let full = |error: &io::Error| {
        matches!(
            error.kind(),
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded
        )
    };
    if full(error) {
        return true;
    }
    let mut cause: Option<&(dyn Error + 'static)> =
        error.get_ref().map(|inner| inner as &(dyn Error + 'static));
    while let Some(inner) = cause {
        if io_within(inner).is_some_and(is_disk_full) {
            return true;
        }
        cause = inner.source();
    }
    false
}

/// redb doesn't expose its I/O errors as a source.
fn io_within<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a io::Error> {
    match (error.downcast_ref(), error.downcast_ref()) {
        (Some(redb::Error::Io(inner)), _) | (_, Some(redb::StorageError::Io(inner))) => Some(inner),
        _ => error.downcast_ref(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_room_that_is_lacking_is_told_in_peoples_units() {
        let full = |needed| {
            let path = PathBuf::from("/x");
            StoreError::DiskFull { path, needed }.to_string()
        };
        assert_eq!(
            full(37_879_808),
            "the disk is full: /x needs about 37.8 MB more"
        );
        assert_eq!(full(512), "the disk is full: /x needs about 512 bytes more");
        assert_eq!(full(0), "the disk is full: /x");
    }

    #[test]
    fn a_full_disk_is_found_however_deep() {
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        let wrapped = io::Error::other(redb::Error::Io(io::Error::other(full())));
        let storage = io::Error::other(redb::StorageError::Io(full()));
        for source in [full(), io::Error::other(full()), wrapped, storage] {
            let error = StoreError::io("write", Path::new("/x"), 7, source);
            assert!(
                matches!(error, StoreError::DiskFull { needed: 7, .. }),
                "{error}"
            );
        }
        let other = StoreError::io("write", Path::new("/x"), 7, io::ErrorKind::NotFound.into());
        assert!(matches!(other, StoreError::Io { .. }));
    }
}

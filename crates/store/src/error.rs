//! Errors of the disk, grouped by what the caller can do about them.
//!
//! A full disk appears at different depths (`std`, redb, iroh-blobs, each wrapped differently).
//! Build errors with [`StoreError::io`] and its siblings, which detect it.

use std::{
    error::Error,
    io,
    ops::Range,
    path::{Path, PathBuf},
    time::Duration,
};

use podsync_core::BlobId;

use crate::shell::shell_word;

#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    #[error(
        "the disk is full: {}{}",
        path.display(),
        room(.needed, .free)
    )]
    DiskFull {
        path: PathBuf,
        /// How much more has to be free. 0 if that is not known.
        needed: u64,
        /// How much was free, if that is why nothing was begun.
        free: Option<u64>,
    },
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
    #[error("another process uses {}", path.display())]
    InUse { path: PathBuf },
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
    /// The disk failed the blob store's database, and the store has ended.
    #[error("the blob store stopped: it could not read or write {}", path.display())]
    Stopped { path: PathBuf },
    #[error("the blob store has not answered for {} s: it may not be able to read or write {}", waited.as_secs(), path.display())]
    Silent { path: PathBuf, waited: Duration },
}

/// How to repair a damaged file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// The device's key, which exists nowhere else.
    Identity,
    /// The device's key, or the note of its device beside it: nothing tells which of the two.
    KeyOrNote,
    /// The log. Teammates have the signed records.
    Log,
    /// The log, which is not where it was. Its owner may know where it is.
    LostLog,
    /// The holdings. Reading the blobs rebuilds them.
    Holdings,
    /// The blob store's records about its files. Reading the files rebuilds them.
    Blobs,
    /// The holdings or the blob store's records, which are gone. The next start rebuilds them.
    LostRecords,
    /// Packs. Teammates may have them.
    Packs,
    /// A note about the folder or the key, which podsync can rewrite.
    Note,
    /// The mark of the machine and the folder. podsync rewrites it once the owner says that no copy runs.
    Mark,
}

impl Remedy {
    fn text(self, path: &Path) -> String {
        let file = shell_word(path);
        let home = path.parent().unwrap_or(path);
        match self {
            Self::Identity => format!("restore it from a backup, or {}", as_new_device(home)),
            Self::KeyOrNote => format!(
                "one of the two files is damaged: if the key is right and only `device` was changed, run `rm {}`, \
                 then the same command again: podsync writes it again; else restore the key from a backup, or {}",
                shell_word(&path.with_file_name("device")),
                as_new_device(home)
            ),
            Self::Log => format!(
                "restore it from a backup, or fetch it from the team: `{}`, then `podsync team join` with a new ticket \
                 brings back all that was shared, and `podsync pull` the versions; podsync keeps every pack as long as \
                 the damaged file is there",
                set_aside(path)
            ),
            Self::LostLog => format!(
                "put it back, or restore it from a backup; if it is lost, fetch it from the team: `touch {}`, then \
                 `podsync team join` with a new ticket; podsync keeps every pack as long as that file is there",
                shell_word(&aside(path))
            ),
            Self::Holdings | Self::Blobs => format!(
                "run `{}`, then the same command again: podsync reads what is here and notes anew what is whole",
                set_aside(path)
            ),
            Self::LostRecords => {
                "the next command that uses the home makes it again: podsync reads what is here and notes what is whole"
                    .to_owned()
            }
            Self::Packs => {
                "put them back where they were, or run `podsync verify --repair`: it fetches what teammates have"
                    .to_owned()
            }
            Self::Note if path.is_dir() => format!(
                "run `{}`, then the same command again: podsync writes it again",
                set_aside(path)
            ),
            Self::Note => {
                format!("run `rm {file}`, then the same command again: podsync writes it again")
            }
            Self::Mark => {
                let adopt = format!("podsync init --moved --home {}", shell_word(home));
                let is_other = path.metadata().is_ok_and(|metadata| !metadata.is_file());
                let adopt = match is_other {
                    true => format!("`{}`, then `{adopt}`", set_aside(path)),
                    false => format!("`{adopt}`"),
                };
                format!(
                    "if no copy of this home runs anywhere, run {adopt}: podsync writes it again"
                )
            }
        }
    }
}

fn as_new_device(home: &Path) -> String {
    format!(
        "start as a new device: `{}`, then `podsync team join` with a new ticket, and an admin removes the old device \
         with `podsync team remove DEVICE`",
        set_aside(home)
    )
}

/// The command that moves a file or folder to a name that is free, so that it can be moved back.
fn set_aside(path: &Path) -> String {
    format!("mv {} {}", shell_word(path), shell_word(&aside(path)))
}

fn aside(path: &Path) -> PathBuf {
    let named = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let first = named(".damaged");
    if first.symlink_metadata().is_err() {
        return first;
    }
    let later = (2..).map(|number: u64| named(&format!(".damaged.{number}")));
    let mut free = later.filter(|path| path.symlink_metadata().is_err());
    free.next().unwrap_or(first)
}

impl StoreError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        let hint = match self {
            Self::DiskFull { .. } => "free some space there, then try again",
            Self::Damaged { remedy, path, .. } => return Some(remedy.text(path)),
            Self::NotHeld { .. } => "pull the version that needs it",
            Self::PartlyHeld { .. } => "pull the version that needs them",
            Self::Corrupt { .. } => "`podsync verify --repair` mends it, or fetches it again",
            Self::WrongHash { .. } => "save again",
            Self::Closed => "start podsync again",
            Self::Stopped { .. } | Self::Silent { .. } => {
                "start podsync again: it checks that file first, and says how to mend it if it is damaged"
            }
            Self::InUse { path } => {
                return Some(format!(
                    "`fuser {}` says which one; if it is `podsync daemon`, end it with `kill` and its number",
                    path.display()
                ));
            }
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
                free: None,
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
            redb::Error::Corrupted(what) if what.starts_with("File truncated") => {
                damaged(TOO_SHORT.to_owned())
            }
            redb::Error::Corrupted(what) => {
                tracing::info!(file = %path.display(), what, "the database is damaged");
                damaged("its content contradicts itself".to_owned())
            }
            redb::Error::Io(source) if source.kind() == io::ErrorKind::UnexpectedEof => {
                damaged(TOO_SHORT.to_owned())
            }
            redb::Error::Io(source) if source.kind() == io::ErrorKind::InvalidData => {
                damaged("it is not a database".to_owned())
            }
            redb::Error::DatabaseAlreadyOpen => Self::InUse {
                path: path.to_owned(),
            },
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

/// A file that was cut.
const TOO_SHORT: &str = "it ends too early: a part of it is missing";

/// ` needs about 37.9 MB more`. Nothing if that is not known.
fn room(needed: &u64, free: &Option<u64>) -> String {
    match (*needed, *free) {
        (needed, Some(free)) => format!(
            " has {} free, and podsync begins only with about {} free",
            in_units(free),
            in_units(free.saturating_add(needed))
        ),
        (0, None) => String::new(),
        (needed, None) => format!(" needs about {} more", in_units(needed)),
    }
}

/// `37.8 MB`.
fn in_units(bytes: u64) -> String {
    let mut size = (bytes.saturating_mul(10), "bytes");
    for unit in ["kB", "MB", "GB", "TB"] {
        if size.0 < 10_000 {
            break;
        }
        size = (size.0 / 1000, unit);
    }
    match bytes {
        0..1000 => format!("{bytes} bytes"),
        _ => format!("{}.{} {}", size.0 / 10, size.0 % 10, size.1),
    }
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

    /// A shell takes the path of the home as one word.
    #[test]
    fn the_way_back_is_a_command_that_can_be_run() {
        let home = Path::new("/tmp/sp home");
        for (remedy, file, command) in [
            (
                Remedy::Identity,
                "identity",
                "`mv '/tmp/sp home' '/tmp/sp home.damaged'`",
            ),
            (Remedy::KeyOrNote, "identity", "`rm '/tmp/sp home/device'`"),
            (
                Remedy::Log,
                "log.redb",
                "`mv '/tmp/sp home/log.redb' '/tmp/sp home/log.redb.damaged'`",
            ),
            (
                Remedy::Holdings,
                "held.redb",
                "`mv '/tmp/sp home/held.redb' '/tmp/sp home/held.redb.damaged'`",
            ),
            (
                Remedy::Blobs,
                "blobs/blobs.db",
                "`mv '/tmp/sp home/blobs/blobs.db' '/tmp/sp home/blobs/blobs.db.damaged'`",
            ),
            (Remedy::Note, "format", "`rm '/tmp/sp home/format'`"),
        ] {
            let told = remedy.text(&home.join(file));
            assert!(told.contains(command), "{told}");
        }
    }

    #[test]
    fn the_room_that_is_lacking_is_told_in_peoples_units() {
        let full = |needed, free| {
            let path = PathBuf::from("/x");
            StoreError::DiskFull { path, needed, free }.to_string()
        };
        assert_eq!(
            full(37_879_808, None),
            "the disk is full: /x needs about 37.8 MB more"
        );
        assert_eq!(
            full(512, None),
            "the disk is full: /x needs about 512 bytes more"
        );
        assert_eq!(full(0, None), "the disk is full: /x");
        // Some is free, and less than a beginning takes.
        assert_eq!(
            full(44_100_000, Some(6_000_000)),
            "the disk is full: /x has 6.0 MB free, and podsync begins only with about 50.1 MB free"
        );
        assert_eq!(
            full(50_100_000, Some(0)),
            "the disk is full: /x has 0 bytes free, and podsync begins only with about 50.1 MB free"
        );
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

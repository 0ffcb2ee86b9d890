//! Objects as files: where each lies, when it becomes visible, and what a sweep removes.
//!
//! A file is written aside, synced, and then moved to its name: a reader sees all of an object or none.

use std::{
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    time::{Duration, SystemTime},
};

use s3s::{S3Error, S3ErrorCode, S3Result, s3_error};
use tempfile::NamedTempFile;

use super::EmbeddedError;

const BUCKETS: &str = "buckets";
/// Bodies that are being written.
const UNFINISHED: &str = "unfinished";
/// Uploads in parts, a folder each.
const UPLOADS: &str = "uploads";
const LOCK: &str = "lock";
/// What may be in a folder that becomes the server's: leftovers of a first start that crashed, or the
/// system's own files.
const OURS: [&str; 8] = [
    BUCKETS,
    UNFINISHED,
    UPLOADS,
    LOCK,
    "secret",
    "secret.new",
    "lost+found",
    ".DS_Store",
];

/// How bodies are named while they are written.
const BODY_PREFIX: &str = ".podsync-body-";
/// How an older podsync-hub named them.
const OLD_BODY_PREFIX: &str = ".tmp";
/// Hex digits of the name of an upload in parts.
const UPLOAD_ID_LEN: usize = 32;

/// The longest key, as S3 has it.
const MAX_KEY_LEN: usize = 1024;
/// The longest name of a file.
const MAX_PART_LEN: usize = 255;
/// After this time without a write, a body counts as abandoned.
const STALE_BODY: Duration = Duration::from_secs(3600);
/// An upload in parts that wasn't touched for so long is given up.
const STALE_UPLOAD: Duration = Duration::from_secs(24 * 3600);

/// The server's folder. One process has it at a time.
#[derive(Debug)]
pub(super) struct Disk {
    folder: PathBuf,
    _lock: File,
}

impl Disk {
    pub(super) fn open(folder: &Path) -> Result<Self, EmbeddedError> {
        let failed = |source| EmbeddedError::Folder {
            path: folder.to_owned(),
            source,
        };
        refuse_foreign(folder).map_err(failed)?;
        for part in ["", BUCKETS, UNFINISHED, UPLOADS] {
            fs::create_dir_all(folder.join(part)).map_err(failed)?;
        }
        let lock = File::create(folder.join(LOCK)).map_err(failed)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(fs::TryLockError::WouldBlock) => {
                return Err(EmbeddedError::InUse(folder.to_owned()));
            }
            Err(fs::TryLockError::Error(error)) => return Err(failed(error)),
        }
        let disk = Self {
            folder: folder.to_owned(),
            _lock: lock,
        };
        // The process that wrote these is gone.
        disk.sweep_older(Duration::ZERO, STALE_UPLOAD);
        Ok(disk)
    }

    pub(super) fn bucket(&self, bucket: &str) -> PathBuf {
        self.folder.join(BUCKETS).join(bucket)
    }

    /// The folder of a bucket that is there.
    pub(super) fn existing_bucket(&self, bucket: &str) -> S3Result<PathBuf> {
        let path = self.bucket(bucket);
        if path.is_dir() {
            Ok(path)
        } else {
            Err(s3_error!(NoSuchBucket))
        }
    }

    pub(super) fn create_bucket(&self, bucket: &str) -> S3Result<()> {
        match fs::create_dir(self.bucket(bucket)) {
            Ok(()) => sync_folder(&self.folder.join(BUCKETS)).map_err(failure),
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                Err(s3_error!(BucketAlreadyOwnedByYou))
            }
            Err(error) => Err(failure(error)),
        }
    }

    /// Where an object lies. The key leads to nowhere else.
    pub(super) fn object(&self, bucket: &str, key: &str) -> S3Result<PathBuf> {
        let mut path = self.existing_bucket(bucket)?;
        if key.len() > MAX_KEY_LEN {
            return Err(s3_error!(KeyTooLongError));
        }
        for part in key.split('/') {
            let is_name = !matches!(part, "" | "." | "..")
                && part.len() <= MAX_PART_LEN
                && !part.contains(|c: char| c.is_control() || c == '\\');
            if !is_name {
                return Err(s3_error!(
                    InvalidArgument,
                    "this server takes no key with such a part"
                ));
            }
            path.push(part);
        }
        Ok(path)
    }

    pub(super) fn unfinished(&self) -> S3Result<NamedTempFile> {
        NamedTempFile::with_prefix_in(BODY_PREFIX, self.folder.join(UNFINISHED)).map_err(failure)
    }

    pub(super) fn uploads(&self) -> PathBuf {
        self.folder.join(UPLOADS)
    }

    /// Gives a body its name, synced. With `only_new`, an object that is there stays as it is.
    pub(super) fn publish(&self, body: NamedTempFile, path: &Path, only_new: bool) -> S3Result<()> {
        body.as_file().sync_all().map_err(failure)?;
        let folder = path.parent().unwrap_or(&self.folder);
        make_folder(folder)?;
        let moved = if only_new {
            body.persist_noclobber(path)
        } else {
            body.persist(path)
        };
        match moved {
            Ok(_) => sync_folder(folder).map_err(failure),
            Err(error) if only_new && error.error.kind() == io::ErrorKind::AlreadyExists => {
                Err(already_there())
            }
            Err(error) => Err(failure(error.error)),
        }
    }

    /// Removes leftovers. If a removal fails, the next sweep tries again.
    pub(super) fn sweep(&self) {
        self.sweep_older(STALE_BODY, STALE_UPLOAD);
    }

    fn sweep_older(&self, body: Duration, upload: Duration) {
        for path in untouched(&self.folder.join(UNFINISHED), body, is_body) {
            report(&path, fs::remove_file(&path));
        }
        for path in untouched(&self.uploads(), upload, is_upload) {
            report(&path, fs::remove_dir_all(&path));
        }
    }
}

/// Refuses a folder that isn't ours, because a sweep deletes files in it.
fn refuse_foreign(folder: &Path) -> io::Result<()> {
    let entries = match folder.read_dir() {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    if folder.join(BUCKETS).is_dir() && folder.join(LOCK).is_file() {
        return Ok(());
    }
    for entry in entries {
        let name = entry?.file_name();
        if !name.to_str().is_some_and(|name| OURS.contains(&name)) {
            let found = name.to_string_lossy();
            return Err(io::Error::other(format!(
                "it is not empty and not the folder of an embedded bucket (there is {found:?} in it); take a new one"
            )));
        }
    }
    Ok(())
}

fn is_body(entry: &fs::DirEntry) -> bool {
    let name = entry.file_name();
    let ours = name
        .to_str()
        .is_some_and(|name| name.starts_with(BODY_PREFIX) || name.starts_with(OLD_BODY_PREFIX));
    ours && entry.file_type().is_ok_and(|kind| kind.is_file())
}

fn is_upload(entry: &fs::DirEntry) -> bool {
    let name = entry.file_name();
    let ours = name.to_str().is_some_and(|name| {
        name.len() == UPLOAD_ID_LEN && name.bytes().all(|byte| byte.is_ascii_hexdigit())
    });
    ours && entry.file_type().is_ok_and(|kind| kind.is_dir())
}

pub(super) fn already_there() -> S3Error {
    s3_error!(PreconditionFailed, "there is an object of this key already")
}

/// Makes a folder last, with those above it that weren't there.
fn make_folder(folder: &Path) -> S3Result<()> {
    let missing: Vec<_> = folder
        .ancestors()
        .take_while(|folder| !folder.is_dir())
        .collect();
    fs::create_dir_all(folder).map_err(failure)?;
    for made in missing {
        if let Some(above) = made.parent() {
            sync_folder(above).map_err(failure)?;
        }
    }
    Ok(())
}

pub(super) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// The error that a client gets for a failed file operation.
pub(super) fn failure(error: io::Error) -> S3Error {
    match error.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            tracing::warn!("the embedded bucket's disk is full");
            let mut full = S3Error::with_message(
                S3ErrorCode::Custom("StorageFull".into()),
                "the server's disk is full",
            );
            full.set_status_code(http::StatusCode::INSUFFICIENT_STORAGE);
            full
        }
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => s3_error!(NoSuchKey),
        io::ErrorKind::IsADirectory => s3_error!(
            InvalidArgument,
            "this server takes no key that is also a folder of keys"
        ),
        _ => {
            tracing::error!(%error, "the embedded bucket's disk failed");
            s3_error!(InternalError, "the server's disk failed")
        }
    }
}

fn untouched(
    folder: &Path,
    for_so_long: Duration,
    is_ours: fn(&fs::DirEntry) -> bool,
) -> Vec<PathBuf> {
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let now = SystemTime::now();
    let is_old = |entry: &fs::DirEntry| {
        let modified = entry.metadata().and_then(|metadata| metadata.modified());
        let age = modified.map(|modified| now.duration_since(modified).unwrap_or_default());
        age.is_ok_and(|age| age >= for_so_long)
    };
    entries
        .flatten()
        .filter(|entry| is_ours(entry) && is_old(entry))
        .map(|entry| entry.path())
        .collect()
}

fn report(path: &Path, removed: io::Result<()>) {
    match removed {
        Ok(()) => tracing::debug!(path = %path.display(), "swept away what was left unfinished"),
        Err(error) => tracing::warn!(path = %path.display(), %error, "cannot sweep away"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn disk() -> (tempfile::TempDir, Disk) {
        let folder = tempfile::tempdir().unwrap();
        let disk = Disk::open(folder.path()).unwrap();
        disk.create_bucket("team").unwrap();
        (folder, disk)
    }

    #[test]
    fn no_key_leads_out_of_its_bucket() {
        let (_folder, disk) = disk();
        for key in [
            "",
            "/",
            "a//b",
            "../other/x",
            "a/../../x",
            "a/.",
            "a\\b",
            "a\0",
            "a/",
            &"a".repeat(256),
            &"a/".repeat(600),
        ] {
            assert!(disk.object("team", key).is_err(), "{key:?}");
        }
        let path = disk.object("team", "packs/ab.0").unwrap();
        assert!(path.ends_with("buckets/team/packs/ab.0"));
        assert!(disk.object("none", "a").is_err());
    }

    #[test]
    fn a_folder_has_one_server() {
        let (folder, disk) = disk();
        assert!(matches!(
            Disk::open(folder.path()),
            Err(EmbeddedError::InUse(_))
        ));
        drop(disk);
        assert!(Disk::open(folder.path()).is_ok());
    }

    #[test]
    fn what_was_left_unfinished_is_gone_at_the_next_start() {
        let (folder, disk) = disk();
        let left = disk.unfinished().unwrap().keep().unwrap().1;
        let upload = |digit: &str| disk.uploads().join(digit.repeat(UPLOAD_ID_LEN));
        let (old, young, theirs) = (upload("0"), upload("1"), disk.uploads().join("theirs"));
        for upload in [&old, &young, &theirs] {
            fs::create_dir(upload).unwrap();
        }
        let note = folder.path().join(UNFINISHED).join("note");
        fs::write(&note, "somebody's").unwrap();
        let long_ago = SystemTime::now() - STALE_UPLOAD - Duration::from_secs(1);
        for upload in [&old, &theirs] {
            File::open(upload).unwrap().set_modified(long_ago).unwrap();
        }
        disk.sweep();
        assert!(left.exists(), "it may be in use");
        assert!(!old.exists() && young.exists());
        drop(disk);
        Disk::open(folder.path()).unwrap();
        assert!(!left.exists());
        assert!(note.exists() && theirs.exists(), "no hub made them");
    }

    #[test]
    fn a_folder_of_somebody_elses_is_refused_and_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join(UNFINISHED)).unwrap();
        let theirs = folder.path().join(UNFINISHED).join(".tmp-list");
        fs::write(&theirs, "precious").unwrap();
        fs::write(folder.path().join("README"), "a project").unwrap();
        let error = Disk::open(folder.path()).unwrap_err();
        assert!(error.to_string().contains("README"), "{error}");
        assert!(theirs.exists());
        assert_eq!(folder.path().read_dir().unwrap().count(), 2);
    }

    #[test]
    fn a_full_disk_is_told_as_such() {
        let full = failure(io::ErrorKind::StorageFull.into());
        assert_eq!(full.status_code().map(|status| status.as_u16()), Some(507));
    }
}

//! Writes files completely or not at all.
//!
//! A rename alone is not durable: the file is synced before it and the folder after it.

use std::{
    fs::{File, Permissions},
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use tempfile::NamedTempFile;

use crate::StoreError;

/// How unfinished files are named; [`sweep`] removes what a crash left of them.
pub(crate) const PREFIX: &str = ".unfinished-";

/// Replaces the file at `path` with `bytes`, durably.
pub fn write_atomic(path: &Path, bytes: &[u8], mode: u32) -> Result<(), StoreError> {
    let failed = |source| StoreError::io("write", path, bytes.len() as u64, source);
    let folder = folder_of(path);
    write_aside(folder, bytes, mode)
        .and_then(|file| Ok(file.persist(path)?))
        .and_then(|_| sync_folder(folder))
        .map_err(failed)
}

/// Puts `bytes` at `path` durably; `AlreadyExists` if something is there.
pub(crate) fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let folder = folder_of(path);
    write_aside(folder, bytes, mode)?.persist_noclobber(path)?;
    fail::fail_point!("store::identity::renamed");
    sync_folder(folder)
}

/// Syncs a folder, so that added and removed names are durable.
pub(crate) fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Removes podsync's unfinished files in `folder`. Others stay, and so do folders and links with such a name:
/// podsync makes none.
pub(crate) fn sweep(folder: &Path, is_ours: impl Fn(&str) -> bool) -> io::Result<()> {
    for entry in folder.read_dir()? {
        let entry = entry?;
        let ours = entry.file_name().to_str().is_some_and(&is_ours);
        if ours && entry.file_type()?.is_file() {
            std::fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

fn write_aside(folder: &Path, bytes: &[u8], mode: u32) -> io::Result<NamedTempFile> {
    let mut file = tempfile::Builder::new()
        .prefix(PREFIX)
        .permissions(Permissions::from_mode(mode))
        .tempfile_in(folder)?;
    file.write_all(bytes)?;
    file.as_file().sync_all()?;
    Ok(file)
}

pub(crate) fn folder_of(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaces_whole_with_the_mode_asked_for() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        write_atomic(&path, b"one", 0o600).unwrap();
        write_atomic(&path, b"second", 0o600).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"second");
        assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(
            folder.path().read_dir().unwrap().count(),
            1,
            "nothing is left aside"
        );
    }

    #[test]
    fn never_clobbers_what_must_be_new() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("identity");
        write_new(&path, b"one", 0o600).unwrap();
        let error = write_new(&path, b"two", 0o600).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(std::fs::read(&path).unwrap(), b"one");
        assert_eq!(folder.path().read_dir().unwrap().count(), 1);
    }
}

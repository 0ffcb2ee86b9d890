//! Tells a copied home from the original, by a mark of the machine and the folder.
//!
//! The mark is the folder's inode, not its path or its device number: renaming a home is no copy,
//! and device numbers change from boot to boot. A restored disk image keeps its inodes; that case
//! is caught when the device asks teammates for the head of its own feed.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

use super::{HomeError, identity::is_initialised};
use crate::{StoreError, error::Remedy, regular::read_regular, write_atomic};

/// Files with an id of the installation. A system without one is identified by the inode alone.
const MACHINE_IDS: [&str; 3] = ["/etc/machine-id", "/var/lib/dbus/machine-id", "/etc/hostid"];
/// More bytes than a mark has.
const MAX_MARK_LEN: u64 = 128;
const CONTEXT: &str = "podsync 2026 home mark 1";

/// Compares the mark in `root` with the one it should have; a new home gets its mark.
pub(super) fn check(root: &Path) -> Result<(), HomeError> {
    let path = root.join("machine");
    match read_regular(&path, MAX_MARK_LEN) {
        Ok(found) if found.trim_ascii() == of(root)?.as_bytes() => Ok(()),
        Ok(found) if !is_mark(found.trim_ascii()) => {
            Err(damaged(path, "what it says is no mark of a machine"))
        }
        Ok(_) => Err(HomeError::CopiedHome {
            path: root.to_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match is_initialised(root) {
            // Every home got its mark before its key.
            true => Err(damaged(
                path,
                "it is gone, and a home with a key has one: this may be a copy of another home",
            )),
            false => write(root),
        },
        Err(error) => Err(StoreError::read(&path)(error).into()),
    }
}

/// Whether some home could have this mark. If so the file is whole, and of another machine or folder.
fn is_mark(found: &[u8]) -> bool {
    found.len() == 2 * blake3::OUT_LEN && found.iter().all(u8::is_ascii_hexdigit)
}

fn damaged(path: PathBuf, what: &str) -> HomeError {
    StoreError::Damaged {
        path,
        what: what.to_owned(),
        remedy: Remedy::Mark,
    }
    .into()
}

/// Makes `root` the original.
pub(super) fn write(root: &Path) -> Result<(), HomeError> {
    Ok(write_atomic(
        &root.join("machine"),
        of(root)?.as_bytes(),
        0o600,
    )?)
}

/// A hash, so that the machine's id itself is not spread by a copy of the home.
fn of(root: &Path) -> Result<String, StoreError> {
    let inode = root.metadata().map_err(StoreError::read(root))?.ino();
    let machine = MACHINE_IDS
        .iter()
        .find_map(|path| fs::read(path).ok())
        .unwrap_or_default();
    let mut hasher = blake3::Hasher::new_derive_key(CONTEXT);
    hasher.update(&inode.to_le_bytes()).update(&machine);
    Ok(hasher.finalize().to_hex().to_string())
}

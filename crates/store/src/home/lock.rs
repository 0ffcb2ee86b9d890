//! The lock that keeps a home to one process.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use super::HomeError;
use crate::StoreError;

/// The most that is read of what a holder wrote about itself.
const MAX_HOLDER_LEN: u64 = 200;

/// Locks `path` and writes into it who holds it.
pub(super) fn hold(path: &Path, purpose: &str) -> Result<File, HomeError> {
    let failed = |error| StoreError::io("lock", path, 0, error);
    let mut file = OpenOptions::new()
        .create(true)
        .truncate(false)
        .read(true)
        .write(true)
        .mode(0o600)
        // What is behind a link isn't ours to write to.
        .custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed())
        .open(path)
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            return Err(HomeError::InUse {
                path: path.parent().unwrap_or(path).to_owned(),
                holder: holder(&file),
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

fn write_holder(file: &mut File, purpose: &str) -> io::Result<()> {
    file.set_len(0)?;
    let purpose: String = purpose
        .chars()
        .filter(|c| !c.is_control())
        .take(80)
        .collect();
    writeln!(file, "process {} ({purpose})", std::process::id())
}

/// Whether a file was written by [`hold`], or is what a crash leaves of it.
pub(super) fn is_one(path: &Path) -> bool {
    let Ok(file) = File::open(path) else {
        return false;
    };
    let mut text = String::new();
    let read = file.take(MAX_HOLDER_LEN).read_to_string(&mut text);
    read.is_ok() && (text.is_empty() || text.starts_with("process "))
}

/// Who holds the lock, as it says itself; it may have only just taken it.
fn holder(file: &File) -> String {
    let mut text = String::new();
    match file.take(MAX_HOLDER_LEN).read_to_string(&mut text) {
        Ok(_) if !text.trim().is_empty() => text.trim().to_owned(),
        _ => "another process".to_owned(),
    }
}

//! Which folders may become a home, and who may access one.
//!
//! podsync deletes files in its home, so it never takes over an unrelated folder by mistake.

use std::{
    ffi::OsStr,
    fs::{self, DirBuilder, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
};

use rustix::{fs::Access, io::Errno};

use super::{FOLDERS, HomeError, atomic, lock};
use crate::{StoreError, error::Remedy};

/// Entries that a folder may contain before it becomes a home: put there for it, or by the system.
pub(super) const BEFOREHAND: [&str; 5] = [
    "config.toml",
    "config.lock",
    "daemon.log",
    "lost+found",
    ".DS_Store",
];

/// Files that every home has. Two of them together are no coincidence.
const MARKS: [&str; 6] = [
    "identity",
    "machine",
    "packs.location",
    "log.redb",
    "held.redb",
    "format",
];

/// The files that podsync keeps in a home, and the way back where something else stands there.
const FILES: [(&str, Remedy); 12] = [
    ("lock", Remedy::Note),
    ("format", Remedy::Note),
    ("machine", Remedy::Mark),
    ("identity", Remedy::Identity),
    ("device", Remedy::Note),
    ("log.redb", Remedy::Log),
    ("log.replaced", Remedy::Note),
    ("held.redb", Remedy::Holdings),
    ("held.unfinished", Remedy::Note),
    ("blobs/blobs.db", Remedy::Blobs),
    ("packs.location", Remedy::Note),
    ("run/holder", Remedy::Note),
];

/// Files that podsync locks and writes. It opens them through no link.
const OWN: [&str; 2] = ["lock", "run/holder"];

/// Other files that the daemon reads and writes.
const DAEMONS: [&str; 3] = ["daemon.log", "follows.json", "autosaves.json"];

/// The file whose permissions are restricted last.
const LOG: &str = "log.redb";

/// Whether a folder is a podsync home, in use or not, whole or half copied.
pub fn is_home(folder: &Path) -> bool {
    let marks = MARKS.iter().filter(|name| folder.join(name).is_file());
    marks.count() >= 2
}

/// Whether a daemon has opened the blobs of a home before, or packs lie there. It opens its log first.
pub(crate) fn blobs_are_in(root: &Path) -> Result<bool, StoreError> {
    let records = ["held.redb", "held.unfinished", "blobs/blobs.db"];
    if records.iter().any(|name| root.join(name).exists()) {
        return Ok(true);
    }
    let packs = root.join("packs");
    match packs.read_dir() {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(StoreError::read(&packs)(error)),
    }
}

/// Refuses a folder that is no home and may not become one. Changes nothing in it.
pub fn check_may_be_home(folder: &Path) -> Result<(), HomeError> {
    refuse_foreign(folder)
}

/// Refuses an existing folder that is no home, before anything is changed in it.
pub(super) fn refuse_foreign(root: &Path) -> Result<(), HomeError> {
    let path = || root.to_owned();
    let entries = match root.read_dir() {
        Ok(entries) => entries,
        Err(error) => {
            if let Some(link) = dangling(root) {
                return Err(HomeError::LeadsNowhere {
                    path: link.to_owned(),
                    target: link.read_link().unwrap_or_default(),
                });
            }
            return match error.kind() {
                io::ErrorKind::NotFound => refuse_nested(root),
                io::ErrorKind::NotADirectory => Err(HomeError::NotAFolder { path: path() }),
                _ => Err(StoreError::read(root)(error).into()),
            };
        }
    };
    if root.join("format").is_file() && root.join("lock").is_file() || is_home(root) {
        return Ok(());
    }
    for entry in entries {
        let name = entry.map_err(StoreError::read(root))?.file_name();
        if !may_be_there(root, &name) {
            let found = name.to_string_lossy().into_owned();
            return Err(HomeError::NotAHome {
                path: path(),
                found,
            });
        }
    }
    refuse_nested(root)
}

/// The link in a path that leads to nothing.
fn dangling(path: &Path) -> Option<&Path> {
    let leads_nowhere = |error: io::Error| {
        let is_loop = error.raw_os_error() == Some(Errno::LOOP.raw_os_error());
        is_loop || error.kind() == io::ErrorKind::NotFound
    };
    path.ancestors().find(|path| {
        let found = path.symlink_metadata();
        found.is_ok_and(|found| found.is_symlink()) && path.metadata().is_err_and(leads_nowhere)
    })
}

fn may_be_there(root: &Path, name: &OsStr) -> bool {
    name.to_str().is_some_and(|name| {
        BEFOREHAND.contains(&name)
            || name.starts_with(atomic::PREFIX)
            || (name == "lock" && lock::is_one(&root.join(name)))
    })
}

/// Refuses a home inside another: it would be swept, saved and removed along with it.
fn refuse_nested(root: &Path) -> Result<(), HomeError> {
    let absolute = std::path::absolute(root).map_err(StoreError::read(root))?;
    let there = absolute.ancestors().find(|folder| folder.exists());
    let there = there.and_then(|folder| folder.canonicalize().ok());
    let outer = there
        .iter()
        .flat_map(|folder| folder.ancestors())
        .find(|folder| is_home(folder));
    match outer {
        None => Ok(()),
        Some(outer) => Err(HomeError::Nested {
            path: root.to_owned(),
            outer: outer.to_owned(),
        }),
    }
}

/// Refuses a folder that others can write to: they could replace the key.
pub(super) fn refuse_writable(root: &Path) -> Result<(), HomeError> {
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

/// Refuses a link or a file in place of one of our folders, since files are deleted there.
pub(super) fn refuse_other(folder: &Path) -> Result<(), HomeError> {
    match folder.symlink_metadata() {
        Ok(metadata) if metadata.is_symlink() => Err(HomeError::Link {
            path: folder.to_owned(),
        }),
        Ok(metadata) if !metadata.is_dir() => Err(HomeError::InTheWay {
            path: folder.to_owned(),
        }),
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StoreError::read(folder)(error).into())
        }
        _ => Ok(()),
    }
}

/// Refuses a home in which something else stands in place of one of its files: opening a pipe would wait for ever,
/// and the error for a folder names no way back.
pub(super) fn refuse_no_file(root: &Path) -> Result<(), HomeError> {
    for (name, remedy) in FILES {
        let path = root.join(name);
        let is_link = path
            .symlink_metadata()
            .is_ok_and(|found| found.is_symlink());
        if is_link && OWN.contains(&name) {
            return Err(HomeError::LinkedFile { path });
        }
        // Who reads the file tells why it can't be looked at.
        let Ok(metadata) = path.metadata() else {
            continue;
        };
        if !metadata.is_file() {
            let what = match metadata.is_dir() {
                true => "it is a folder",
                false => "it is no file",
            };
            return Err(StoreError::Damaged {
                path,
                what: what.to_owned(),
                remedy,
            }
            .into());
        }
    }
    Ok(())
}

/// Refuses a home of which this user may not use a folder or a file. Nothing is opened: that could end a lock.
pub(super) fn refuse_closed(root: &Path) -> Result<(), StoreError> {
    let uses = Access::READ_OK | Access::WRITE_OK;
    let folders = FOLDERS.iter().map(|name| (*name, uses | Access::EXEC_OK));
    let files = FILES.iter().map(|(name, _)| name).chain(&DAEMONS);
    let files = files.map(|name| match *name {
        // Nothing is ever written to it.
        "identity" => (*name, Access::READ_OK),
        name => (name, uses),
    });
    for (name, wanted) in folders.chain(files) {
        let path = root.join(name);
        match rustix::fs::access(path.as_path(), wanted) {
            Ok(()) | Err(Errno::NOENT) => {}
            Err(error) => return Err(StoreError::io("use", &path, 0, error.into())),
        }
    }
    Ok(())
}

pub(super) fn make_folder(folder: &Path) -> Result<(), StoreError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(|error| StoreError::io("create", folder, 0, error))
}

/// Removes permissions that an older podsync gave to others. The folder itself is restricted last, so if it is
/// already, nothing is left to do.
pub(super) fn close_to_others(folder: &Path) -> Result<(), StoreError> {
    let failed = |error| StoreError::io("close to others", folder, 0, error);
    let log = folder.join(LOG);
    let is_open = |path: &Path| {
        let metadata = path.symlink_metadata();
        metadata.is_ok_and(|metadata| metadata.permissions().mode() & 0o077 != 0)
    };
    if is_open(folder) || is_open(&log) {
        close_within(folder).map_err(failed)?;
        if log.is_file() {
            fs::set_permissions(&log, Permissions::from_mode(0o600)).map_err(failed)?;
        }
        fs::set_permissions(folder, Permissions::from_mode(0o700)).map_err(failed)?;
    }
    Ok(())
}

/// Restricts a file that a library made to its owner.
pub(crate) fn close_file(file: &fs::File) -> io::Result<()> {
    file.set_permissions(Permissions::from_mode(0o600))
}

/// Restricts a folder and everything that a library made in it to its owner.
pub(crate) fn close_all(folder: &Path) -> Result<(), StoreError> {
    close_within(folder)
        .and_then(|()| fs::set_permissions(folder, Permissions::from_mode(0o700)))
        .map_err(|error| StoreError::io("close to others", folder, 0, error))
}

fn close_within(folder: &Path) -> io::Result<()> {
    for entry in folder.read_dir()? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        let mode = if kind.is_dir() {
            close_within(&path)?;
            0o700
        } else if kind.is_file() && entry.file_name() != LOG {
            // A hook stays executable.
            let runs = |metadata: fs::Metadata| metadata.permissions().mode() & 0o100;
            0o600 | entry.metadata().map_or(0, runs)
        } else {
            continue;
        };
        match fs::set_permissions(&path, Permissions::from_mode(mode)) {
            // The library may have deleted it meanwhile.
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    Ok(())
}

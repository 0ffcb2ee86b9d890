//! A home that is made for one operation, and removed if that fails.
//!
//! Only files that podsync makes are removed, by their names, and only from a folder that had none of them before.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs, io,
    path::{Path, PathBuf},
};

use super::{FOLDERS, Home, HomeError, folder::BEFOREHAND};
use crate::StoreError;

/// The files that podsync makes in a home. The lock is removed last.
const FILES: [&str; 9] = [
    "identity",
    "device",
    "machine",
    "format",
    "packs.location",
    "log.redb",
    "held.redb",
    "daemon.log",
    "lock",
];

/// A folder that held no part of a home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewHome {
    root: PathBuf,
    was_there: bool,
    /// The entries that were there before.
    beforehand: BTreeSet<OsString>,
}

impl NewHome {
    /// None if a home or other content that podsync must not remove is there already.
    pub fn at(root: &Path) -> Option<Self> {
        let entries = match root.read_dir() {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Some(Self {
                    root: root.to_owned(),
                    was_there: false,
                    beforehand: BTreeSet::new(),
                });
            }
            Err(_) => return None,
        };
        let names = entries.map(|entry| Some(entry.ok()?.file_name()));
        let beforehand = names.collect::<Option<BTreeSet<_>>>()?;
        let is_known =
            |name: &OsString| name.to_str().is_some_and(|name| BEFOREHAND.contains(&name));
        beforehand.iter().all(is_known).then_some(Self {
            root: root.to_owned(),
            was_there: true,
            beforehand,
        })
    }

    /// Removes the home that was made here since. It must not be locked.
    pub fn take_back(self) -> Result<(), HomeError> {
        if !self.root.exists() {
            return Ok(());
        }
        let home = Home::open(&self.root, "podsync: taking a new home back")?;
        for name in FOLDERS {
            gone(fs::remove_dir_all(home.root().join(name)))
                .map_err(|error| StoreError::io("remove", &home.root().join(name), 0, error))?;
        }
        for name in FILES {
            if !self.beforehand.contains(&OsString::from(name)) {
                gone(fs::remove_file(home.root().join(name)))
                    .map_err(|error| StoreError::io("remove", &home.root().join(name), 0, error))?;
            }
        }
        if !self.was_there {
            // Files that others put there meanwhile stay.
            let _ = fs::remove_dir(home.root());
        }
        Ok(())
    }
}

fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

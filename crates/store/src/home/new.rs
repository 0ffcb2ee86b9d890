//! A home that is made for one purpose, and taken back where nothing came of it.
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

/// What podsync makes in a home, beside its folders. The lock goes last.
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

/// A folder in which there was nothing of a home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewHome {
    root: PathBuf,
    was_there: bool,
    /// What lay in it beforehand.
    beforehand: BTreeSet<OsString>,
}

impl NewHome {
    /// None where a home is there already, or something else that is not podsync's to remove.
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

    /// Removes the home that was made here since. Nobody may hold it.
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
            // What somebody else has put there meanwhile stays.
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

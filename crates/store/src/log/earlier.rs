//! What an earlier log left in the home: the log itself, set aside, and the blobs that only it names.
//!
//! A new log knows nothing, so nothing may be deleted on its word. Therefore a log that is gone is damage, and podsync
//! makes a new one only after the owner has set the old one aside, or has said with such a file that it is lost. Each
//! file permits one new log.

use std::{
    collections::BTreeSet,
    io,
    path::{Path, PathBuf},
};

use super::key::{Key, Namespace};
use crate::{
    StoreError,
    atomic::write_atomic,
    error::Remedy,
    home::{blobs_are_in, is_initialised},
    regular::read_regular,
};

/// What the names of logs that were set aside begin with.
const SET_ASIDE: &str = "log.redb.damaged";
/// The logs that were set aside and replaced: a name a line.
const REPLACED: &str = "log.replaced";
/// More bytes than that has.
const MAX_REPLACED_LEN: u64 = 1 << 20;

/// The record that only a log that replaced another one has.
const MADE_ANEW: Namespace = Namespace::new("made_anew");

pub(super) fn mark() -> Key {
    Key::Setting {
        namespace: MADE_ANEW,
        key: Vec::new(),
    }
}

pub(super) struct Earlier {
    root: PathBuf,
    set_aside: BTreeSet<String>,
    /// Those of `set_aside`, or of files that are gone, that were replaced before.
    replaced: BTreeSet<String>,
}

impl Earlier {
    pub(super) fn find(root: &Path) -> Result<Self, StoreError> {
        let mut set_aside = BTreeSet::new();
        for entry in root.read_dir().map_err(StoreError::read(root))? {
            let name = entry.map_err(StoreError::read(root))?.file_name();
            let name = name.to_string_lossy();
            if name.starts_with(SET_ASIDE) {
                set_aside.insert(name.into_owned());
            }
        }
        let noted = root.join(REPLACED);
        let replaced = match read_regular(&noted, MAX_REPLACED_LEN) {
            Ok(bytes) => String::from_utf8_lossy(&bytes)
                .lines()
                .map(str::to_owned)
                .collect(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeSet::new(),
            Err(error) => return Err(StoreError::read(&noted)(error)),
        };
        Ok(Self {
            root: root.to_owned(),
            set_aside,
            replaced,
        })
    }

    pub(super) fn is_set_aside(&self) -> bool {
        !self.set_aside.is_empty()
    }

    /// Whether the log at `path`, which is not there, was there before. It is an error if the owner did not set it
    /// aside. A robot's cache has no key: the team has all that is in it.
    pub(super) fn may_be_replaced(&self, path: &Path) -> Result<bool, StoreError> {
        let was_there = blobs_are_in(&self.root)?;
        if was_there && is_initialised(&self.root) && self.set_aside.is_subset(&self.replaced) {
            return Err(StoreError::Damaged {
                path: path.to_owned(),
                what: "it is gone, and it says what the packs in this home are".to_owned(),
                remedy: Remedy::LostLog,
            });
        }
        Ok(was_there)
    }

    /// Writes down that there is a log beside the ones that were set aside.
    pub(super) fn note(&self) -> Result<(), StoreError> {
        if self.replaced == self.set_aside {
            return Ok(());
        }
        let names: String = self
            .set_aside
            .iter()
            .map(|name| format!("{name}\n"))
            .collect();
        write_atomic(&self.root.join(REPLACED), names.as_bytes(), 0o600)
    }
}

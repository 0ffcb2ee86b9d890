//! A folder as a state: its files, folders and inner symlinks, in the order of their names.
//!
//! A folder `a` sorts as `a`, but its content as `a/...`, after `a.txt`. So each folder is visited
//! twice: as an entry, and to read its content.

use std::{
    fs::{self, OpenOptions},
    os::unix::fs::{MetadataExt, OpenOptionsExt},
    path::Path,
};

use podsync_core::manifest::MAX_ENTRIES;
use rustix::fs::OFlags;

use super::{Intake, SourceError, file, rules};
use crate::{
    entry::{Entry, EntryKind, MODE_MASK},
    entry_table::EntryTable,
    name::{EntryName, LinkTarget},
    stream::Halt,
};

pub(super) fn feed(
    root: &Path,
    intake: &mut Intake<'_, '_>,
    entries: &mut EntryTable,
) -> Result<(), Halt<SourceError>> {
    Walk {
        root,
        intake,
        entries,
    }
    .folder("")
}

/// The bytes of a folder's files, for a progress bar. None where it can't be read, or `stops` says so.
pub fn folder_len(root: &Path, stops: impl Fn() -> bool) -> Option<u64> {
    let mut len = 0;
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        if stops() {
            return None;
        }
        for child in fs::read_dir(folder).ok()? {
            let child = child.ok()?;
            let kind = child.file_type().ok()?;
            if kind.is_dir() {
                folders.push(child.path());
            } else if kind.is_file() {
                len += child.metadata().ok()?.len();
            }
        }
    }
    Some(len)
}

struct Walk<'w, 'i, 'c> {
    root: &'w Path,
    intake: &'w mut Intake<'i, 'c>,
    entries: &'w mut EntryTable,
}

enum Visit {
    File,
    Folder,
    Link,
    /// What the folder holds.
    Inside,
    Special,
}

impl Walk<'_, '_, '_> {
    /// Visits what lies in the folder whose entry name, with a slash behind it, is `prefix`.
    ///
    /// Calls itself for inner folders, at most [`crate::name::MAX_DEPTH`] deep: names end there.
    fn folder(&mut self, prefix: &str) -> Result<(), Halt<SourceError>> {
        for (name, visit) in self.list(prefix)? {
            if let Visit::Inside = visit {
                self.folder(&format!("{prefix}{name}"))?;
                continue;
            }
            let path = self.root.join(format!("{prefix}{name}"));
            let name = EntryName::new(format!("{prefix}{name}")).map_err(SourceError::Name)?;
            let entry = match visit {
                Visit::File => self.file(name, &path)?,
                Visit::Folder => folder_entry(name, &path)?,
                Visit::Link => link_entry(name, &path)?,
                Visit::Inside | Visit::Special => {
                    let reason = "is a socket, a pipe or a device and has no content to save";
                    return Err(SourceError::Refused { path, reason }.into());
                }
            };
            self.intake.note(&entry, self.entries)?;
        }
        Ok(())
    }

    /// What the folder holds, sorted; an inner folder comes a second time with a slash behind it.
    fn list(&self, prefix: &str) -> Result<Vec<(String, Visit)>, SourceError> {
        let path = self.root.join(prefix);
        let unreadable = |source| SourceError::Unreadable {
            path: path.clone(),
            source,
        };
        let mut visits = Vec::new();
        for child in fs::read_dir(&path).map_err(unreadable)? {
            let child = child.map_err(unreadable)?;
            let kind = child.file_type().map_err(unreadable)?;
            let name = child.file_name().into_string().map_err(|_| SourceError::Refused {
                path: child.path(),
                reason: "has a name that is not UTF-8, which a teammate's machine may not be able to write",
            })?;
            if visits.len() as u64 > 2 * MAX_ENTRIES {
                return Err(SourceError::TooManyEntries);
            }
            if kind.is_dir() {
                visits.push((format!("{name}/"), Visit::Inside));
                visits.push((name, Visit::Folder));
            } else if kind.is_file() {
                visits.push((name, Visit::File));
            } else if kind.is_symlink() {
                visits.push((name, Visit::Link));
            } else {
                visits.push((name, Visit::Special));
            }
        }
        let files = visits
            .iter()
            .filter(|(_, visit)| matches!(visit, Visit::File));
        rules::refuse_home(&path, files.map(|(name, _)| name.as_str()))?;
        visits.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        Ok(visits)
    }

    fn file(&mut self, name: EntryName, path: &Path) -> Result<Entry, Halt<SourceError>> {
        // A listed file may be a symlink or a pipe by now.
        let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
        let file = OpenOptions::new()
            .read(true)
            .custom_flags(flags.bits().cast_signed())
            .open(path);
        let file = file.map_err(|source| SourceError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
        file::read_entry(file, name, path, self.intake)
    }
}

fn folder_entry(name: EntryName, path: &Path) -> Result<Entry, SourceError> {
    let metadata = path
        .symlink_metadata()
        .map_err(|source| SourceError::Unreadable {
            path: path.to_owned(),
            source,
        })?;
    Ok(Entry {
        name,
        kind: EntryKind::Dir,
        mode: metadata.mode() & MODE_MASK,
        mtime_ns: file::mtime_ns(&metadata),
    })
}

fn link_entry(name: EntryName, path: &Path) -> Result<Entry, SourceError> {
    let unreadable = |source| SourceError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let metadata = path.symlink_metadata().map_err(unreadable)?;
    let target = fs::read_link(path).map_err(unreadable)?;
    let target = target
        .into_os_string()
        .into_string()
        .map_err(|_| SourceError::Refused {
            path: path.to_owned(),
            reason: "points to a name that is not UTF-8",
        })?;
    let target = LinkTarget::new(&name, target)?;
    Ok(Entry {
        name,
        kind: EntryKind::Symlink { target },
        mode: MODE_MASK,
        mtime_ns: file::mtime_ns(&metadata),
    })
}

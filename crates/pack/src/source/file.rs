//! One regular file as one entry: how a folder's files are read, and a state that is a single file.
//!
//! A file that changes while it is read has no consistent state: its length and time must be the same
//! after the last byte as before the first.

use std::{
    fs::{File, Metadata},
    os::unix::fs::{FileExt, MetadataExt},
    path::Path,
};

use super::{Intake, SourceError};
use crate::{
    entry::{Entry, EntryKind, MODE_MASK},
    entry_table::EntryTable,
    name::EntryName,
    stream::Halt,
};

/// Feeds a file that is the whole state.
pub(super) fn feed(
    file: File,
    path: &Path,
    intake: &mut Intake<'_, '_>,
    entries: &mut EntryTable,
) -> Result<(), Halt<SourceError>> {
    let name = path
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or("state");
    let name = EntryName::new(name).map_err(SourceError::Name)?;
    let entry = read_entry(file, name, path, intake)?;
    intake.note(&entry, entries)
}

/// Streams an open file's content and describes it.
pub(super) fn read_entry(
    file: File,
    name: EntryName,
    path: &Path,
    intake: &mut Intake<'_, '_>,
) -> Result<Entry, Halt<SourceError>> {
    let unreadable = |source| SourceError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let before = file.metadata().map_err(unreadable)?;
    if !before.is_file() {
        return Err(SourceError::Changed {
            path: path.to_owned(),
        }
        .into());
    }
    let len = before.len();
    // From the start: telling a zip from another file has moved the position.
    let mut at = 0;
    let read = |space: &mut [u8]| {
        let got = file.read_at(space, at)?;
        at += got as u64;
        Ok(got)
    };
    let (crc32, done) = intake.read(name.as_str().as_bytes(), len, read, unreadable)?;
    let after = file.metadata().map_err(unreadable)?;
    let changed = |of: fn(&Metadata) -> (u64, i64, i64)| of(&before) != of(&after);
    if done != len || changed(|metadata| (metadata.len(), metadata.mtime(), metadata.mtime_nsec()))
    {
        return Err(SourceError::Changed {
            path: path.to_owned(),
        }
        .into());
    }
    Ok(Entry {
        name,
        kind: EntryKind::File { len, crc32 },
        mode: before.mode() & MODE_MASK,
        mtime_ns: mtime_ns(&before),
    })
}

pub(super) fn mtime_ns(metadata: &Metadata) -> i64 {
    metadata
        .mtime()
        .saturating_mul(1_000_000_000)
        .saturating_add(metadata.mtime_nsec())
}

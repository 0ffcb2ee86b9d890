//! A state as a zip stream, or a part of it: the same bytes every time, of a length known beforehand.
//!
//! The directory at its end is made by reading the entry table once more, not by keeping it.

use std::io::{BufWriter, Write};

use super::{RebuildError, Target, stream};
use crate::{
    entry::{Entry, EntryKind},
    name::EntryName,
    progress::Progress,
    read::{ReadError, Version},
    zip::record::{MemberRecord, end_record},
};

/// The buffer for headers and small members. Larger pieces bypass it.
const BUFFER_LEN: usize = 256 << 10;

/// Selects the entries of a part. Must give the same answers at each call.
pub type Keep<'a> = &'a dyn Fn(&EntryName) -> bool;

impl Version<'_> {
    /// Bytes that [`Self::to_zip`] will write. Needs the entry table only.
    pub fn zip_len(&self) -> Result<u64, ReadError> {
        self.part_zip_len(&|_| true)
    }

    /// Writes the state as a zip of stored members.
    pub fn to_zip(&self, out: &mut dyn Write, progress: &dyn Progress) -> Result<(), RebuildError> {
        self.part_to_zip(&|_| true, out, progress)
    }

    /// Bytes that [`Self::part_to_zip`] will write.
    pub fn part_zip_len(&self, keep: Keep<'_>) -> Result<u64, ReadError> {
        let mut directory = Directory::default();
        for entry in self.entries()? {
            let entry = entry?;
            if keep(&entry.name) {
                directory.add(&entry);
            }
        }
        Ok(directory.offset + directory.len + directory.end().len() as u64)
    }

    /// Writes some entries as a zip of stored members. The others are read and checked all the same.
    pub fn part_to_zip(
        &self,
        keep: Keep<'_>,
        out: &mut dyn Write,
        progress: &dyn Progress,
    ) -> Result<(), RebuildError> {
        let mut members = Members {
            out: BufWriter::with_capacity(BUFFER_LEN, out),
            keep,
            kept: false,
        };
        stream(*self, &mut members, progress)?;
        let mut out = members.out;
        let mut directory = Directory::default();
        for entry in self.entries()? {
            let entry = entry?;
            if keep(&entry.name) {
                out.write_all(&directory.add(&entry))
                    .map_err(RebuildError::Output)?;
            }
        }
        out.write_all(&directory.end())
            .and_then(|()| out.flush())
            .map_err(RebuildError::Output)
    }
}

/// The directory's figures while its records are made.
#[derive(Default)]
struct Directory {
    count: u64,
    /// Bytes of the records so far.
    len: u64,
    /// Bytes of the members so far.
    offset: u64,
}

impl Directory {
    fn add(&mut self, entry: &Entry) -> Vec<u8> {
        let member = MemberRecord::of(entry);
        let record = member.central_record(self.offset);
        self.count += 1;
        self.len += record.len() as u64;
        self.offset += member.stored_len();
        record
    }

    fn end(&self) -> Vec<u8> {
        end_record(self.count, self.len, self.offset)
    }
}

struct Members<'w> {
    out: BufWriter<&'w mut dyn Write>,
    keep: Keep<'w>,
    /// Whether the entry that was begun last is written.
    kept: bool,
}

impl Members<'_> {
    fn write(&mut self, bytes: &[u8]) -> Result<(), RebuildError> {
        if !self.kept {
            return Ok(());
        }
        self.out.write_all(bytes).map_err(RebuildError::Output)
    }
}

impl Target for Members<'_> {
    fn begin(&mut self, entry: &Entry) -> Result<(), RebuildError> {
        self.kept = (self.keep)(&entry.name);
        self.write(&MemberRecord::of(entry).local_header())?;
        match &entry.kind {
            EntryKind::Symlink { target } => self.write(target.as_str().as_bytes()),
            EntryKind::File { .. } | EntryKind::Dir => Ok(()),
        }
    }

    fn data(&mut self, bytes: &[u8]) -> Result<(), RebuildError> {
        self.write(bytes)
    }

    fn end(&mut self, _: &Entry) -> Result<(), RebuildError> {
        Ok(())
    }
}

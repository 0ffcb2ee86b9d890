//! A state as a zip stream, or a part of it: the same bytes every time, of a length known beforehand.
//!
//! The directory at its end is made by reading the entry table once more, not by keeping it.

use std::io::{self, Write};

use bytes::{Bytes, BytesMut};

use super::{RebuildError, Target, stream};
use crate::{
    entry::{Entry, EntryKind},
    name::EntryName,
    progress::Progress,
    read::{ReadError, Version},
    zip::record::{MemberRecord, end_record},
};

/// The buffer in which headers and small members are gathered.
const BUFFER_LEN: usize = 256 << 10;
/// Pieces of at least so many bytes are handed on as they are.
const LONG_LEN: usize = 32 << 10;

/// Takes a zip piece by piece. A piece has at most 2 MiB.
pub trait Sink {
    fn take(&mut self, piece: Bytes) -> io::Result<()>;
}

/// A writer as a sink.
struct Writer<'w>(&'w mut dyn Write);

impl Sink for Writer<'_> {
    fn take(&mut self, piece: Bytes) -> io::Result<()> {
        self.0.write_all(&piece)
    }
}

/// Selects the entries of a part. Must give the same answers at each call.
pub type Keep<'a> = &'a dyn Fn(&EntryName) -> bool;

impl Version<'_> {
    /// Bytes that [`Self::to_zip`] will write. Needs the entry table only.
    pub fn zip_len(&self) -> Result<u64, ReadError> {
        self.part_zip_len(&|_| true)
    }

    /// Writes the state as a zip of stored members.
    pub fn to_zip(&self, out: &mut dyn Write, progress: &dyn Progress) -> Result<(), RebuildError> {
        self.part_to_zip(&|_| true, &mut Writer(out), progress)?;
        out.flush().map_err(RebuildError::Output)
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
        sink: &mut dyn Sink,
        progress: &dyn Progress,
    ) -> Result<(), RebuildError> {
        let mut members = Members {
            out: Gathered {
                buffer: BytesMut::with_capacity(BUFFER_LEN),
                sink,
            },
            keep,
            kept: false,
        };
        stream(*self, &mut members, progress)?;
        let mut out = members.out;
        let mut directory = Directory::default();
        for entry in self.entries()? {
            let entry = entry?;
            if keep(&entry.name) {
                out.gather(&directory.add(&entry))?;
            }
        }
        out.gather(&directory.end())?;
        out.hand_on()
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

/// Gathers short pieces, and hands long ones on without a copy.
struct Gathered<'s> {
    buffer: BytesMut,
    sink: &'s mut dyn Sink,
}

impl Gathered<'_> {
    fn add(&mut self, piece: Bytes) -> Result<(), RebuildError> {
        if piece.len() < LONG_LEN {
            return self.gather(&piece);
        }
        self.hand_on()?;
        self.sink.take(piece).map_err(RebuildError::Output)
    }

    fn gather(&mut self, mut bytes: &[u8]) -> Result<(), RebuildError> {
        while !bytes.is_empty() {
            let room = BUFFER_LEN - self.buffer.len();
            let (now, later) = bytes.split_at(room.min(bytes.len()));
            self.buffer.extend_from_slice(now);
            if self.buffer.len() == BUFFER_LEN {
                self.hand_on()?;
            }
            bytes = later;
        }
        Ok(())
    }

    /// Hands on what is gathered.
    fn hand_on(&mut self) -> Result<(), RebuildError> {
        if self.buffer.is_empty() {
            return Ok(());
        }
        let piece = self.buffer.split().freeze();
        self.sink.take(piece).map_err(RebuildError::Output)
    }
}

struct Members<'w> {
    out: Gathered<'w>,
    keep: Keep<'w>,
    /// Whether the entry that was begun last is written.
    kept: bool,
}

impl Target for Members<'_> {
    fn begin(&mut self, entry: &Entry) -> Result<(), RebuildError> {
        self.kept = (self.keep)(&entry.name);
        if !self.kept {
            return Ok(());
        }
        self.out.gather(&MemberRecord::of(entry).local_header())?;
        match &entry.kind {
            EntryKind::Symlink { target } => self.out.gather(target.as_str().as_bytes()),
            EntryKind::File { .. } | EntryKind::Dir => Ok(()),
        }
    }

    fn data(&mut self, bytes: Bytes) -> Result<(), RebuildError> {
        if self.kept {
            self.out.add(bytes)
        } else {
            Ok(())
        }
    }

    fn end(&mut self, _: &Entry) -> Result<(), RebuildError> {
        Ok(())
    }
}

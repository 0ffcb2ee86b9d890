//! A zip as a state: its members inflated, in the order of their names.
//!
//! The central directory is authoritative. A local header with another name, or data that inflates
//! to another length, ends the save.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    os::unix::fs::FileExt,
};

use flate2::bufread::DeflateDecoder;

use super::{Intake, SourceError};
use crate::{
    entry::{Entry, EntryKind},
    entry_table::EntryTable,
    stream::Halt,
    zip::{
        directory::{Directory, Member, Method},
        local,
    },
};

/// Compressed bytes read at once.
const BUFFER_LEN: usize = 256 << 10;

pub(super) fn feed(
    file: &File,
    directory: Directory,
    intake: &mut Intake<'_, '_>,
    entries: &mut EntryTable,
) -> Result<(), Halt<SourceError>> {
    let mut inflater = DeflateDecoder::new(BufReader::with_capacity(
        BUFFER_LEN,
        Stretch {
            file,
            at: 0,
            left: 0,
        },
    ));
    for member in directory.into_members() {
        let kind = match member.method {
            None => EntryKind::Dir,
            Some(method) => {
                let mut stretch = member_data(file, &member)?;
                match method {
                    Method::Stored => read_member(&member, intake, |space| stretch.read(space))?,
                    Method::Deflated => {
                        let mut buffer = inflater.into_inner();
                        *buffer.get_mut() = stretch;
                        let left_over = buffer.buffer().len();
                        io::BufRead::consume(&mut buffer, left_over);
                        inflater = DeflateDecoder::new(buffer);
                        read_member(&member, intake, |space| inflater.read(space))?;
                    }
                }
                EntryKind::File {
                    len: member.len,
                    crc32: member.crc32,
                }
            }
        };
        let entry = Entry {
            name: member.name,
            kind,
            mode: member.mode,
            mtime_ns: member.mtime_ns,
        };
        intake.note(&entry, entries)?;
    }
    Ok(())
}

fn read_member(
    member: &Member,
    intake: &mut Intake<'_, '_>,
    mut read: impl FnMut(&mut [u8]) -> io::Result<usize>,
) -> Result<(), Halt<SourceError>> {
    let name = member.name.as_str().as_bytes();
    let (crc32, done) = intake.read(name, member.len, &mut read, |_| {
        damaged(member, "does not inflate")
    })?;
    let more = read(&mut [0]).map_err(|_| damaged(member, "does not inflate"))?;
    if done != member.len || more != 0 {
        return Err(damaged(member, "has another length than the zip says").into());
    }
    if crc32 != member.crc32 {
        return Err(damaged(member, "has another checksum than the zip says").into());
    }
    Ok(())
}

/// The member's data, behind its local header.
pub(super) fn member_data<'f>(file: &'f File, member: &Member) -> Result<Stretch<'f>, SourceError> {
    let truncated = |_| damaged(member, "is cut off");
    let mut header = [0; local::HEADER_LEN];
    file.read_exact_at(&mut header, member.offset)
        .map_err(truncated)?;
    let number = |at: usize| u16::from_le_bytes([header[at], header[at + 1]]);
    if header[..4] != local::SIGNATURE || number(8) != member.method.map_or(0, Method::code) {
        return Err(damaged(
            member,
            "has a header that contradicts the zip's directory",
        ));
    }
    let mut name = vec![0; usize::from(number(26))];
    file.read_exact_at(&mut name, member.offset + local::HEADER_LEN as u64)
        .map_err(truncated)?;
    if name != member.name.as_str().as_bytes() {
        return Err(damaged(
            member,
            "has a header that contradicts the zip's directory",
        ));
    }
    let at =
        member.offset + local::HEADER_LEN as u64 + u64::from(number(26)) + u64::from(number(28));
    if at + member.packed_len > member.end {
        return Err(damaged(member, "overlaps with what follows it"));
    }
    Ok(Stretch {
        file,
        at,
        left: member.packed_len,
    })
}

fn damaged(member: &Member, reason: &'static str) -> SourceError {
    SourceError::Member {
        name: member.name.to_string(),
        reason,
    }
}

/// A stretch of a file.
pub(super) struct Stretch<'f> {
    pub(super) file: &'f File,
    pub(super) at: u64,
    pub(super) left: u64,
}

impl Read for Stretch<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let wanted = usize::try_from(self.left).map_or(into.len(), |left| left.min(into.len()));
        let got = self.file.read_at(&mut into[..wanted], self.at)?;
        self.at += got as u64;
        self.left -= got as u64;
        Ok(got)
    }
}

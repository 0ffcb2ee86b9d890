//! Reads a zip while it arrives. Members are read once as they come; the directory, which comes last,
//! decides.
//!
//! Local headers are only a guess. At the end the directory must list each member, in the order of names,
//! with exactly the bytes and checksum that were read. Otherwise the result is
//! [`SourceError::NotAsItCame`], and the whole zip is needed.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::fs::FileExt,
    path::PathBuf,
};

use podsync_core::manifest::MAX_ENTRIES;

use super::{Intake, SourceError};
use crate::{
    entry::{Entry, EntryKind},
    entry_table::EntryTable,
    stream::Halt,
    zip::{
        directory::{Directory, MAX_DIRECTORY_LEN, Member, Method},
        local::{self, LocalHeader},
    },
};

/// What may follow the members: the directory, its two ends and the longest comment.
const MAX_TAIL_LEN: u64 = MAX_DIRECTORY_LEN + (1 << 17);

/// A zip that comes from its start.
pub(super) struct Arriving {
    pub(super) zip: Box<dyn Read + Send>,
    /// A folder for an unlinked file: what follows the members.
    pub(super) spool: PathBuf,
}

/// A stretch that was read as a member, and the checksum of its data.
#[derive(PartialEq, Eq)]
struct Stretch {
    /// Where its local header begins.
    at: u64,
    len: u64,
    crc32: u32,
}

/// All members as they came.
#[derive(Default)]
struct Members {
    stretches: Vec<Stretch>,
    /// A hash over their names and name lengths.
    names: blake3::Hasher,
}

pub(super) fn feed(
    mut arriving: Arriving,
    intake: &mut Intake<'_, '_>,
    entries: &mut EntryTable,
) -> Result<(), Halt<SourceError>> {
    let (came, tail) = arriving.read(intake)?;
    // A reader of the whole zip reports what is wrong with a directory.
    let directory = Directory::read(tail).map_err(|_| SourceError::NotAsItCame)?;
    let members = directory.into_members();
    if !came.are(&members) {
        return Err(SourceError::NotAsItCame.into());
    }
    for member in members {
        let entry = Entry {
            kind: match member.method {
                None => EntryKind::Dir,
                Some(_) => EntryKind::File {
                    len: member.len,
                    crc32: member.crc32,
                },
            },
            name: member.name,
            mode: member.mode,
            mtime_ns: member.mtime_ns,
        };
        intake.note(&entry, entries)?;
    }
    Ok(())
}

impl Arriving {
    /// Reads member after member, up to where the directory should begin, and keeps the rest.
    fn read(&mut self, intake: &mut Intake<'_, '_>) -> Result<(Members, Tail), Halt<SourceError>> {
        let mut members = Members::default();
        let mut at = 0;
        let mut previous = Vec::new();
        loop {
            let mut signature = [0; local::SIGNATURE.len()];
            self.exactly(&mut signature)?;
            if signature != local::SIGNATURE {
                return Ok((members, self.tail(at, &signature)?));
            }
            let header = self.header()?;
            // Members out of order can't be read as they come, and too many are always refused.
            if header.name <= previous || members.stretches.len() as u64 == MAX_ENTRIES {
                return Err(SourceError::NotAsItCame.into());
            }
            let read = |space: &mut [u8]| self.zip.read(space);
            let (crc32, done) = intake.read(&header.name, header.len, read, SourceError::Broken)?;
            if done != header.len {
                return Err(SourceError::NotAsItCame.into());
            }
            members.came(&header, at, crc32);
            at += header.header_len + header.len;
            previous = header.name;
        }
    }

    /// The header whose signature was read.
    fn header(&mut self) -> Result<LocalHeader, SourceError> {
        let mut head = [0; local::HEADER_LEN];
        self.exactly(&mut head[local::SIGNATURE.len()..])?;
        let mut rest = vec![0; local::rest_len(&head)];
        self.exactly(&mut rest)?;
        LocalHeader::read(&head, &rest).ok_or(SourceError::NotAsItCame)
    }

    fn exactly(&mut self, into: &mut [u8]) -> Result<(), SourceError> {
        let mut filled = 0;
        while filled < into.len() {
            match self.zip.read(&mut into[filled..]) {
                // The stream ended here as announced: a reader of the whole zip reports what is
                // wrong.
                Ok(0) => return Err(SourceError::NotAsItCame),
                Ok(len) => filled += len,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(SourceError::Broken(error)),
            }
        }
        Ok(())
    }

    /// All from `base` on, of which `begin` was read.
    fn tail(&mut self, base: u64, begin: &[u8]) -> Result<Tail, SourceError> {
        let mut file = tempfile::tempfile_in(&self.spool).map_err(SourceError::Spool)?;
        file.write_all(begin).map_err(SourceError::Spool)?;
        let mut len = begin.len() as u64;
        let mut buffer = vec![0; 64 << 10];
        loop {
            let got = match self.zip.read(&mut buffer) {
                Ok(0) => break,
                Ok(got) => got,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(SourceError::Broken(error)),
            };
            len += got as u64;
            if len > MAX_TAIL_LEN {
                return Err(SourceError::NotAsItCame);
            }
            file.write_all(&buffer[..got]).map_err(SourceError::Spool)?;
        }
        Ok(Tail {
            file,
            base,
            end: base + len,
            at: 0,
        })
    }
}

impl Members {
    fn came(&mut self, header: &LocalHeader, at: u64, crc32: u32) {
        self.stretches.push(Stretch {
            at,
            len: header.len,
            crc32,
        });
        self.name(&header.name);
    }

    fn name(&mut self, name: &[u8]) {
        self.names.update(&(name.len() as u64).to_le_bytes());
        self.names.update(name);
    }

    /// Whether the directory lists exactly these members. They were adjacent, so their ends need no
    /// check.
    fn are(&self, directory: &[Member]) -> bool {
        let mut said = Self::default();
        for member in directory {
            let stored = match member.method {
                None => member.len == 0,
                Some(method) => method == Method::Stored,
            };
            if !stored {
                return false;
            }
            said.stretches.push(Stretch {
                at: member.offset,
                len: member.len,
                crc32: member.crc32,
            });
            let slash = if member.method.is_none() { "/" } else { "" };
            said.name(&[member.name.as_str(), slash].concat().into_bytes());
        }
        said.stretches == self.stretches && said.names.finalize() == self.names.finalize()
    }
}

/// The end of a zip. Earlier bytes were already read and appear as zeros, which no part of a directory is.
struct Tail {
    file: File,
    /// Where in the zip it begins, and ends.
    base: u64,
    end: u64,
    at: u64,
}

impl Read for Tail {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let got = match self.base.checked_sub(self.at) {
            Some(before) if before > 0 => {
                let len = usize::try_from(before).map_or(into.len(), |len| len.min(into.len()));
                into[..len].fill(0);
                len
            }
            _ => self.file.read_at(into, self.at - self.base)?,
        };
        self.at += got as u64;
        Ok(got)
    }
}

impl Seek for Tail {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => Some(at),
            SeekFrom::End(by) => self.end.checked_add_signed(by),
            SeekFrom::Current(by) => self.at.checked_add_signed(by),
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

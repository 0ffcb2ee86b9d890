//! A zip that is still on its way: its members are read as they come, once, and its directory, which comes
//! last, decides.
//!
//! Local headers are taken for a guess and for nothing more. At the end the directory has to say that each
//! member, in the order of the names, is just the stretch that was read, with its checksum; otherwise the
//! answer is [`SourceError::NotAsItCame`], and the zip has to be had whole.

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

/// What was taken for a member, and the checksum of its data.
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
    /// Of their names, each with its length.
    names: blake3::Hasher,
}

pub(super) fn feed(
    mut arriving: Arriving,
    intake: &mut Intake<'_, '_>,
    entries: &mut EntryTable,
) -> Result<(), Halt<SourceError>> {
    let (came, tail) = arriving.read(intake)?;
    // What is wrong with a directory is told by who has all of the zip.
    let directory = Directory::read(tail).map_err(|_| SourceError::NotAsItCame)?;
    let members = directory.into_members();
    if !came.are(&members) {
        return Err(SourceError::NotAsItCame.into());
    }
    for member in members {
        entries.add(&Entry {
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
        })?;
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
            // Out of order they can't be read as they come, and too many are refused in any case.
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
                // It ended here, and was whole: who has all of it says what is wrong.
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

    /// Whether the directory says just this. They came one behind the other, so where one ends needs
    /// no look of its own.
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

/// The end of a zip. What lay before it was read already, and reads as zeros, which no part of a directory is.
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

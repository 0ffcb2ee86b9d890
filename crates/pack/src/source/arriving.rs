//! A zip that is still on its way: its members are read as they come, and its directory, which comes
//! last, decides.
//!
//! Local headers are taken for a guess and for nothing more. Once the file is whole the directory has
//! to say that each member, in the order of the names, is just the stretch that was read, with its
//! checksum; otherwise the answer is [`SourceError::NotAsItCame`], and all of it is read again.

use std::{fs::File, io, os::unix::fs::FileExt};

use podsync_core::manifest::MAX_ENTRIES;

use super::{SourceError, archive, read_into};
use crate::{
    chunker::Chunker,
    entry::{Entry, EntryKind},
    entry_table::EntryTable,
    stream::Halt,
    zip::{
        directory::{Directory, DirectoryError},
        local::{self, LocalHeader},
    },
};

/// Waits until a file has this many bytes, or all that it will have, and says how many that are. An
/// error: it won't be whole.
pub type Arrival = Box<dyn FnMut(u64) -> io::Result<u64> + Send>;

/// Bytes that are waited for at once, where so many are to come.
const STEP_LEN: u64 = 1 << 20;

/// A file that grows from its start.
pub(super) struct Arriving {
    pub(super) file: File,
    pub(super) arrival: Arrival,
}

/// What was taken for a member's data, and its checksum.
struct Stretch {
    at: u64,
    len: u64,
    crc32: u32,
}

pub(super) fn feed(
    mut arriving: Arriving,
    chunker: &mut Chunker<'_>,
    entries: &mut EntryTable,
) -> Result<(), Halt<SourceError>> {
    let stretches = match arriving.read_members(chunker) {
        // Whoever reads it again needs all of it.
        Err(Halt::Failed(SourceError::NotAsItCame)) => None,
        read => Some(read?),
    };
    arriving.arrived(u64::MAX)?;
    let Some(stretches) = stretches else {
        return Err(SourceError::NotAsItCame.into());
    };
    let directory = match Directory::read(&arriving.file) {
        Ok(directory) => directory,
        Err(DirectoryError::NotZip) => return Err(SourceError::NotAState.into()),
        Err(error) => return Err(SourceError::from(error).into()),
    };
    let members = directory.into_members();
    if members.len() != stretches.len() {
        return Err(SourceError::NotAsItCame.into());
    }
    for (member, stretch) in members.into_iter().zip(stretches) {
        let kind = match member.method {
            None if stretch.len == 0 => EntryKind::Dir,
            Some(_) => {
                let data = archive::member_data(&arriving.file, &member)?;
                let seen = (stretch.at, stretch.len, stretch.len, stretch.crc32);
                if seen != (data.at, data.left, member.len, member.crc32) {
                    return Err(SourceError::NotAsItCame.into());
                }
                EntryKind::File {
                    len: member.len,
                    crc32: member.crc32,
                }
            }
            None => return Err(SourceError::NotAsItCame.into()),
        };
        entries.add(&Entry {
            name: member.name,
            kind,
            mode: member.mode,
            mtime_ns: member.mtime_ns,
        })?;
    }
    Ok(())
}

impl Arriving {
    /// Reads member after member, up to where the directory should begin.
    fn read_members(
        &mut self,
        chunker: &mut Chunker<'_>,
    ) -> Result<Vec<Stretch>, Halt<SourceError>> {
        let mut stretches = Vec::new();
        let mut at = 0;
        let mut previous = Vec::new();
        while let Some(header) = self.header(at)? {
            // Out of order they can't be read as they come, and too many are refused in any case.
            if header.name <= previous || stretches.len() as u64 == MAX_ENTRIES {
                return Err(SourceError::NotAsItCame.into());
            }
            let stretch = self.read_member(at + header.header_len, header.len, chunker)?;
            at = stretch.at + stretch.len;
            stretches.push(stretch);
            previous = header.name;
        }
        Ok(stretches)
    }

    /// The member that begins here; none where the directory does.
    fn header(&mut self, at: u64) -> Result<Option<LocalHeader>, SourceError> {
        let mut head = [0; local::HEADER_LEN];
        self.exactly(at, &mut head[..local::SIGNATURE.len()])?;
        if !head.starts_with(&local::SIGNATURE) {
            return Ok(None);
        }
        self.exactly(at, &mut head)?;
        let mut rest = vec![0; local::rest_len(&head)];
        self.exactly(at + head.len() as u64, &mut rest)?;
        LocalHeader::read(&head, &rest)
            .map(Some)
            .ok_or(SourceError::NotAsItCame)
    }

    fn read_member(
        &mut self,
        at: u64,
        len: u64,
        chunker: &mut Chunker<'_>,
    ) -> Result<Stretch, Halt<SourceError>> {
        let mut next = at;
        let read = |space: &mut [u8]| {
            let wanted = STEP_LEN.min(space.len() as u64);
            let there = (self.arrival)(next.saturating_add(wanted))?;
            let ready = usize::try_from(there.saturating_sub(next)).unwrap_or(usize::MAX);
            let got = self
                .file
                .read_at(&mut space[..ready.min(wanted as usize)], next)?;
            next += got as u64;
            Ok(got)
        };
        let (crc32, done) = read_into(chunker, len, read, SourceError::Broken)?;
        if done != len {
            return Err(SourceError::NotAsItCame.into());
        }
        Ok(Stretch { at, len, crc32 })
    }

    fn exactly(&mut self, at: u64, into: &mut [u8]) -> Result<(), SourceError> {
        let end = at
            .checked_add(into.len() as u64)
            .ok_or(SourceError::NotAsItCame)?;
        if self.arrived(end)? < end {
            return Err(SourceError::NotAsItCame);
        }
        self.file
            .read_exact_at(into, at)
            .map_err(SourceError::Broken)
    }

    fn arrived(&mut self, len: u64) -> Result<u64, SourceError> {
        (self.arrival)(len).map_err(SourceError::Broken)
    }
}

//! Reads one small entry of a version, opening only the chunks that it needs.

use podsync_core::manifest::ChunkLocation;

use crate::{
    entry::EntryKind,
    read::{ReadError, Version, room_for},
};

impl Version<'_> {
    /// The bytes of the file `name`. `None` if there is no such file. A file of more than `max` bytes is
    /// refused before it is read.
    pub fn read_entry(&self, name: &str, max: u64) -> Result<Option<Vec<u8>>, ReadError> {
        let mut begin = 0;
        for entry in self.entries()? {
            let entry = entry?;
            if entry.name.as_str() != name {
                begin += entry.len();
                continue;
            }
            let EntryKind::File { crc32, .. } = entry.kind else {
                return Ok(None);
            };
            if entry.len() > max {
                return Err(ReadError::LongEntry {
                    name: name.to_owned(),
                    len: entry.len(),
                    max,
                });
            }
            let bytes = self.read_range(begin, entry.len())?;
            if crc32fast::hash(&bytes) != crc32 {
                return Err(ReadError::Unsound("the checksum of an entry is wrong"));
            }
            return Ok(Some(bytes));
        }
        Ok(None)
    }

    /// A range of the state's stream, bounded by the caller.
    fn read_range(&self, begin: u64, len: u64) -> Result<Vec<u8>, ReadError> {
        let end = begin + len;
        let mut bytes = Vec::new();
        let mut opener = self.opener()?;
        let mut plain = Vec::new();
        let mut at = 0;
        for chunk in self.chunks()? {
            if at >= end {
                break;
            }
            let chunk: ChunkLocation = chunk?;
            let next = at + u64::from(chunk.plain_len);
            if next > begin {
                plain.resize(room_for(chunk.plain_len as usize), 0);
                opener.open(&chunk, &mut plain)?;
                let within = |place: u64| (place.clamp(at, next) - at) as usize;
                bytes.extend_from_slice(&plain[within(begin)..within(end)]);
            }
            at = next;
        }
        Ok(bytes)
    }
}

//! A file that is read and stays as it is.
//!
//! redb writes to what it opens, even to examine it, and goes back to an earlier commit where the last one is damaged.
//! Here such writes stay in memory.

use std::{
    collections::BTreeMap,
    fs::File,
    io,
    ops::Range,
    os::unix::fs::FileExt,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use redb::StorageBackend;

use crate::regular::open_regular;

const BLOCK_LEN: u64 = 4096;

type Block = [u8; BLOCK_LEN as usize];

#[derive(Debug)]
pub(super) struct Untouched {
    file: File,
    changes: Mutex<Changes>,
}

#[derive(Debug)]
struct Changes {
    len: u64,
    /// Bytes of the file that still count. Beyond them it is zeros.
    file_len: u64,
    /// Blocks that were written, by number.
    blocks: BTreeMap<u64, Box<Block>>,
}

impl Untouched {
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        let file = open_regular(path)?;
        let len = file.metadata()?.len();
        Ok(Self {
            file,
            changes: Mutex::new(Changes {
                len,
                file_len: len,
                blocks: BTreeMap::new(),
            }),
        })
    }

    fn changes(&self) -> MutexGuard<'_, Changes> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Changes {
    fn read_file(&self, file: &File, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let there = self.file_len.saturating_sub(offset).min(out.len() as u64);
        let (read, beyond) = out.split_at_mut(there as usize);
        beyond.fill(0);
        file.read_exact_at(read, offset)
    }
}

/// The parts of `range` in each block: the block's number, and where the part is in it.
fn parts(range: Range<u64>) -> impl Iterator<Item = (u64, Range<usize>)> {
    (range.start / BLOCK_LEN..range.end.div_ceil(BLOCK_LEN)).map(move |number| {
        let begin = number * BLOCK_LEN;
        let from = range.start.max(begin) - begin;
        let to = range.end.min(begin + BLOCK_LEN) - begin;
        (number, from as usize..to as usize)
    })
}

impl StorageBackend for Untouched {
    fn len(&self) -> io::Result<u64> {
        Ok(self.changes().len)
    }

    fn read(&self, offset: u64, mut out: &mut [u8]) -> io::Result<()> {
        let changes = self.changes();
        let end = offset + out.len() as u64;
        if end > changes.len {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (number, part) in parts(offset..end) {
            let (now, rest) = out.split_at_mut(part.len());
            match changes.blocks.get(&number) {
                Some(block) => now.copy_from_slice(&block[part]),
                None => {
                    let at = number * BLOCK_LEN + part.start as u64;
                    changes.read_file(&self.file, at, now)?;
                }
            }
            out = rest;
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut changes = self.changes();
        if len < changes.len {
            changes.file_len = changes.file_len.min(len);
            changes.blocks.split_off(&len.div_ceil(BLOCK_LEN));
            if let Some(block) = changes.blocks.get_mut(&(len / BLOCK_LEN)) {
                block[(len % BLOCK_LEN) as usize..].fill(0);
            }
        }
        changes.len = len;
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, mut data: &[u8]) -> io::Result<()> {
        let mut changes = self.changes();
        for (number, part) in parts(offset..offset + data.len() as u64) {
            let (now, rest) = data.split_at(part.len());
            if !changes.blocks.contains_key(&number) {
                let mut block = Box::new([0; BLOCK_LEN as usize]);
                changes.read_file(&self.file, number * BLOCK_LEN, block.as_mut_slice())?;
                changes.blocks.insert(number, block);
            }
            if let Some(block) = changes.blocks.get_mut(&number) {
                block[part].copy_from_slice(now);
            }
            data = rest;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_the_file_stays() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let bytes: Vec<u8> = (0..10_000_u32).map(|n| n as u8).collect();
        std::fs::write(&path, &bytes).unwrap();
        let untouched = Untouched::open(&path).unwrap();
        let mut expected = bytes.clone();
        expected.resize(20_000, 0);
        untouched.set_len(20_000).unwrap();
        for (at, len) in [(0, 1), (4000, 5000), (9_990, 100), (19_999, 1)] {
            let written = vec![0xee; len];
            untouched.write(at as u64, &written).unwrap();
            expected[at..at + len].copy_from_slice(&written);
        }
        let mut found = vec![0; 20_000];
        untouched.read(0, &mut found).unwrap();
        assert_eq!(found, expected);
        // What was cut off is zeros if the file grows again.
        untouched.set_len(5000).unwrap();
        assert!(untouched.read(4999, &mut [0; 2]).is_err());
        untouched.set_len(20_000).unwrap();
        expected[5000..].fill(0);
        untouched.read(0, &mut found).unwrap();
        assert_eq!(found, expected);
        assert_eq!(std::fs::read(&path).unwrap(), bytes);
    }
}

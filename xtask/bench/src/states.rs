//! Made-up states: the same bytes for the same seed.

use std::{
    fs::{self, File},
    io::{BufWriter, Seek, SeekFrom, Write},
    path::Path,
};

use anyhow::Result;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

const BLOCK: usize = 1 << 20;
/// Files that a mixed state is made of.
const MIXED_FILES: u64 = 48;
/// Small files that share a folder.
const FILES_PER_FOLDER: u32 = 1000;

/// A file of `len` bytes that no compressor shrinks.
pub(super) fn noise(path: &Path, len: u64, seed: u64) -> Result<()> {
    let mut file = File::create(path)?;
    blocks(len, &mut file, {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        move |block| rng.fill(block)
    })
}

/// A folder of `len` bytes in all, a third each of noise, of records as text, and of pages that are
/// mostly zeros.
pub(super) fn mixed(folder: &Path, len: u64, seed: u64) -> Result<()> {
    fs::create_dir(folder)?;
    for index in 0..MIXED_FILES {
        let path = folder.join(format!("object-{index:02}"));
        let (each, seed) = (len / MIXED_FILES, seed + index);
        match index % 3 {
            0 => noise(&path, each, seed)?,
            1 => records(&path, each, seed)?,
            _ => pages(&path, each, seed)?,
        }
    }
    Ok(())
}

/// `count` files of `len` bytes of noise, a thousand a folder.
pub(super) fn small_files(folder: &Path, count: u32, len: usize, seed: u64) -> Result<()> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut bytes = vec![0; len];
    for index in 0..count {
        let sub = folder.join(format!("{:03}", index / FILES_PER_FOLDER));
        if index.is_multiple_of(FILES_PER_FOLDER) {
            fs::create_dir_all(&sub)?;
        }
        rng.fill(&mut bytes[..]);
        fs::write(sub.join(format!("object-{index:06}")), &bytes)?;
    }
    Ok(())
}

/// Overwrites `len` bytes in each of `places` equal parts of a file, somewhere within the part; how
/// many bytes that were.
pub(super) fn change(path: &Path, places: u64, len: usize, seed: u64) -> Result<u64> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut file = File::options().write(true).open(path)?;
    let part = file.metadata()?.len() / places;
    let room = part.saturating_sub(len as u64).max(1);
    let mut bytes = vec![0; len];
    for place in 0..places {
        rng.fill(&mut bytes[..]);
        file.seek(SeekFrom::Start(place * part + rng.random_range(0..room)))?;
        file.write_all(&bytes)?;
    }
    Ok(places * len as u64)
}

/// Lines as a queue's or a table's dump has them.
fn records(path: &Path, len: u64, seed: u64) -> Result<()> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut file = BufWriter::with_capacity(BLOCK, File::create(path)?);
    let mut left = len as usize;
    while left > 0 {
        let (id, order, tries) = (
            rng.random::<u128>(),
            rng.random::<u32>(),
            rng.random_range(1..9),
        );
        let line = format!(
            "{{\"id\":\"{id:032x}\",\"queue\":\"orders-dead-letters\",\"tries\":{tries},\
             \"body\":\"order {order} failed: the payment service timed out after 3000 ms\"}}\n"
        );
        let part = &line.as_bytes()[..line.len().min(left)];
        file.write_all(part)?;
        left -= part.len();
    }
    Ok(file.into_inner()?.flush()?)
}

/// 4 KiB pages as a sparse database file has them: a sixteenth of each is filled.
fn pages(path: &Path, len: u64, seed: u64) -> Result<()> {
    const PAGE: usize = 4096;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    blocks(len, &mut File::create(path)?, move |block| {
        for page in block.chunks_mut(PAGE) {
            page.fill(0);
            let filled = page.len() / 16;
            rng.fill(&mut page[..filled]);
        }
    })
}

fn blocks(len: u64, file: &mut File, mut fill: impl FnMut(&mut [u8])) -> Result<()> {
    let mut block = vec![0; BLOCK];
    let mut left = len;
    while left > 0 {
        let part = left.min(BLOCK as u64) as usize;
        fill(&mut block[..part]);
        file.write_all(&block[..part])?;
        left -= part as u64;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_stays_within_its_parts_and_says_its_size() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state");
        let len = 3 * BLOCK + 17;
        noise(&path, len as u64, 1).unwrap();
        let before = fs::read(&path).unwrap();
        assert_eq!(change(&path, 16, 1000, 2).unwrap(), 16_000);
        let after = fs::read(&path).unwrap();
        assert_eq!((before.len(), after.len()), (len, len));
        let part = len / 16;
        for place in 0..16 {
            let range = place * part..(place + 1) * part;
            let differing = range.filter(|at| before[*at] != after[*at]).count();
            assert!(
                (900..=1000).contains(&differing),
                "{differing} in part {place}"
            );
        }
    }

    #[test]
    fn a_mixed_state_has_its_size_and_the_same_bytes_again() {
        let folder = tempfile::tempdir().unwrap();
        let (one, two) = (folder.path().join("one"), folder.path().join("two"));
        let len = MIXED_FILES * 10_000;
        mixed(&one, len, 5).unwrap();
        mixed(&two, len, 5).unwrap();
        let files: Vec<_> = fs::read_dir(&one)
            .unwrap()
            .map(|file| file.unwrap())
            .collect();
        assert_eq!(
            files
                .iter()
                .map(|file| file.metadata().unwrap().len())
                .sum::<u64>(),
            len
        );
        for file in files {
            let same = two.join(file.file_name());
            assert_eq!(fs::read(file.path()).unwrap(), fs::read(same).unwrap());
        }
    }
}

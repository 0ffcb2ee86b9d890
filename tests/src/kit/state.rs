//! Made-up states: the same bytes for the same seed.

use std::{
    collections::BTreeMap,
    fs,
    io::{Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use anyhow::{Result, ensure};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Makes a folder of `files` files with `len` incompressible bytes each.
pub fn fill(folder: &Path, files: usize, len: usize, seed: u64) -> Result<()> {
    fs::create_dir_all(folder)?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    for number in 0..files {
        let mut bytes = vec![0; len];
        rng.fill(&mut bytes[..]);
        fs::write(folder.join(format!("file-{number:05}.bin")), bytes)?;
    }
    Ok(())
}

/// Overwrites `len` bytes at `at` of one file.
pub fn change_file(path: &Path, at: u64, len: usize, seed: u64) -> Result<()> {
    let mut bytes = vec![0; len];
    ChaCha8Rng::seed_from_u64(seed).fill(&mut bytes[..]);
    let mut file = fs::OpenOptions::new().write(true).open(path)?;
    file.seek(SeekFrom::Start(at))?;
    file.write_all(&bytes)?;
    Ok(())
}

/// Fails, naming the first difference, unless both folders hold the same files.
pub fn same_tree(left: &Path, right: &Path) -> Result<()> {
    let (ours, theirs) = (files(left)?, files(right)?);
    let names = |tree: &BTreeMap<PathBuf, PathBuf>| tree.keys().cloned().collect::<Vec<_>>();
    ensure!(
        names(&ours) == names(&theirs),
        "other names: {:?} and {:?}",
        names(&ours),
        names(&theirs)
    );
    for (name, path) in &ours {
        ensure!(
            fs::read(path)? == fs::read(&theirs[name])?,
            "{} differs",
            name.display()
        );
    }
    Ok(())
}

/// Bytes of all files below a folder, by their lengths.
pub fn size_of(folder: &Path) -> Result<u64> {
    let mut sum = 0;
    let Ok(entries) = fs::read_dir(folder) else {
        return Ok(0);
    };
    for entry in entries.flatten() {
        // Files come and go while they are counted.
        let Ok(metadata) = entry.metadata() else {
            continue;
        };
        sum += if metadata.is_dir() {
            size_of(&entry.path())?
        } else {
            metadata.len()
        };
    }
    Ok(sum)
}

fn files(root: &Path) -> Result<BTreeMap<PathBuf, PathBuf>> {
    let mut found = BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else {
                found.insert(path.strip_prefix(root)?.to_owned(), path);
            }
        }
    }
    Ok(found)
}

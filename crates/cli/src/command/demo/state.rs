//! A made-up state: incompressible files of many sizes that can be changed in place.
//!
//! All of it is done in blocks, and others get their turn after each: the demo goes on to say what it waits for.

use std::{
    fs,
    io::{Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use podsync_api::{ApiError, ErrorCode};
use tokio::task::yield_now;

use super::local;

/// How the bytes are spread: most in a few large files, as buckets have them.
const FILES: u64 = 16;
/// Places per file that a change touches.
const BLOCK: usize = 1 << 20;

pub(super) struct State {
    path: PathBuf,
    len: u64,
}

impl State {
    pub(super) async fn make(path: &Path, len: u64) -> Result<Self, ApiError> {
        fs::create_dir(path).map_err(local)?;
        let state = Self {
            path: path.to_owned(),
            len,
        };
        state.fill(1).await?;
        Ok(state)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn file(&self, index: u64) -> PathBuf {
        self.path.join(format!("bucket-{index:02}.bin"))
    }

    async fn fill(&self, seed: u64) -> Result<(), ApiError> {
        for index in 0..FILES {
            let mut noise = Noise::new(seed * 1000 + index);
            let mut file = fs::File::create(self.file(index)).map_err(local)?;
            let mut left = self.len / FILES;
            while left > 0 {
                let block = noise.block(left.min(BLOCK as u64));
                file.write_all(&block).map_err(local)?;
                left -= block.len() as u64;
                yield_now().await;
            }
        }
        Ok(())
    }

    /// Overwrites `percent` of every file in its middle; how many bytes that were.
    pub(super) async fn change(&self, percent: u64) -> Result<u64, ApiError> {
        let each = self.len / FILES * percent / 100;
        for index in 0..FILES {
            let mut file = fs::OpenOptions::new()
                .write(true)
                .open(self.file(index))
                .map_err(local)?;
            file.seek(SeekFrom::Start(self.len / FILES / 2))
                .map_err(local)?;
            file.write_all(&Noise::new(500_000 + index).block(each))
                .map_err(local)?;
            yield_now().await;
        }
        Ok(each * FILES)
    }

    /// Makes every byte another.
    pub(super) async fn replace(&self) -> Result<(), ApiError> {
        self.fill(2).await
    }

    pub(super) async fn assert_equal(&self, other: &Path) -> Result<(), ApiError> {
        for index in 0..FILES {
            let ours = self.file(index);
            let theirs = other.join(ours.file_name().unwrap_or_default());
            if !are_equal(&ours, &theirs).await? {
                return Err(ApiError::new(
                    ErrorCode::Internal,
                    format!("{} differs", theirs.display()),
                ));
            }
        }
        Ok(())
    }
}

async fn are_equal(ours: &Path, theirs: &Path) -> Result<bool, ApiError> {
    let open = |path: &Path| fs::File::open(path).map_err(local);
    let (mut ours, mut theirs) = (open(ours)?, open(theirs)?);
    loop {
        let (our, their) = (block_of(&mut ours)?, block_of(&mut theirs)?);
        if our != their || our.is_empty() {
            return Ok(our == their);
        }
        yield_now().await;
    }
}

/// The next block; an empty one at the end.
fn block_of(file: &mut fs::File) -> Result<Vec<u8>, ApiError> {
    let mut block = Vec::with_capacity(BLOCK);
    file.take(BLOCK as u64)
        .read_to_end(&mut block)
        .map_err(local)?;
    Ok(block)
}

/// xorshift64*: noise that no compressor shrinks, the same for the same seed.
struct Noise(u64);

impl Noise {
    fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1)
    }

    fn block(&mut self, len: u64) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(usize::try_from(len).unwrap_or(BLOCK) + 8);
        while (bytes.len() as u64) < len {
            self.0 ^= self.0 >> 12;
            self.0 ^= self.0 << 25;
            self.0 ^= self.0 >> 27;
            bytes.extend_from_slice(&self.0.wrapping_mul(0x2545_F491_4F6C_DD1D).to_le_bytes());
        }
        bytes.truncate(usize::try_from(len).unwrap_or(usize::MAX));
        bytes
    }
}

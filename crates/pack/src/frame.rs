//! A frame: one chunk, sealed, and compressed if that makes it smaller.
//!
//! There is no compression flag: a body as long as its chunk is uncompressed, because a compressed
//! body is only used if it is shorter.

use std::ops::Range;

use podsync_core::{
    ChunkId,
    seal::{BrokenSeal, Sealer, TAG_LEN},
};
use zstd::bulk::{Compressor, Decompressor};

use crate::chunker::CHUNK_MAX_LEN;

const AAD: &[u8; 14] = b"podsync pack 1";
const LEVEL: i32 = 1;

/// A frame that doesn't hold the expected chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    #[error(transparent)]
    Seal(#[from] BrokenSeal),
    #[error("the frame's lengths are impossible")]
    Lengths,
    #[error("the frame does not decompress to its length")]
    Compression,
    #[error("the frame holds another chunk than the table says")]
    WrongChunk,
}

/// Compresses chunks; one per thread.
pub(crate) struct Packer {
    compressor: Compressor<'static>,
    /// Room for a compressed chunk.
    space: Vec<u8>,
}

impl Packer {
    pub(crate) fn new() -> std::io::Result<Self> {
        Ok(Self {
            compressor: Compressor::new(LEVEL)?,
            space: Vec::with_capacity(zstd::zstd_safe::compress_bound(CHUNK_MAX_LEN)),
        })
    }

    /// Appends an unsealed frame and returns its range: the chunk, compressed or not, and room for the
    /// tag.
    pub(crate) fn append(
        &mut self,
        chunk: &[u8],
        frames: &mut Vec<u8>,
    ) -> std::io::Result<Range<usize>> {
        let begin = frames.len();
        frames.extend_from_slice(self.body(chunk)?);
        frames.extend_from_slice(&[0; TAG_LEN]);
        Ok(begin..frames.len())
    }

    fn body<'a>(&'a mut self, chunk: &'a [u8]) -> std::io::Result<&'a [u8]> {
        if !looks_random(chunk) {
            self.compressor.compress_to_buffer(chunk, &mut self.space)?;
            if self.space.len() < chunk.len() {
                return Ok(&self.space);
            }
        }
        Ok(chunk)
    }
}

/// Bytes looked at to tell whether compression is worth trying: windows spread over the chunk.
const SAMPLE_WINDOWS: usize = 16;
const SAMPLE_WINDOW_LEN: usize = 256;
const SAMPLE_LEN: usize = SAMPLE_WINDOWS * SAMPLE_WINDOW_LEN;

/// Whether byte values are spread as evenly as encrypted or compressed bytes are.
///
/// The sum of squared counts of 4096 even bytes is 69,632 on average with a deviation of 360;
/// anything zstd could shrink by a few percent lies far above the limit.
fn looks_random(chunk: &[u8]) -> bool {
    const LIMIT: u32 = 72_000;
    if chunk.len() < SAMPLE_LEN {
        return false;
    }
    let mut counts = [0_u32; 256];
    let step = (chunk.len() - SAMPLE_WINDOW_LEN) / (SAMPLE_WINDOWS - 1);
    for window in 0..SAMPLE_WINDOWS {
        for &byte in &chunk[window * step..][..SAMPLE_WINDOW_LEN] {
            counts[usize::from(byte)] += 1;
        }
    }
    counts.iter().map(|count| count * count).sum::<u32>() < LIMIT
}

/// Seals a body in place as frame `index` of its pack. Its tag fills the last bytes of `frame`.
pub(crate) fn seal(sealer: &Sealer, index: u32, frame: &mut [u8]) {
    let (body, tag) = frame
        .split_last_chunk_mut()
        .expect("a frame has room for its tag");
    sealer.seal_beside(u64::from(index), &aad(index), body, tag);
}

/// Opens a sealed frame in place and returns its body, still compressed. Folding seals that again.
pub(crate) fn open_body<'a>(
    sealer: &Sealer,
    index: u32,
    sealed: &'a mut [u8],
) -> Result<&'a mut [u8], BrokenSeal> {
    sealer.open(u64::from(index), &aad(index), sealed)
}

/// Opens chunks; one per thread.
pub(crate) struct Unpacker(Decompressor<'static>);

impl Unpacker {
    pub(crate) fn new() -> std::io::Result<Self> {
        Decompressor::new().map(Self)
    }

    /// Opens frame `index` and fills `plain`, whose length is the chunk's, with chunk `id`.
    pub(crate) fn open(
        &mut self,
        sealer: &Sealer,
        index: u32,
        id: ChunkId,
        sealed: &mut [u8],
        plain: &mut [u8],
    ) -> Result<(), FrameError> {
        let body = open_body(sealer, index, sealed)?;
        match self.0.decompress_to_buffer(body, plain) {
            Ok(len) if len == plain.len() => check_chunk(plain, id),
            _ => Err(FrameError::Compression),
        }
    }
}

/// Opens frame `index` in place, which holds chunk `id` uncompressed. The chunk is all of `sealed` but its tag.
pub(crate) fn open_plain(
    sealer: &Sealer,
    index: u32,
    id: ChunkId,
    sealed: &mut [u8],
) -> Result<(), FrameError> {
    check_chunk(open_body(sealer, index, sealed)?, id)
}

/// Whether a frame holds its chunk uncompressed.
pub(crate) fn is_plain(sealed_len: u32, plain_len: u32) -> bool {
    sealed_len as usize == plain_len as usize + TAG_LEN
}

/// The seal proves only that someone with the pack's key wrote the frame. So this checks that it holds the chunk which
/// the table names: a teammate could list wrong ids.
fn check_chunk(plain: &[u8], id: ChunkId) -> Result<(), FrameError> {
    if ChunkId::of(plain) == id {
        Ok(())
    } else {
        Err(FrameError::WrongChunk)
    }
}

/// Checks the lengths that a table gives for a frame, before anything is allocated for it.
pub(crate) fn check_lengths(sealed_len: u32, plain_len: u32) -> Result<(), FrameError> {
    let (sealed, plain) = (sealed_len as usize, plain_len as usize);
    if plain == 0 || plain > CHUNK_MAX_LEN || sealed <= TAG_LEN || sealed > plain + TAG_LEN {
        return Err(FrameError::Lengths);
    }
    Ok(())
}

fn aad(index: u32) -> [u8; AAD.len() + 4] {
    let mut aad = [0; AAD.len() + 4];
    aad[..AAD.len()].copy_from_slice(AAD);
    aad[AAD.len()..].copy_from_slice(&index.to_le_bytes());
    aad
}

#[cfg(test)]
mod tests {
    use podsync_core::seal::SecretKey;

    use super::*;

    fn noise(len: usize) -> Vec<u8> {
        let mut bytes = vec![0; len];
        blake3::Hasher::new().finalize_xof().fill(&mut bytes);
        bytes
    }

    fn round_trip(chunk: &[u8]) -> usize {
        let sealer = Sealer::new(&SecretKey::from_bytes([1; 32]));
        let mut frame = Vec::new();
        Packer::new().unwrap().append(chunk, &mut frame).unwrap();
        seal(&sealer, 7, &mut frame);
        let len = frame.len();
        check_lengths(len as u32, chunk.len() as u32).unwrap();
        let mut unpacker = Unpacker::new().unwrap();
        let mut open = |index, id| {
            let mut sealed = frame.clone();
            if is_plain(len as u32, chunk.len() as u32) {
                open_plain(&sealer, index, id, &mut sealed)?;
                sealed.truncate(chunk.len());
                return Ok(sealed);
            }
            let mut plain = vec![0; chunk.len()];
            unpacker.open(&sealer, index, id, &mut sealed, &mut plain)?;
            Ok(plain)
        };
        let id = ChunkId::of(chunk);
        assert_eq!(open(7, id).unwrap(), chunk);
        assert_eq!(open(7, ChunkId::of(b"other")), Err(FrameError::WrongChunk));
        assert_eq!(open(8, id), Err(FrameError::Seal(BrokenSeal)));
        len
    }

    #[test]
    fn shrinks_what_shrinks_and_keeps_the_rest() {
        assert!(round_trip(&vec![b'a'; CHUNK_MAX_LEN]) < 100);
        assert_eq!(round_trip(&noise(CHUNK_MAX_LEN)), CHUNK_MAX_LEN + TAG_LEN);
        assert_eq!(round_trip(&noise(100)), 100 + TAG_LEN);
        assert_eq!(round_trip(b"x"), 1 + TAG_LEN);
        let text: Vec<u8> = noise(65536).iter().map(|byte| b'a' + byte % 16).collect();
        assert!(round_trip(&text) < 40_000);
    }

    #[test]
    fn a_frame_cannot_unpack_to_more_than_it_says() {
        let sealer = Sealer::new(&SecretKey::from_bytes([1; 32]));
        let bomb = vec![0; CHUNK_MAX_LEN];
        let mut frame = Vec::new();
        Packer::new().unwrap().append(&bomb, &mut frame).unwrap();
        seal(&sealer, 0, &mut frame);
        let mut plain = vec![0; 1000];
        let opened =
            Unpacker::new()
                .unwrap()
                .open(&sealer, 0, ChunkId::of(&bomb), &mut frame, &mut plain);
        assert_eq!(opened, Err(FrameError::Compression));
    }

    #[test]
    fn impossible_lengths_are_refused() {
        for (sealed, plain) in [
            (0, 0),
            (16, 1),
            (18, 1),
            (1000, 0),
            (100, CHUNK_MAX_LEN as u32 + 1),
            (u32::MAX, u32::MAX),
        ] {
            assert_eq!(
                check_lengths(sealed, plain),
                Err(FrameError::Lengths),
                "{sealed} {plain}"
            );
        }
        assert_eq!(check_lengths(17, 1), Ok(()));
    }
}

//! Cuts the stream into chunks: FastCDC v2020, 16/64/256 KiB, normalisation level 1.
//!
//! Boundaries are part of the format: with other parameters, or another version of the algorithm,
//! new versions would share no chunks with old ones. A golden test fixes them.

use std::mem;

use fastcdc::v2020::{Normalization, cut, select_masks};

use crate::ordered::Stopped;

pub const CHUNK_MIN_LEN: usize = 16 << 10;
pub const CHUNK_AVERAGE_LEN: usize = 64 << 10;
/// The maximum chunk length, for written and for read chunks.
pub const CHUNK_MAX_LEN: usize = 256 << 10;

/// Stream bytes that travel through the pipeline together: enough to make handing over cheap,
/// little enough that a dozen in flight are small.
pub(crate) const BATCH_LEN: usize = 2 << 20;

/// A stretch of the stream and where its chunks end.
pub(crate) struct Batch {
    pub(crate) bytes: Vec<u8>,
    /// Ascending; the last is the length of `bytes`.
    pub(crate) ends: Vec<usize>,
}

impl Batch {
    pub(crate) fn chunks(&self) -> impl Iterator<Item = &[u8]> {
        let begins = std::iter::once(0).chain(self.ends.iter().copied());
        begins
            .zip(&self.ends)
            .map(|(begin, &end)| &self.bytes[begin..end])
    }
}

/// Cuts a stream that is read straight into its buffers, and hands on batches of whole chunks.
pub(crate) struct Chunker<'a> {
    masks: (u64, u64),
    buffer: Vec<u8>,
    filled: usize,
    ends: Vec<usize>,
    /// Takes a full batch and gives the buffer for the next one, `BATCH_LEN` long.
    hand_on: &'a mut dyn FnMut(Batch) -> Result<Vec<u8>, Stopped>,
}

impl<'a> Chunker<'a> {
    pub(crate) fn new(hand_on: &'a mut dyn FnMut(Batch) -> Result<Vec<u8>, Stopped>) -> Self {
        Self {
            masks: select_masks(CHUNK_AVERAGE_LEN, Normalization::Level1),
            buffer: vec![0; BATCH_LEN],
            filled: 0,
            ends: Vec::new(),
            hand_on,
        }
    }

    /// Room to read into; never empty.
    pub(crate) fn space(&mut self) -> &mut [u8] {
        &mut self.buffer[self.filled..]
    }

    /// The first `len` bytes of [`Self::space`] are the stream's next.
    pub(crate) fn advance(&mut self, len: usize) -> Result<(), Stopped> {
        self.filled += len;
        if self.filled == self.buffer.len() {
            self.cut_while(CHUNK_MAX_LEN);
            self.flush()?;
        }
        Ok(())
    }

    pub(crate) fn write(&mut self, mut bytes: &[u8]) -> Result<(), Stopped> {
        while !bytes.is_empty() {
            let space = self.space();
            let len = space.len().min(bytes.len());
            space[..len].copy_from_slice(&bytes[..len]);
            self.advance(len)?;
            bytes = &bytes[len..];
        }
        Ok(())
    }

    /// Ends a chunk here. The content on both sides is cut independently.
    pub(crate) fn boundary(&mut self) {
        self.cut_while(1);
    }

    pub(crate) fn finish(mut self) -> Result<(), Stopped> {
        self.boundary();
        if self.filled > 0 {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Cuts as long as at least `enough` bytes lie after the last cut: with `CHUNK_MAX_LEN` of them a
    /// cut no longer depends on what follows.
    fn cut_while(&mut self, enough: usize) {
        let (small, large) = self.masks;
        let mut begin = self.cut_len();
        while self.filled - begin >= enough {
            let rest = &self.buffer[begin..self.filled];
            let (_, len) = cut(
                rest,
                CHUNK_MIN_LEN,
                CHUNK_AVERAGE_LEN,
                CHUNK_MAX_LEN,
                small,
                large,
                small << 1,
                large << 1,
            );
            begin += len;
            self.ends.push(begin);
        }
    }

    fn cut_len(&self) -> usize {
        self.ends.last().copied().unwrap_or(0)
    }

    /// Passes on all complete chunks. The bytes after the last cut start the next buffer.
    fn flush(&mut self) -> Result<(), Stopped> {
        let cut = self.cut_len();
        let mut tail = [0; CHUNK_MAX_LEN];
        let tail = &mut tail[..self.filled - cut];
        tail.copy_from_slice(&self.buffer[cut..self.filled]);
        self.buffer.truncate(cut);
        let batch = Batch {
            bytes: mem::take(&mut self.buffer),
            ends: mem::take(&mut self.ends),
        };
        self.buffer = (self.hand_on)(batch)?;
        self.buffer[..tail.len()].copy_from_slice(tail);
        self.filled = tail.len();
        Ok(())
    }
}

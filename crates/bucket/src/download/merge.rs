//! Merges an outboard and a blob's bytes into the stream that a verifying decoder reads.

use std::io;

use bao_tree::{
    BaoTree, ChunkRanges,
    iter::{BaoChunk, ResponseIter},
};
use bytes::Bytes;
use iroh_io::AsyncStreamReader;

use super::Reader;
use crate::TransferError;

/// Walks the tree in parallel with the decoder, to know whether it reads a parent or a leaf next.
pub(super) struct Merged<'a> {
    chunks: ResponseIter,
    tree: BaoTree,
    outboard: Bytes,
    reader: Reader<'a>,
    failure: Option<TransferError>,
}

impl<'a> Merged<'a> {
    pub(super) fn new(
        tree: BaoTree,
        chunks: &ChunkRanges,
        outboard: Bytes,
        reader: Reader<'a>,
    ) -> Self {
        Self {
            chunks: ResponseIter::new(tree, chunks.clone()),
            tree,
            outboard,
            reader,
            failure: None,
        }
    }

    pub(super) fn requests(&self) -> u64 {
        self.reader.requests()
    }

    pub(super) fn into_failure(self) -> Option<TransferError> {
        self.failure
    }
}

impl AsyncStreamReader for Merged<'_> {
    /// A leaf.
    async fn read_bytes(&mut self, len: usize) -> io::Result<Bytes> {
        match self.chunks.next() {
            Some(BaoChunk::Leaf {
                start_chunk, size, ..
            }) if size == len => {
                let read = self.reader.read(start_chunk.to_bytes(), len as u64).await;
                read.map_err(|failure| {
                    self.failure = Some(failure);
                    io::Error::other("the bucket doesn't give it")
                })
            }
            _ => Err(out_of_step()),
        }
    }

    /// A parent.
    async fn read<const L: usize>(&mut self) -> io::Result<[u8; L]> {
        let Some(BaoChunk::Parent { node, .. }) = self.chunks.next() else {
            return Err(out_of_step());
        };
        let offset = self.tree.pre_order_offset(node).ok_or_else(out_of_step)?;
        let pair = usize::try_from(offset * 64)
            .ok()
            .and_then(|offset| self.outboard.get(offset..)?.first_chunk());
        pair.copied().ok_or_else(out_of_step)
    }
}

/// The error for two walks that disagree, which can't happen.
fn out_of_step() -> io::Error {
    io::Error::other("the walk over the tree is out of step")
}

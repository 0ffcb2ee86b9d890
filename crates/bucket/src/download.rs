//! Downloads: ranges of a blob, verified in steps of 16 KiB as they arrive.
//!
//! The bytes of the pack and its outboard are merged into the stream that a peer would send, and go through
//! the same decoder. So all output is verified, whatever the bucket and the hub say.

mod merge;
mod plan;
mod reader;

use std::{io, ops::Range};

use bao_tree::{
    BaoTree, ChunkNum, ChunkRanges,
    io::{
        BaoContentItem, DecodeError,
        fsm::{ResponseDecoder, ResponseDecoderNext},
    },
};
use bytes::Bytes;
use podsync_api::hub::{ObjectId, ObjectKind, Sha256};
use podsync_core::BlobId;

pub(crate) use self::reader::Reader;
use self::{merge::Merged, plan::plan};
use crate::{
    Hub, TransferError,
    bucket::garbled,
    outboards::{BLOCK, outboard_len},
};

const CHUNK: u64 = 1024;

/// Takes verified items in their order: parents of the tree, and leaves of 16 KiB.
pub trait Sink: Send {
    fn take(&mut self, item: BaoContentItem) -> impl Future<Output = io::Result<()>> + Send;
}

/// Where a blob is in the bucket, and how to verify its bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Location {
    pub kind: ObjectKind,
    pub sha256: Sha256,
    /// None means the current one.
    pub generation: Option<u32>,
    pub blob: BlobId,
    /// Bytes of the whole blob.
    pub len: u64,
}

impl Location {
    fn object(&self) -> ObjectId {
        ObjectId {
            kind: self.kind,
            sha256: self.sha256,
            size: self.len,
        }
    }
}

/// Ranges of a blob that are wanted.
#[derive(Debug, Clone)]
pub struct Want {
    pub location: Location,
    /// The ranges are widened to 16 KiB. Close ranges are fetched as one, and a mostly wanted blob
    /// completely; the extra bytes are passed on too.
    pub ranges: Vec<Range<u64>>,
    /// The blob's outboard: [`Hub::outboard`].
    pub outboard: Bytes,
}

/// What a download moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Downloaded {
    /// Verified bytes of the blob.
    pub payload: u64,
    /// Requests to the bucket.
    pub requests: u64,
}

impl Hub {
    /// Fetches ranges of a blob into `sink`. `progress` gets the length of each verified piece.
    /// Data passed on before a failure is valid. Dropping the future ends the transfer.
    ///
    /// What was handed on before a failure is good. Dropping the future ends the transfer.
    pub async fn download(
        &self,
        want: &Want,
        sink: &mut impl Sink,
        progress: impl Fn(u64) + Send + Sync,
    ) -> Result<Downloaded, TransferError> {
        let Location { blob, len, .. } = want.location;
        let object = want.location.object();
        if len == 0 || len > object.kind.max_len() {
            return Err(garbled(object, "no object has that length"));
        }
        if want.outboard.len() as u64 != outboard_len(len) {
            return Err(garbled(object, "its outboard has the wrong length"));
        }
        let spans = plan(&want.ranges, len);
        if spans.is_empty() {
            return Ok(Downloaded::default());
        }
        let chunks = spans.iter().fold(ChunkRanges::empty(), |all, span| {
            let start = ChunkNum(span.start / CHUNK);
            // The decoder treats a range to the end as open. Both tree walks must agree.
            all | if span.end == len {
                ChunkRanges::from(start..)
            } else {
                ChunkRanges::from(start..ChunkNum(span.end / CHUNK))
            }
        });
        let mut reader = Reader::new(self, object, want.location.generation);
        reader.plan(spans.into_iter());
        let tree = BaoTree::new(len, BLOCK);
        let merged = Merged::new(tree, &chunks, want.outboard.clone(), reader);
        let root = blake3::Hash::from_bytes(*blob.as_bytes());
        let mut decoder = ResponseDecoder::new(root, chunks, tree, merged);
        let mut moved = Downloaded::default();
        loop {
            match decoder.next().await {
                ResponseDecoderNext::Done(merged) => {
                    moved.requests = merged.requests();
                    return Ok(moved);
                }
                ResponseDecoderNext::More((rest, Err(error))) => {
                    return Err(self.failed(object, blob, &error, rest.finish()));
                }
                ResponseDecoderNext::More((rest, Ok(item))) => {
                    decoder = rest;
                    let payload = match &item {
                        BaoContentItem::Leaf(leaf) => leaf.data.len() as u64,
                        BaoContentItem::Parent(_) => 0,
                    };
                    sink.take(item)
                        .await
                        .map_err(|error| TransferError::Local {
                            object,
                            reason: error.to_string(),
                        })?;
                    if payload > 0 {
                        moved.payload += payload;
                        progress(payload);
                    }
                }
            }
        }
    }

    /// Fetches a small blob without an outboard: a sealed manifest.
    pub async fn download_small(&self, location: &Location) -> Result<Bytes, TransferError> {
        let object = location.object();
        if location.len == 0 || location.len > ObjectKind::Manifest.max_len() {
            return Err(garbled(object, "no small object has that length"));
        }
        let mut reader = Reader::new(self, object, location.generation);
        let bytes = reader.read(0, location.len).await?;
        if BlobId::of(&bytes) == location.blob {
            Ok(bytes)
        } else {
            Err(TransferError::Liar {
                object,
                what: "its bytes do not have the announced hash",
            })
        }
    }

    fn failed(
        &self,
        object: ObjectId,
        blob: BlobId,
        error: &DecodeError,
        merged: Merged<'_>,
    ) -> TransferError {
        let lie = |what| TransferError::Liar { object, what };
        match error {
            DecodeError::LeafHashMismatch(_) => lie("its bytes do not have the announced hash"),
            DecodeError::ParentHashMismatch(_) => {
                self.forget_outboard(blob);
                lie("the outboard beside it isn't that of the announced hash")
            }
            DecodeError::ParentNotFound(_) | DecodeError::LeafNotFound(_) | DecodeError::Io(_) => {
                merged
                    .into_failure()
                    .unwrap_or_else(|| garbled(object, "it ends too early"))
            }
        }
    }
}

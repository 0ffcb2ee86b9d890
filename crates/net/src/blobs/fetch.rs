//! Fetching a range of a blob from one peer, verified group by group.
//!
//! The range is fetched whether or not it is here: what is missing is the caller's to know.
//! Dropping the future ends the transfer; what was verified until then was handed on.

use std::{io, ops::Range};

use bao_tree::{
    BaoTree, ChunkNum,
    io::{
        BaoContentItem, DecodeError,
        fsm::{ResponseDecoder, ResponseDecoderNext},
    },
};
use iroh_blobs::{
    protocol::{ChunkRanges, GetRequest, Request},
    store::IROH_BLOCK_SIZE,
};
use iroh_io::AsyncStreamReader;
use libp2p::Stream;
use podsync_core::{BlobId, DeviceId};

use super::{
    CHUNK, GROUP, Status, hash_of,
    wire::{Reader, in_time},
};
use crate::{framing::send, limit::Traffic};

/// Takes verified items in their order: parents of the tree, and leaves of 16 KiB.
pub trait Sink: Send {
    fn take(&mut self, item: BaoContentItem) -> impl Future<Output = io::Result<()>> + Send;
}

/// Part of a blob whose length is known from a signed manifest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlobRange {
    pub blob: BlobId,
    /// Bytes of the whole blob.
    pub blob_len: u64,
    /// Bytes wanted; widened to 16 KiB groups, and cut at the end of the blob.
    pub range: Range<u64>,
}

impl BlobRange {
    /// All of a blob.
    pub fn whole(blob: BlobId, blob_len: u64) -> Self {
        Self {
            blob,
            blob_len,
            range: 0..blob_len,
        }
    }

    fn chunks(&self) -> ChunkRanges {
        let start = self.range.start / GROUP * GROUP;
        let end = self
            .range
            .end
            .min(self.blob_len)
            .next_multiple_of(GROUP)
            .min(self.blob_len);
        if start >= end {
            return ChunkRanges::empty();
        }
        ChunkRanges::from(ChunkNum(start / CHUNK)..ChunkNum(end.div_ceil(CHUNK)))
    }
}

/// What a fetch moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FetchStats {
    /// Verified bytes of the blob.
    pub payload: u64,
    /// Bytes of the hash tree that came with them.
    pub proof: u64,
}

/// Why a range did not arrive. What came before the failure is verified and was handed on.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("not connected to {device}: dial it, or fetch from another peer")]
    NotConnected { device: DeviceId },
    #[error("{device} refused blob {}: it does not share the blob with this device; fetch from another peer", .blob.short())]
    Refused { device: DeviceId, blob: BlobId },
    #[error("{device} does not hold blob {}: fetch from another peer", .blob.short())]
    Absent { device: DeviceId, blob: BlobId },
    #[error("{device} serves as many peers as it can: fetch later, or from another peer")]
    Busy { device: DeviceId },
    #[error("the transfer from {device} was cut: {reason}; fetch the rest again")]
    Cut { device: DeviceId, reason: String },
    #[error("{device} sent wrong bytes for blob {}: {what}; fetch from another peer", .blob.short())]
    Liar {
        device: DeviceId,
        blob: BlobId,
        what: &'static str,
    },
    #[error("{device} stopped sending: fetch the rest from another peer")]
    Stalled { device: DeviceId },
    #[error("cannot store blob {}: {reason}; check the disk of this machine", .blob.short())]
    Local { blob: BlobId, reason: String },
}

/// Fetches `want` over a fresh stream; `progress` hears of each verified group's length.
pub(crate) async fn fetch(
    device: DeviceId,
    (mut stream, traffic): (Stream, Traffic),
    want: &BlobRange,
    sink: &mut impl Sink,
    progress: impl Fn(u64),
) -> Result<FetchStats, FetchError> {
    let failed = Failure {
        device,
        blob: want.blob,
    };
    let chunks = want.chunks();
    if chunks.is_empty() {
        return Ok(FetchStats::default());
    }
    send_request(&mut stream, want.blob, chunks.clone())
        .await
        .map_err(|error| failed.read(&error))?;

    let mut reader = Reader { stream, traffic };
    let [status] = reader.read().await.map_err(|error| failed.read(&error))?;
    failed.check_status(status)?;
    let size = reader
        .read()
        .await
        .map(u64::from_le_bytes)
        .map_err(|error| failed.read(&error))?;
    if size != want.blob_len {
        return Err(failed.lie("its length is not the announced one"));
    }
    let tree = BaoTree::new(size, IROH_BLOCK_SIZE);
    let mut decoder = ResponseDecoder::new(hash_of(want.blob).into(), chunks, tree, reader);
    let mut stats = FetchStats::default();
    loop {
        match decoder.next().await {
            ResponseDecoderNext::Done(_) => return Ok(stats),
            ResponseDecoderNext::More((_, Err(error))) => return Err(failed.decode(&error)),
            ResponseDecoderNext::More((rest, Ok(item))) => {
                decoder = rest;
                let payload = match &item {
                    BaoContentItem::Leaf(leaf) => leaf.data.len() as u64,
                    BaoContentItem::Parent(_) => 0,
                };
                let taken = sink.take(item).await;
                taken.map_err(|error| failed.local(error))?;
                if payload > 0 {
                    stats.payload += payload;
                    progress(payload);
                } else {
                    stats.proof += 64;
                }
            }
        }
    }
}

async fn send_request(stream: &mut Stream, blob: BlobId, chunks: ChunkRanges) -> io::Result<()> {
    let request = Request::Get(GetRequest::blob_ranges(hash_of(blob), chunks));
    let bytes = postcard::to_allocvec(&request).map_err(io::Error::other)?;
    in_time(send(stream, &bytes)).await
}

/// Says of a failure whose it is: the peer's, the path's or this machine's.
struct Failure {
    device: DeviceId,
    blob: BlobId,
}

impl Failure {
    fn read(&self, error: &io::Error) -> FetchError {
        let device = self.device;
        match error.kind() {
            io::ErrorKind::TimedOut => FetchError::Stalled { device },
            _ => FetchError::Cut {
                device,
                reason: error.to_string(),
            },
        }
    }

    fn decode(&self, error: &DecodeError) -> FetchError {
        match error {
            DecodeError::ParentHashMismatch(_) | DecodeError::LeafHashMismatch(_) => {
                self.lie("its bytes do not have the announced hash")
            }
            DecodeError::ParentNotFound(_) | DecodeError::LeafNotFound(_) => FetchError::Cut {
                device: self.device,
                reason: "the stream ended before the range did".to_owned(),
            },
            DecodeError::Io(error) => self.read(error),
        }
    }

    fn check_status(&self, byte: u8) -> Result<(), FetchError> {
        let Self { device, blob } = *self;
        match Status::from_byte(byte) {
            Some(Status::Granted) => Ok(()),
            Some(Status::Refused) => Err(FetchError::Refused { device, blob }),
            Some(Status::Busy) => Err(FetchError::Busy { device }),
            Some(Status::Absent) => Err(FetchError::Absent { device, blob }),
            None => Err(FetchError::Cut {
                device,
                reason: format!("it says {byte}, which is not known here"),
            }),
        }
    }

    fn lie(&self, what: &'static str) -> FetchError {
        FetchError::Liar {
            device: self.device,
            blob: self.blob,
            what,
        }
    }

    fn local(&self, error: impl std::fmt::Display) -> FetchError {
        FetchError::Local {
            blob: self.blob,
            reason: error.to_string(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_widened_to_groups_and_end_with_the_blob() {
        let blob = BlobId::from_bytes([0; 32]);
        let chunks = |blob_len, range| {
            BlobRange {
                blob,
                blob_len,
                range,
            }
            .chunks()
        };
        let expect = |start, end| ChunkRanges::from(ChunkNum(start)..ChunkNum(end));
        assert_eq!(chunks(1_000_000, 20_000..40_000), expect(16, 48));
        assert_eq!(chunks(40_000, 20_000..u64::MAX), expect(16, 40));
        assert_eq!(chunks(1, 0..1), expect(0, 1));
        assert_eq!(chunks(16_384, 16_384..20_000), ChunkRanges::empty());
        assert_eq!(chunks(0, 0..0), ChunkRanges::empty());
    }
}

//! Fetches a range of a blob from one peer, verified group by group.
//!
//! The range is fetched even if it is already here: the caller must know what is missing. Dropping
//! the future ends the transfer; what was verified until then has been passed to the sink.

use std::{io, ops::Range};

use bao_tree::{
    BaoTree, ChunkNum,
    io::{
        BaoContentItem, DecodeError,
        fsm::{ResponseDecoder, ResponseDecoderNext},
    },
};
use futures::{AsyncRead, AsyncWrite};
use iroh_blobs::{
    protocol::{ChunkRanges, GetRequest, Request},
    store::IROH_BLOCK_SIZE,
};
use iroh_io::AsyncStreamReader;
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

/// Why a range did not arrive. Data before the failure was verified and passed on.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    #[error("not connected to {device}: dial it, or fetch from another peer")]
    NotConnected { device: DeviceId },
    #[error("{device} refused blob {}: it does not share the blob with this device; fetch from another peer", .blob.short())]
    Refused { device: DeviceId, blob: BlobId },
    #[error("{device} does not hold blob {}: fetch from another peer", .blob.short())]
    Absent { device: DeviceId, blob: BlobId },
    #[error("the copy of blob {} on the disk of {device} is damaged: fetch from another peer", .blob.short())]
    Damaged { device: DeviceId, blob: BlobId },
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

/// A range to request from a device.
pub(crate) struct Asking<'a> {
    want: &'a BlobRange,
    chunks: ChunkRanges,
    traffic: &'a Traffic,
    failed: Failure,
}

/// A sent request whose first answer byte has arrived.
pub(crate) struct Begun<S> {
    status: u8,
    reader: Reader<S>,
}

impl<'a> Asking<'a> {
    /// None where there is nothing to ask for.
    pub(crate) fn new(device: DeviceId, want: &'a BlobRange, traffic: &'a Traffic) -> Option<Self> {
        let chunks = want.chunks();
        let blob = want.blob;
        (!chunks.is_empty()).then_some(Self {
            want,
            chunks,
            traffic,
            failed: Failure { device, blob },
        })
    }

    /// Fetches it over a stream of its own. `progress` gets the length of each verified group.
    pub(crate) async fn fetch<S>(
        &self,
        stream: S,
        sink: &mut impl Sink,
        progress: impl Fn(u64),
    ) -> Result<FetchStats, FetchError>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let begun = self.begin(stream).await;
        let begun = begun.map_err(|error| self.failed.read(&error))?;
        self.finish(begun, sink, progress).await.0
    }

    /// Sends the request, and waits for the first byte of the answer.
    pub(crate) async fn begin<S>(&self, mut stream: S) -> io::Result<Begun<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let ranges = GetRequest::blob_ranges(hash_of(self.want.blob), self.chunks.clone());
        let request = postcard::to_allocvec(&Request::Get(ranges)).map_err(io::Error::other)?;
        in_time(send(&mut stream, &request)).await?;
        let traffic = self.traffic.clone();
        let mut reader = Reader { stream, traffic };
        let [status] = reader.read().await?;
        Ok(Begun { status, reader })
    }

    /// Reads the rest of the answer. Returns the stream if it can carry another request.
    pub(crate) async fn finish<S>(
        &self,
        begun: Begun<S>,
        sink: &mut impl Sink,
        progress: impl Fn(u64),
    ) -> (Result<FetchStats, FetchError>, Option<S>)
    where
        S: AsyncRead + Unpin + Send,
    {
        let Begun { status, reader } = begun;
        if let Err(error) = self.failed.check_status(status) {
            let in_step = Status::from_byte(status).is_some();
            return (Err(error), in_step.then_some(reader.stream));
        }
        match self.receive(reader, sink, progress).await {
            Ok((stats, stream)) => (Ok(stats), Some(stream)),
            Err(error) => (Err(error), None),
        }
    }

    async fn receive<S>(
        &self,
        mut reader: Reader<S>,
        sink: &mut impl Sink,
        progress: impl Fn(u64),
    ) -> Result<(FetchStats, S), FetchError>
    where
        S: AsyncRead + Unpin + Send,
    {
        let failed = &self.failed;
        let size = reader.read().await.map(u64::from_le_bytes);
        let size = size.map_err(|error| failed.read(&error))?;
        if size != self.want.blob_len {
            return Err(failed.lie("its length is not the announced one"));
        }
        let (root, tree) = (hash_of(self.want.blob), BaoTree::new(size, IROH_BLOCK_SIZE));
        let mut decoder = ResponseDecoder::new(root.into(), self.chunks.clone(), tree, reader);
        let mut stats = FetchStats::default();
        loop {
            match decoder.next().await {
                ResponseDecoderNext::Done(reader) => return Ok((stats, reader.stream)),
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

    /// The error of a stream that failed before its answer began.
    pub(crate) fn cut(&self, error: &io::Error) -> FetchError {
        self.failed.read(error)
    }
}

/// Attributes a failure: to the peer, the path or this machine.
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
            Some(Status::Damaged) => Err(FetchError::Damaged { device, blob }),
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

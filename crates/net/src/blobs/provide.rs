//! Serves ranges of blobs to members.
//!
//! Only a `Get` for one blob is served. iroh-blobs would also read the blob as a list of hashes and
//! serve those: the author of a blob that we hold could then name any other blob of ours in it.

use std::{io, sync::Arc, time::Duration};

use futures::{AsyncRead, AsyncWrite, AsyncWriteExt};
use iroh_blobs::{
    api::blobs::BlobStatus,
    protocol::{ChunkRanges, GetRequest, Request},
};
use iroh_io::AsyncStreamWriter;
use podsync_core::{BlobId, DeviceId};
use tokio::time::timeout;

use super::{
    Status, blob_of,
    files::{self, Source},
    hash_of,
    wire::{Writer, in_time},
};
use crate::{
    framing::receive,
    gate::Gate,
    limit::Traffic,
    places::{Place, Places},
};

/// Streams served at once, to all peers together: each holds a few frames and a read of the disk.
const MAX_STREAMS: usize = 32;
const MAX_STREAMS_PER_PEER: usize = 16;

/// A request names one range, or a few: 65 bytes and up.
const MAX_REQUEST_LEN: usize = 16 * 1024;

/// How long a peer may take to send its request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(crate) struct Provider {
    source: Source,
    gate: Arc<dyn Gate>,
    places: Places,
    traffic: Traffic,
}

/// How an answer ended, and the bytes sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answered {
    Whole(Option<Sent>),
    Broken(Option<Sent>),
}

/// What a stream was used for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sent {
    pub(crate) blob: BlobId,
    pub(crate) bytes: u64,
    /// Whether this machine could not read what it was to send.
    pub(crate) is_unreadable: bool,
}

impl Provider {
    pub(crate) fn new(source: Source, gate: Arc<dyn Gate>, traffic: Traffic) -> Self {
        Self {
            source,
            gate,
            places: Places::new(MAX_STREAMS, MAX_STREAMS_PER_PEER),
            traffic,
        }
    }

    /// A place among the served streams. None if all are taken or this device is paused.
    pub(crate) fn place(&self, device: DeviceId) -> Option<Place> {
        if self.traffic.is_paused() {
            return None;
        }
        if self.gate.is_robot(device) {
            return self.places.take_for_robot(device);
        }
        self.places.take(device)
    }

    /// Answers the next request on a member's stream. Data longer than `frame` is written at once. If
    /// the answer is incomplete, drop the stream unclosed, so that the peer doesn't take it for
    /// complete.
    ///
    /// Where the answer is not whole, the stream must be dropped unclosed, so that the peer doesn't take what
    /// it has for all.
    pub(crate) async fn answer<S>(&self, device: DeviceId, stream: &mut S, frame: usize) -> Answered
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let granted = timeout(REQUEST_TIMEOUT, self.admit(device, stream)).await;
        let (blob, ranges) = match granted {
            Ok(Ok(Some(granted))) => granted,
            Ok(Ok(None)) => return Answered::Whole(None),
            Ok(Err(error)) => {
                tracing::debug!(peer = device.short(), %error, "no request on a blob stream");
                return Answered::Broken(None);
            }
            Err(_) => {
                tracing::debug!(peer = device.short(), "no request on a blob stream in time");
                return Answered::Broken(None);
            }
        };
        let mut writer = Writer::new(stream, frame, self.traffic.clone());
        let outcome = self.send(blob, ranges, &mut writer).await;
        let sent = Some(Sent {
            blob,
            bytes: writer.sent,
            is_unreadable: outcome.is_err() && !writer.is_cut,
        });
        match outcome {
            Ok(()) => Answered::Whole(sent),
            Err(error) => {
                tracing::debug!(peer = device.short(), blob = blob.short(), %error, "stream cut");
                Answered::Broken(sent)
            }
        }
    }

    /// Reads the next request and answers that there is no place.
    pub(crate) async fn say_busy<S>(&self, stream: &mut S) -> io::Result<()>
    where
        S: AsyncRead + AsyncWrite + Unpin + Send,
    {
        let busy = async {
            receive(stream, MAX_REQUEST_LEN).await?;
            decline::<_, ()>(stream, Status::Busy).await
        };
        timeout(REQUEST_TIMEOUT, busy).await??;
        Ok(())
    }

    /// The data to send. None if the peer was refused.
    async fn admit<S>(
        &self,
        device: DeviceId,
        stream: &mut S,
    ) -> io::Result<Option<(BlobId, ChunkRanges)>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let Some(bytes) = receive(stream, MAX_REQUEST_LEN).await? else {
            return decline(stream, Status::Refused).await;
        };
        let Some((blob, ranges)) = parse(&bytes) else {
            return decline(stream, Status::Refused).await;
        };
        if !self.gate.may_fetch(device, blob) {
            return decline(stream, Status::Refused).await;
        }
        if self.source.is_damaged(blob) {
            return decline(stream, Status::Damaged).await;
        }
        let status = self
            .source
            .store
            .blobs()
            .status(hash_of(blob))
            .await
            .map_err(io::Error::other)?;
        if matches!(status, BlobStatus::NotFound) {
            return decline(stream, Status::Absent).await;
        }
        Ok(Some((blob, ranges)))
    }

    async fn send<S>(
        &self,
        blob: BlobId,
        ranges: ChunkRanges,
        writer: &mut Writer<S>,
    ) -> io::Result<()>
    where
        S: AsyncWrite + Unpin + Send,
    {
        writer.write(&[Status::Granted as u8]).await?;
        match files::open(&self.source, blob).await {
            Some(opened) => files::send(opened, blob, ranges, writer).await?,
            None => {
                let export = self.source.store.export_bao(hash_of(blob), ranges);
                export.write(writer).await.map_err(io::Error::other)?;
            }
        }
        writer.sync().await
    }
}

pub(crate) fn parse(request: &[u8]) -> Option<(BlobId, ChunkRanges)> {
    match postcard::take_from_bytes(request) {
        Ok((Request::Get(GetRequest { hash, ranges }), [])) if ranges.is_blob() => {
            Some((blob_of(hash), ranges.iter().next()?.clone()))
        }
        _ => None,
    }
}

async fn decline<S, T>(stream: &mut S, status: Status) -> io::Result<Option<T>>
where
    S: AsyncWrite + Unpin,
{
    stream.write_all(&[status as u8]).await?;
    stream.flush().await?;
    Ok(None)
}

/// Closes a stream whose last answer is complete.
pub(crate) async fn close(mut stream: impl AsyncWrite + Unpin) -> io::Result<()> {
    in_time(stream.close()).await
}

#[cfg(test)]
mod tests {
    use super::*;
    use bao_tree::ChunkNum;
    use iroh_blobs::{Hash, protocol::ChunkRangesSeq};
    use proptest::prelude::*;

    fn request(hash: Hash, ranges: ChunkRangesSeq) -> Vec<u8> {
        postcard::to_allocvec(&Request::Get(GetRequest::new(hash, ranges))).unwrap()
    }

    #[test]
    fn a_request_has_these_bytes() {
        let ranges = ChunkRanges::from(ChunkNum(16)..ChunkNum(48));
        let bytes = request(
            Hash::from_bytes([0xab; 32]),
            ChunkRangesSeq::from_ranges([ranges.clone()]),
        );
        let expected = [
            &[0x00][..],
            &[0xab; 32],
            &[0x02, 0x00, 0x02, 0x10, 0x20, 0x01, 0x00],
        ]
        .concat();
        assert_eq!(bytes, expected, "{bytes:02x?}");
        assert_eq!(
            parse(&bytes),
            Some((BlobId::from_bytes([0xab; 32]), ranges))
        );
    }

    #[test]
    fn a_blob_is_never_taken_for_a_list_of_hashes() {
        let hash = Hash::from_bytes([1; 32]);
        let with_children = [
            ChunkRangesSeq::all(),
            ChunkRangesSeq::from_ranges([ChunkRanges::all(), ChunkRanges::all()]),
            ChunkRangesSeq::from_ranges([ChunkRanges::empty(), ChunkRanges::all()]),
            ChunkRangesSeq::from_ranges_infinite([ChunkRanges::all()]),
            ChunkRangesSeq::empty(),
        ];
        for ranges in with_children {
            assert_eq!(parse(&request(hash, ranges.clone())), None, "{ranges:?}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_parsed_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            parse(&bytes);
        }

        #[test]
        fn a_hostile_request_is_no_more_than_refused(
            start in 0_u64..1 << 54,
            len in 1_u64..1 << 54,
            at in 0_usize..64,
            flip: u8,
            cut in 0_usize..64,
        ) {
            let ranges = ChunkRanges::from(ChunkNum(start)..ChunkNum(start + len));
            let seq = ChunkRangesSeq::from_ranges([ranges.clone()]);
            let mut bytes = request(Hash::from_bytes([2; 32]), seq);
            prop_assert_eq!(parse(&bytes), Some((BlobId::from_bytes([2; 32]), ranges)));
            let at = at % bytes.len();
            bytes[at] ^= flip;
            bytes.truncate(bytes.len().saturating_sub(cut));
            parse(&bytes);
        }
    }
}

//! A libp2p stream as what iroh-blobs reads from and writes to, one direction at a time.
//!
//! Leaves pass without a buffer of ours in between: a read goes straight into the leaf's memory,
//! and only what is smaller than a frame is gathered before it is written.

use std::{future::Future, io};

use bytes::Bytes;
use futures::{AsyncReadExt, AsyncWriteExt, io::BufWriter};
use iroh_io::{AsyncStreamReader, AsyncStreamWriter};
use libp2p::Stream;
use tokio::time::timeout;

use super::STALLED_AFTER;
use crate::limit::Traffic;

/// What yamux puts into one frame: writes of this size and more go past the buffer.
const FRAME: usize = 16 * 1024;

pub(super) struct Reader {
    pub(super) stream: Stream,
    pub(super) traffic: Traffic,
}

impl AsyncStreamReader for Reader {
    async fn read_bytes(&mut self, len: usize) -> io::Result<Bytes> {
        let mut bytes = vec![0; len];
        let mut filled = 0;
        while filled < len {
            match in_time(self.stream.read(&mut bytes[filled..])).await? {
                0 => break,
                n => filled += n,
            }
        }
        bytes.truncate(filled);
        self.traffic.received(filled).await?;
        Ok(bytes.into())
    }

    async fn read<const L: usize>(&mut self) -> io::Result<[u8; L]> {
        let mut bytes = [0; L];
        in_time(self.stream.read_exact(&mut bytes)).await?;
        Ok(bytes)
    }
}

/// Counts what it sends. Dropped without [`finish`](Self::finish), it resets the stream, so that
/// the peer doesn't take a broken answer for a whole one.
pub(super) struct Writer {
    stream: BufWriter<Stream>,
    traffic: Traffic,
    pub(super) sent: u64,
}

impl Writer {
    pub(super) fn new(stream: Stream, traffic: Traffic) -> Self {
        Self {
            stream: BufWriter::with_capacity(FRAME, stream),
            traffic,
            sent: 0,
        }
    }

    pub(super) async fn finish(mut self) -> io::Result<()> {
        in_time(self.stream.close()).await
    }
}

impl AsyncStreamWriter for Writer {
    async fn write(&mut self, data: &[u8]) -> io::Result<()> {
        self.traffic.sent(data.len()).await?;
        in_time(self.stream.write_all(data)).await?;
        self.sent += data.len() as u64;
        Ok(())
    }

    async fn write_bytes(&mut self, data: Bytes) -> io::Result<()> {
        self.write(&data).await
    }

    async fn sync(&mut self) -> io::Result<()> {
        in_time(self.stream.flush()).await
    }
}

pub(super) async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(STALLED_AFTER, work)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_moves_nothing_is_cut() {
        let started = tokio::time::Instant::now();
        let error = in_time(std::future::pending::<io::Result<()>>())
            .await
            .unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert_eq!(started.elapsed(), STALLED_AFTER);
    }
}

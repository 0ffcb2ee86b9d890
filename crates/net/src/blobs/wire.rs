//! Adapts a stream to the reader and writer of iroh-blobs, one direction at a time.
//!
//! Leaves are not copied through a buffer: reads go straight into the leaf's memory, and only data
//! smaller than a frame is collected before it is written.

use std::{future::Future, io};

use bytes::Bytes;
use futures::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, io::BufWriter};
use iroh_io::{AsyncStreamReader, AsyncStreamWriter};
use tokio::time::timeout;

use super::STALLED_AFTER;
use crate::limit::Traffic;

/// The bytes written at once if the rate is limited.
const PACED: usize = 16 * 1024;

/// Reads at the allowed rate.
pub(super) struct Reader<S> {
    pub(super) stream: S,
    pub(super) traffic: Traffic,
}

impl<S: AsyncRead + Unpin> AsyncStreamReader for Reader<S> {
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

/// Counts sent bytes, and collects small writes.
pub(super) struct Writer<S: AsyncWrite> {
    stream: BufWriter<S>,
    frame: usize,
    traffic: Traffic,
    pub(super) sent: u64,
}

impl<S: AsyncWrite + Unpin> Writer<S> {
    /// Data of at least `frame` bytes bypasses the buffer. With a rate limit everything is written at once, so
    /// that the peer sees progress.
    pub(super) fn new(stream: S, frame: usize, traffic: Traffic) -> Self {
        let frame = match traffic.limits_sending() {
            true => PACED,
            false => frame,
        };
        Self {
            stream: BufWriter::with_capacity(frame, stream),
            frame,
            traffic,
            sent: 0,
        }
    }
}

impl<S: AsyncWrite + Unpin + Send> AsyncStreamWriter for Writer<S> {
    async fn write(&mut self, data: &[u8]) -> io::Result<()> {
        for part in data.chunks(self.frame) {
            self.traffic.sent(part.len()).await?;
            in_time(self.stream.write_all(part)).await?;
            self.sent += part.len() as u64;
        }
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

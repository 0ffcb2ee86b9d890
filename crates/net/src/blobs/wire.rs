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
    /// Whether a write failed: the asker or the connection is the reason why an answer is not whole.
    pub(super) is_cut: bool,
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
            is_cut: false,
        }
    }

    async fn write_part(&mut self, part: &[u8]) -> io::Result<()> {
        self.traffic.sent(part.len()).await?;
        in_time(self.stream.write_all(part)).await
    }
}

impl<S: AsyncWrite + Unpin + Send> AsyncStreamWriter for Writer<S> {
    async fn write(&mut self, data: &[u8]) -> io::Result<()> {
        for part in data.chunks(self.frame) {
            let written = self.write_part(part).await;
            self.is_cut |= written.is_err();
            written?;
            self.sent += part.len() as u64;
        }
        Ok(())
    }

    async fn write_bytes(&mut self, data: Bytes) -> io::Result<()> {
        self.write(&data).await
    }

    async fn sync(&mut self) -> io::Result<()> {
        let flushed = in_time(self.stream.flush()).await;
        self.is_cut |= flushed.is_err();
        flushed
    }
}

pub(super) async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(STALLED_AFTER, work)
        .await
        .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

#[cfg(test)]
mod tests {
    use std::{
        pin::Pin,
        task::{self, Poll, ready},
        time::Duration,
    };

    use futures::{TryStreamExt, channel::mpsc};
    use tokio::{sync::watch, time::Instant};

    use super::*;

    const RATE: usize = 1 << 20;
    const SECONDS: usize = 8;
    /// What may be ahead of its time: a burst of a quarter of a second, and a piece that is under way.
    const AHEAD: usize = RATE / 4 + PACED;

    /// The sending end of a stream in memory.
    struct Pipe(mpsc::Sender<io::Result<Vec<u8>>>);

    impl AsyncWrite for Pipe {
        fn poll_write(
            mut self: Pin<&mut Self>,
            context: &mut task::Context<'_>,
            data: &[u8],
        ) -> Poll<io::Result<usize>> {
            let ready = ready!(self.0.poll_ready(context));
            let sent = ready.and_then(|()| self.0.start_send(Ok(data.to_vec())));
            let sent = sent.map_err(|_| io::ErrorKind::BrokenPipe.into());
            Poll::Ready(sent.map(|()| data.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut task::Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    /// Sends from one device to another, and counts what has come at the end of each second.
    async fn counted(up: Traffic, down: Traffic) -> Vec<usize> {
        let (near, far) = mpsc::channel(0);
        let mut writer = Writer::new(Pipe(near), RATE, up);
        let mut reader = Reader {
            stream: far.into_async_read(),
            traffic: down,
        };
        let (came, seen) = watch::channel(0);
        tokio::spawn(async move { writer.write(&vec![7; RATE * SECONDS]).await });
        tokio::spawn(async move {
            while let Ok(piece) = reader.read_bytes(PACED).await
                && !piece.is_empty()
            {
                came.send_modify(|sum| *sum += piece.len());
            }
        });
        let begun = Instant::now();
        let mut sums = Vec::new();
        for second in 1..=SECONDS as u64 {
            tokio::time::sleep_until(begun + Duration::from_secs(second)).await;
            sums.push(*seen.borrow());
        }
        sums
    }

    #[tokio::test(start_paused = true)]
    async fn each_second_brings_what_either_side_allows() {
        let limited = Traffic::limited(RATE as u64, RATE as u64);
        for (up, down) in [
            (limited.clone(), Traffic::default()),
            (Traffic::default(), limited),
        ] {
            for (second, came) in counted(up, down).await.into_iter().enumerate() {
                let due = RATE * (second + 1);
                assert!(
                    (due - PACED..=due + AHEAD).contains(&came),
                    "{came} of {due}"
                );
            }
        }
    }

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

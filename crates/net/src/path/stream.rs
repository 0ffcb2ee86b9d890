//! A TCP stream that fails when its path is dead.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures::{AsyncRead, AsyncWrite};
use libp2p::tcp;
use tokio::{
    io::ReadBuf,
    time::{Duration, Instant, Sleep, sleep_until},
};

use super::{Beside, Cut, Paths, SILENCE, Why};

/// A timer this late means that this process slept, not the peer.
const OVERSLEPT: Duration = Duration::from_secs(1);

/// How a path ended, if this side didn't close it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ended {
    /// Nothing came any more, or the peer gave it up.
    Lost,
    /// This side ended it.
    Cut,
}

/// Signals to a path from other tasks.
pub(super) struct Signs {
    pub(super) cut: Arc<Cut>,
    pub(super) beside: Beside,
}

pub(crate) struct Path {
    stream: tcp::tokio::TcpStream,
    id: u64,
    signs: Signs,
    paths: Paths,
    /// When bytes came last.
    heard: Instant,
    /// Fires at the earliest time at which the path may be dead.
    timer: Pin<Box<Sleep>>,
    ended: Option<Ended>,
}

impl Path {
    pub(super) fn new(stream: tcp::tokio::TcpStream, id: u64, signs: Signs, paths: Paths) -> Self {
        let heard = Instant::now();
        Self {
            stream,
            id,
            signs,
            paths,
            heard,
            timer: Box::pin(sleep_until(heard + SILENCE)),
            ended: None,
        }
    }

    #[cfg(test)]
    pub(super) fn id(&self) -> u64 {
        self.id
    }

    /// Fails if the path is dead. Otherwise wakes the task when it may be.
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        self.signs.cut.task.register(context.waker());
        if let Some(why) = self.signs.cut.why() {
            self.ended = Some(Ended::Cut);
            return Err(match why {
                Why::AddressGone => io::Error::new(
                    io::ErrorKind::AddrNotAvailable,
                    "this machine no longer has the connection's local address",
                ),
                Why::NoRoom => io::Error::new(
                    io::ErrorKind::ConnectionAborted,
                    "too many handshakes at once",
                ),
                Why::Replaced => io::Error::new(
                    io::ErrorKind::ConnectionAborted,
                    "the peer has another connection",
                ),
            });
        }
        while self.timer.as_mut().poll(context).is_ready() {
            let now = Instant::now();
            let overslept = now.duration_since(self.timer.deadline()) > OVERSLEPT;
            let mut byte = [0];
            let mut byte = ReadBuf::new(&mut byte);
            // Unread data counts as a sign of life too.
            if overslept || self.stream.0.poll_peek(context, &mut byte).is_ready() {
                self.heard = now;
            }
            self.heard = self
                .heard
                .max(self.signs.beside.last().unwrap_or(self.heard));
            let dead_at = self.heard + SILENCE;
            if dead_at <= now {
                self.ended = Some(Ended::Lost);
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the peer has been silent for too long",
                ));
            }
            self.timer.as_mut().reset(dead_at);
        }
        Ok(())
    }
}

impl AsyncRead for Path {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        match Pin::new(&mut self.stream).poll_read(context, into) {
            Poll::Ready(Ok(len)) if len > 0 => {
                self.heard = Instant::now();
                Poll::Ready(Ok(len))
            }
            Poll::Ready(ended) => {
                self.ended.get_or_insert(Ended::Lost);
                Poll::Ready(ended)
            }
            Poll::Pending => {
                self.check(context)?;
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for Path {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        if written.is_pending() {
            self.check(context)?;
        }
        written
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, bytes);
        if written.is_pending() {
            self.check(context)?;
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_close(context))?;
        Poll::Ready(Ok(()))
    }
}

impl Drop for Path {
    fn drop(&mut self) {
        self.paths.closed(self.id, self.ended);
    }
}

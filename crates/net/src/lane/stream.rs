//! One lane: a TLS stream that ends with the connection beside which it runs.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use futures::FutureExt;
use tokio::{
    io::{AsyncBufReadExt, BufReader, ReadBuf},
    net::TcpStream,
};
use tokio_rustls::{TlsAcceptor, TlsConnector, TlsStream};
use tokio_util::sync::CancellationToken;

use super::tls::{Identity, no_name};
use crate::{path::Beside, peers::LaneOf};

/// The read size for incoming blobs, since TLS itself reads little at a time. A larger one would keep a provider
/// waiting too long if this side takes only a few KiB a second.
const READ_AHEAD: usize = 64 * 1024;

/// The read size for incoming requests.
const READ_AHEAD_OF_REQUESTS: usize = 8 * 1024;

pub(crate) struct Lane {
    stream: TlsStream<BufReader<TcpStream>>,
    ends: CancellationToken,
    beside: Beside,
}

impl Lane {
    /// Opens a lane over a connection whose secret the provider has accepted.
    pub(super) async fn connect(
        identity: &Identity,
        of: LaneOf,
        stream: TcpStream,
    ) -> io::Result<Self> {
        let config = identity.client(of.device).map_err(io::Error::other)?;
        let stream = BufReader::with_capacity(READ_AHEAD, stream);
        let stream = TlsConnector::from(config)
            .connect(no_name(), stream)
            .await?;
        Ok(Self {
            stream: stream.into(),
            ends: of.ends,
            beside: of.beside,
        })
    }

    /// Accepts a lane from the expected device.
    pub(super) async fn accept(
        identity: &Identity,
        of: LaneOf,
        stream: TcpStream,
    ) -> io::Result<Self> {
        let config = identity.server(of.device).map_err(io::Error::other)?;
        let stream = BufReader::with_capacity(READ_AHEAD_OF_REQUESTS, stream);
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        Ok(Self {
            stream: stream.into(),
            ends: of.ends,
            beside: of.beside,
        })
    }

    /// Cancelled when the lane has to end.
    pub(crate) fn ends(&self) -> CancellationToken {
        self.ends.clone()
    }

    /// Waits for the next byte without consuming it. False at the end.
    pub(super) async fn has_more(&mut self) -> io::Result<bool> {
        Ok(!self.stream.fill_buf().await?.is_empty())
    }

    /// Whether it is open and silent, as between an answer and the next request.
    pub(super) fn is_at_rest(&mut self) -> bool {
        !self.ends.is_cancelled() && self.has_more().now_or_never().is_none()
    }
}

impl futures::AsyncRead for Lane {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut into = ReadBuf::new(into);
        let read = tokio::io::AsyncRead::poll_read(Pin::new(&mut self.stream), context, &mut into);
        if read.is_ready() {
            self.beside.heard();
        }
        read.map_ok(|()| into.filled().len())
    }
}

impl futures::AsyncWrite for Lane {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        tokio::io::AsyncWrite::poll_write(Pin::new(&mut self.stream), context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_flush(Pin::new(&mut self.stream), context)
    }

    fn poll_close(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        tokio::io::AsyncWrite::poll_shutdown(Pin::new(&mut self.stream), context)
    }
}

//! Connections and streams that can't exist, the errors that they would end with, and [`VarInt`], the one type
//! of iroh's that has values here: iroh-blobs keeps its error codes in it.

use std::{
    convert::Infallible,
    fmt, io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use iroh_base::EndpointId;
use n0_error::stack_error;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// An application's error code, as QUIC counts them: less than 2^62.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct VarInt(u64);

impl VarInt {
    pub const fn from_u32(code: u32) -> Self {
        Self(code as u64)
    }

    pub const fn into_inner(self) -> u64 {
        self.0
    }
}

impl From<u32> for VarInt {
    fn from(code: u32) -> Self {
        Self(code.into())
    }
}

impl From<u16> for VarInt {
    fn from(code: u16) -> Self {
        Self(code.into())
    }
}

impl fmt::Display for VarInt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A connection of iroh's.
#[derive(Debug, Clone)]
pub struct Connection(Infallible);

impl Connection {
    pub async fn open_bi(&self) -> Result<(SendStream, RecvStream), ConnectionError> {
        match self.0 {}
    }

    pub async fn accept_bi(&self) -> Result<(SendStream, RecvStream), ConnectionError> {
        match self.0 {}
    }

    pub async fn closed(&self) -> ConnectionError {
        match self.0 {}
    }

    pub fn close(&self, _code: VarInt, _reason: &[u8]) {
        match self.0 {}
    }

    pub fn close_reason(&self) -> Option<ConnectionError> {
        match self.0 {}
    }

    pub fn remote_id(&self) -> EndpointId {
        match self.0 {}
    }

    pub fn stable_id(&self) -> usize {
        match self.0 {}
    }
}

/// A connection that is being accepted.
#[derive(Debug)]
pub struct Accepting(Infallible);

impl Accepting {
    pub(crate) fn never<T>(self) -> T {
        match self.0 {}
    }
}

/// A stream's number.
#[derive(Debug, Clone, Copy)]
pub struct StreamId(Infallible);

impl StreamId {
    pub fn index(self) -> u64 {
        match self.0 {}
    }
}

#[derive(Debug)]
pub struct SendStream(Infallible);

impl SendStream {
    pub async fn write_chunk(&mut self, _bytes: Bytes) -> Result<(), WriteError> {
        match self.0 {}
    }

    pub async fn write_all(&mut self, _bytes: &[u8]) -> Result<(), WriteError> {
        match self.0 {}
    }

    pub async fn stopped(&mut self) -> Result<Option<VarInt>, ClosedStream> {
        match self.0 {}
    }

    pub fn finish(&mut self) -> Result<(), ClosedStream> {
        match self.0 {}
    }

    pub fn reset(&mut self, _code: VarInt) -> Result<(), ClosedStream> {
        match self.0 {}
    }

    pub fn id(&self) -> StreamId {
        match self.0 {}
    }
}

impl AsyncWrite for SendStream {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> {
        match self.0 {}
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.0 {}
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.0 {}
    }
}

#[derive(Debug)]
pub struct RecvStream(Infallible);

impl RecvStream {
    pub async fn read_exact(&mut self, _into: &mut [u8]) -> Result<(), ReadExactError> {
        match self.0 {}
    }

    pub fn stop(&mut self, _code: VarInt) -> Result<(), ClosedStream> {
        match self.0 {}
    }

    pub fn id(&self) -> StreamId {
        match self.0 {}
    }
}

impl AsyncRead for RecvStream {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        _: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.0 {}
    }
}

/// What the other side said when it closed a connection.
#[derive(Debug, Clone)]
pub struct ApplicationClose {
    pub error_code: VarInt,
}

/// The errors that iroh-blobs looks into. None is ever made.
macro_rules! error {
    ($name:ident { $($variant:ident($inner:ty)),* }) => {
        #[derive(Debug, Clone)]
        pub enum $name {
            $($variant($inner),)*
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(self, f)
            }
        }

        impl std::error::Error for $name {}

        impl From<$name> for io::Error {
            fn from(error: $name) -> Self {
                Self::other(error)
            }
        }
    };
}

/// iroh-blobs wants more of this one than of the others.
#[stack_error(derive, add_meta)]
#[non_exhaustive]
pub enum ConnectError {
    #[error("There is no iroh.")]
    Never {},
}

error!(ConnectionError {
    ApplicationClosed(ApplicationClose)
});
error!(ReadError { Reset(VarInt) });
error!(ReadExactError {
    FinishedEarly(usize),
    ReadError(ReadError)
});
error!(WriteError { Stopped(VarInt) });
error!(ClosedStream {});

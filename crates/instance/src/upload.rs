//! The upload of a state: exactly of the announced length, and with visible progress.
//!
//! hyper takes a buffer when the socket has room for it. So its progress tells a server that
//! stopped reading from one that is working.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::Stream;
use tokio::sync::{oneshot, watch};

/// The caller's stream of the state, held to its length.
pub(crate) struct Upload<S> {
    state: Pin<Box<S>>,
    len: u64,
    taken: watch::Sender<u64>,
    failure: Option<oneshot::Sender<io::Error>>,
}

/// The observable state of a running upload.
pub(crate) struct Watched {
    /// Bytes that hyper has taken. Closed once it needs no more.
    pub(crate) taken: watch::Receiver<u64>,
    /// Why the caller's stream failed, if it did.
    pub(crate) failure: oneshot::Receiver<io::Error>,
}

impl<S> Upload<S> {
    pub(crate) fn new(state: S, len: u64) -> (Self, Watched) {
        let (taken, watched) = watch::channel(0);
        let (failure, reason) = oneshot::channel();
        let upload = Self {
            state: Box::pin(state),
            len,
            taken,
            failure: Some(failure),
        };
        (
            upload,
            Watched {
                taken: watched,
                failure: reason,
            },
        )
    }

    fn fail(&mut self, error: io::Error) -> Poll<Option<io::Result<Bytes>>> {
        let kind = error.kind();
        if let Some(failure) = self.failure.take() {
            // Nobody listens any more where the load was given up.
            failure.send(error).ok();
        }
        Poll::Ready(Some(Err(kind.into())))
    }
}

impl<S: Stream<Item = io::Result<Bytes>>> Stream for Upload<S> {
    type Item = io::Result<Bytes>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let next = std::task::ready!(self.state.as_mut().poll_next(context));
        let (taken, len) = (*self.taken.borrow(), self.len);
        match next {
            Some(Ok(buffer)) if taken + buffer.len() as u64 > len => self.fail(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("it has more than the {len} bytes that it should have"),
            )),
            Some(Ok(buffer)) => {
                self.taken
                    .send_modify(|taken| *taken += buffer.len() as u64);
                Poll::Ready(Some(Ok(buffer)))
            }
            Some(Err(error)) => self.fail(error),
            None if taken < len => self.fail(io::Error::new(
                io::ErrorKind::UnexpectedEof,
                format!("it ended after {taken} of {len} bytes"),
            )),
            None => Poll::Ready(None),
        }
    }
}

//! An object's bytes as the body of a request: read piece by piece, and hashed on the way.
//!
//! Wrong bytes never arrive completely: the last piece is held back until the hash is checked.

use std::{
    io,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use futures::stream;
use podsync_api::hub::ObjectId;
use reqwest::Body;
use sha2::{Digest, Sha256};

use super::ReadAt;
use crate::TransferError;

/// Read at once.
const PIECE: u64 = 256 << 10;

/// The progress of an upload while the request owns its body.
#[derive(Clone)]
pub(super) struct Meter(Arc<State>);

struct State {
    object: ObjectId,
    sent: AtomicU64,
    failure: Mutex<Option<TransferError>>,
}

impl Meter {
    pub(super) fn new(object: ObjectId) -> Self {
        Self(Arc::new(State {
            object,
            sent: AtomicU64::new(0),
            failure: Mutex::default(),
        }))
    }

    /// Bytes handed to the connection.
    pub(super) fn sent(&self) -> u64 {
        self.0.sent.load(Ordering::Relaxed)
    }

    /// Why reading the bytes from this machine's disk failed.
    pub(super) fn failure(&self) -> Option<TransferError> {
        let mut failure = self
            .0
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        failure.take()
    }

    fn fail(&self, failure: TransferError) -> io::Error {
        let mut kept = self
            .0
            .failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *kept = Some(failure);
        io::Error::other("the bytes can't be read")
    }
}

struct Reading {
    reader: Arc<dyn ReadAt>,
    offset: u64,
    hasher: Sha256,
}

pub(super) fn stream(reader: Arc<dyn ReadAt>, meter: Meter) -> Body {
    let reading = Reading {
        reader,
        offset: 0,
        hasher: Sha256::new(),
    };
    Body::wrap_stream(stream::try_unfold(reading, move |reading| {
        let meter = meter.clone();
        async move {
            if reading.offset >= meter.0.object.size {
                return Ok(None);
            }
            let object = meter.0.object;
            let next = tokio::task::spawn_blocking(move || reading.next(&object)).await;
            let (piece, reading) = next
                .map_err(io::Error::other)?
                .map_err(|failure| meter.fail(failure))?;
            meter.0.sent.store(reading.offset, Ordering::Relaxed);
            Ok::<_, io::Error>(Some((piece, reading)))
        }
    }))
}

impl Reading {
    fn next(mut self, object: &ObjectId) -> Result<(Bytes, Self), TransferError> {
        // At most PIECE.
        let mut piece = vec![0; (object.size - self.offset).min(PIECE) as usize];
        self.reader
            .read_at(self.offset, &mut piece)
            .map_err(|error| TransferError::Source {
                object: *object,
                reason: error.to_string(),
            })?;
        self.offset += piece.len() as u64;
        self.hasher.update(&piece);
        if self.offset == object.size
            && self.hasher.clone().finalize().as_slice() != object.sha256.as_bytes()
        {
            return Err(TransferError::Damaged { object: *object });
        }
        Ok((piece.into(), self))
    }
}

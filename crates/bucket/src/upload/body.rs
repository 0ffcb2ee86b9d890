//! An object's bytes as the body of a request, read piece by piece.
//!
//! They were hashed for the request to the hub, and the bucket hashes them again: its URL is signed for one hash. So
//! they are hashed a third time only where the bucket refused them.

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
}

pub(super) fn stream(reader: Arc<dyn ReadAt>, meter: Meter) -> Body {
    let reading = Reading { reader, offset: 0 };
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
        Ok((piece.into(), self))
    }
}

/// Whether an object's bytes are still those that were hashed for it. It blocks.
pub(super) fn check(reader: Arc<dyn ReadAt>, object: &ObjectId) -> Result<(), TransferError> {
    let mut reading = Reading { reader, offset: 0 };
    let mut hasher = Sha256::new();
    while reading.offset < object.size {
        let (piece, rest) = reading.next(object)?;
        hasher.update(&piece);
        reading = rest;
    }
    if hasher.finalize().as_slice() == object.sha256.as_bytes() {
        return Ok(());
    }
    Err(TransferError::Damaged { object: *object })
}

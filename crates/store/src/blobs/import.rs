//! Pieces of a blob that were verified elsewhere, taken into the store in their order.

use std::{io, num::NonZeroU64};

use bao_tree::io::BaoContentItem;
use iroh_blobs::api::blobs::ImportBaoHandle;
use podsync_core::BlobId;

use super::{Blobs, hash};
use crate::StoreError;

/// Verified pieces on their way to the store: 32 groups are 512 KiB.
const IMPORT_QUEUE: usize = 32;

/// A range of a blob that is being taken in. Pin the blob; [`Blobs::note_arrival`] comes after
/// [`Import::finish`].
pub struct Import {
    blobs: Blobs,
    id: BlobId,
    len: u64,
    handle: ImportBaoHandle,
}

impl Blobs {
    /// Begins to take in pieces of a blob of `len` bytes. The store believes what it is given: whoever
    /// calls this has checked every piece against the blob's id.
    pub async fn import(&self, id: BlobId, len: u64) -> Result<Import, StoreError> {
        self.refuse_closed()?;
        let Some(size) = NonZeroU64::new(len) else {
            return Err(self.failed("write", 0, io::Error::other("an empty blob has no pieces")));
        };
        let handle = self
            .store
            .blobs()
            .import_bao(hash(id), size, IMPORT_QUEUE)
            .await
            .map_err(|error| self.failed("write", len, error))?;
        Ok(Import {
            blobs: self.clone(),
            id,
            len,
            handle,
        })
    }
}

impl Import {
    /// The next piece, in the order of a bao stream.
    pub async fn take(&mut self, item: BaoContentItem) -> io::Result<()> {
        // Why it takes no more is told by `finish`.
        self.handle
            .tx
            .send(item)
            .await
            .map_err(|_| io::ErrorKind::BrokenPipe.into())
    }

    /// Waits until what was given is in the store.
    pub async fn finish(self) -> Result<(), StoreError> {
        let Self {
            blobs,
            id,
            len,
            handle,
        } = self;
        drop(handle.tx);
        match handle.rx.await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(blobs.failed("write", len, error)),
            Err(_) => {
                tracing::debug!(blob = %id.short(), "the store ended while pieces came");
                Err(StoreError::Closed)
            }
        }
    }
}

//! Bytes that come in from elsewhere than a peer: from the bucket.
//!
//! The store believes what it is given here. Whoever gives it has verified each item against the blob's own
//! hash tree, as is done with what a peer sends.

use std::{fmt, num::NonZeroU64};

use bao_tree::io::BaoContentItem;
use iroh_blobs::api::blobs::ImportBaoHandle;
use podsync_core::BlobId;

use super::{Blobs, hash};
use crate::StoreError;

/// Items on their way to the disk: 32 groups are 512 KiB.
const QUEUE: usize = 32;

/// Ranges of one blob on their way in. What was taken stays, whatever becomes of the rest.
pub struct Import {
    blobs: Blobs,
    len: u64,
    handle: ImportBaoHandle,
}

impl Blobs {
    /// Begins to take verified parts of a blob of `len` bytes. Pin it before.
    pub async fn import(&self, id: BlobId, len: u64) -> Result<Import, StoreError> {
        self.refuse_closed()?;
        self.home.ensure_room(len)?;
        let Some(size) = NonZeroU64::new(len) else {
            return Err(StoreError::Corrupt { id });
        };
        let handle = self.store.blobs().import_bao(hash(id), size, QUEUE).await;
        Ok(Import {
            blobs: self.clone(),
            len,
            handle: handle.map_err(|error| self.failed("write", len, error))?,
        })
    }
}

impl Import {
    /// Takes the next item: parents come before what is below them, and leaves from left to right.
    pub async fn take(&mut self, item: BaoContentItem) -> Result<(), StoreError> {
        let sent = self.handle.tx.send(item).await;
        sent.map_err(|error| self.blobs.failed("write", self.len, error))
    }

    /// Waits until everything that was taken is written. It isn't synced yet: [`Blobs::note_arrival`].
    pub async fn finish(self) -> Result<(), StoreError> {
        let Self { blobs, len, handle } = self;
        drop(handle.tx);
        match handle.rx.await {
            Ok(written) => written.map_err(|error| blobs.failed("write", len, error)),
            Err(error) => Err(blobs.failed("write", len, error)),
        }
    }
}

impl fmt::Debug for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Import")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

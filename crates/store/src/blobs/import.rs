//! Bytes that come in from a peer or from the bucket.
//!
//! The store trusts its input: the caller must have verified each item against the blob's own hash tree.

mod pieces;

use std::{fmt, fs::File, num::NonZeroU64, path::PathBuf};

use bao_tree::io::BaoContentItem;
use iroh_blobs::api::blobs::ImportBaoHandle;
use podsync_core::BlobId;

use self::pieces::Piece;
use super::{Blobs, hash};
use crate::{
    StoreError,
    writeback::{self, Writeback},
};

/// Items on their way to the disk: at most 2 MiB, less than what [`Writeback`] waits for.
const QUEUE: usize = 32;

/// An import of ranges of one blob. Data taken so far stays even if the rest fails.
pub struct Import {
    blobs: Blobs,
    len: u64,
    handle: ImportBaoHandle,
    piece: Piece,
    /// The file that the store writes.
    file: PathBuf,
    writeback: Writeback,
}

impl Blobs {
    /// Starts an import of verified parts of a blob of `len` bytes. Pin it first.
    pub async fn import(&self, id: BlobId, len: u64) -> Result<Import, StoreError> {
        self.refuse_closed()?;
        self.home.ensure_room(len)?;
        let Some(size) = NonZeroU64::new(len) else {
            return Err(StoreError::Corrupt { id });
        };
        let handle = self.store.blobs().import_bao(hash(id), size, QUEUE).await;
        let handle = self
            .explain(handle, |error| self.failed("write", len, error))
            .await?;
        Ok(Import {
            blobs: self.clone(),
            len,
            piece: Piece::default(),
            file: self.folders.store.data_path(&hash(id)),
            writeback: Writeback::default(),
            handle,
        })
    }
}

impl Import {
    /// Takes the next item: parents before their children, leaves from left to right. The last few are
    /// certain only after [`Import::finish`].
    pub async fn take(&mut self, item: BaoContentItem) -> Result<(), StoreError> {
        if !self.piece.fits(&item) {
            self.pass_on().await?;
        }
        self.piece.add(item);
        Ok(())
    }

    async fn pass_on(&mut self) -> Result<(), StoreError> {
        for item in self.piece.drain() {
            if let BaoContentItem::Leaf(leaf) = &item {
                let written = leaf.offset..leaf.offset + leaf.data.len() as u64;
                if let Some(part) = self.writeback.note(written) {
                    let path = self.file.clone();
                    tokio::task::spawn_blocking(move || {
                        // If the early write-back can't start, the sync writes the bytes.
                        File::open(path).map(|file| writeback::begin(&file, &part))
                    });
                }
            }
            let sent = self.handle.tx.send(item).await;
            sent.map_err(|error| self.blobs.failed("write", self.len, error))?;
        }
        Ok(())
    }

    /// Waits until all items are written. They aren't synced yet: see [`Blobs::note_arrival`].
    pub async fn finish(mut self) -> Result<(), StoreError> {
        let passed_on = self.pass_on().await;
        let Self {
            blobs, len, handle, ..
        } = self;
        drop(handle.tx);
        // Here the store returns why it stopped.
        match handle.rx.await {
            Ok(written) => written.map_err(|error| blobs.failed("write", len, error))?,
            Err(error) => return Err(blobs.failed("write", len, error)),
        }
        passed_on
    }
}

impl fmt::Debug for Import {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Import")
            .field("len", &self.len)
            .finish_non_exhaustive()
    }
}

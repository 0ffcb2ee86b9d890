//! Writes a part of a blob to the store as it arrives from a peer or from the bucket.

use std::io;

use bao_tree::io::BaoContentItem;
use podsync_core::BlobId;
use podsync_store::{Blobs, Import, StoreError};

/// Takes verified bytes. The caller syncs them.
pub(crate) struct Arriving(Import);

impl Arriving {
    /// Of a blob of `len` bytes.
    pub(crate) async fn begin(blobs: &Blobs, blob: BlobId, len: u64) -> Result<Self, StoreError> {
        blobs.import(blob, len).await.map(Self)
    }

    /// Waits until all bytes taken so far are written. After a failure they stay: they were verified.
    pub(crate) async fn finish(self) -> Result<(), StoreError> {
        self.0.finish().await
    }

    async fn take(&mut self, item: BaoContentItem) -> io::Result<()> {
        self.0.take(item).await.map_err(io::Error::other)
    }
}

impl podsync_net::Sink for Arriving {
    async fn take(&mut self, item: BaoContentItem) -> io::Result<()> {
        self.take(item).await
    }
}

impl podsync_bucket::Sink for Arriving {
    async fn take(&mut self, item: BaoContentItem) -> io::Result<()> {
        self.take(item).await
    }
}

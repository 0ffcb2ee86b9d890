//! A part of a blob on its way to the disk, from a peer or from the bucket.

use std::io;

use bao_tree::io::BaoContentItem;
use podsync_core::BlobId;
use podsync_store::{Blobs, Import, StoreError};

/// Takes what was verified. It is synced by whoever asked for it.
pub(crate) struct Arriving(Import);

impl Arriving {
    /// Of a blob of `len` bytes.
    pub(crate) async fn begin(blobs: &Blobs, blob: BlobId, len: u64) -> Result<Self, StoreError> {
        blobs.import(blob, len).await.map(Self)
    }

    /// Waits until all that was taken is written, also where more was to come: what came before a failure
    /// is good, and stays.
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

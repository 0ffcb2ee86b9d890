//! Gives the network read access to the store's files.

use std::sync::Arc;

use podsync_core::BlobId;
use podsync_net::{BlobFiles, Source};
use podsync_store::Blobs;

struct Shelf(Blobs);

impl podsync_net::Shelf for Shelf {
    fn open(&self, blob: BlobId) -> Option<BlobFiles> {
        let files = self.0.files(blob)?;
        Some(BlobFiles {
            data: files.data,
            len: files.len,
            tree: files.tree,
        })
    }

    fn is_damaged(&self, blob: BlobId) -> bool {
        self.0.is_doubted(blob)
    }
}

/// The store as the network reads it.
pub(crate) fn source(blobs: &Blobs) -> Source {
    Source {
        store: blobs.store().clone(),
        shelf: Some(Arc::new(Shelf(blobs.clone()))),
    }
}

//! A memory cache of fetched outboards. The oldest are dropped first.

use std::collections::VecDeque;

use bytes::Bytes;
use podsync_core::BlobId;

/// Outboards kept in memory: those of 4 GiB.
const KEPT: usize = 16 << 20;

/// Fetched outboards, newest last. They are still untrusted.
#[derive(Debug, Default)]
pub(crate) struct Known {
    outboards: VecDeque<(BlobId, Bytes)>,
    len: usize,
}

impl Known {
    pub(super) fn get(&self, blob: BlobId) -> Option<Bytes> {
        let found = self.outboards.iter().find(|(known, _)| *known == blob);
        found.map(|(_, outboard)| outboard.clone())
    }

    pub(super) fn insert(&mut self, blob: BlobId, outboard: Bytes) {
        self.remove(blob);
        self.len += outboard.len();
        self.outboards.push_back((blob, outboard));
        while self.len > KEPT {
            let Some((_, oldest)) = self.outboards.pop_front() else {
                return;
            };
            self.len -= oldest.len();
        }
    }

    pub(super) fn remove(&mut self, blob: BlobId) {
        let mut freed = 0;
        self.outboards.retain(|(known, outboard)| {
            let keep = *known != blob;
            freed += if keep { 0 } else { outboard.len() };
            keep
        });
        self.len -= freed;
    }
}

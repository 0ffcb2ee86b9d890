//! A node's blobs. They have lengths and no bytes: a blob is the set of its units that are here.

use std::{collections::BTreeMap, ops::Range};

use podsync_core::{
    BlobId,
    units::{Units, byte_range},
};

#[derive(Debug, Clone, Default)]
pub(super) struct Store {
    blobs: BTreeMap<BlobId, Held>,
}

#[derive(Debug, Clone, Copy)]
struct Held {
    len: u64,
    units: Units,
}

impl Store {
    /// Bytes that have come in.
    pub(super) fn put(&mut self, blob: BlobId, len: u64, bytes: Range<u64>) {
        let held = self.blobs.entry(blob).or_insert(Held {
            len,
            units: Units::NONE,
        });
        held.units |= Units::inside(bytes, len);
    }

    pub(super) fn has(&self, blob: &BlobId, bytes: Range<u64>) -> bool {
        self.blobs
            .get(blob)
            .is_some_and(|held| held.units.contains(Units::covering(bytes, held.len)))
    }

    /// The units of a blob that aren't here.
    pub(super) fn missing(&self, blob: &BlobId, len: u64) -> Units {
        let held = self.blobs.get(blob).map_or(Units::NONE, |held| held.units);
        Units::whole(len).without(held)
    }

    /// Every run of bytes that is here: what a daemon reports at its start.
    pub(super) fn runs(&self) -> Vec<(BlobId, u64, Range<u64>)> {
        let runs = |(blob, held): (&BlobId, &Held)| {
            let (blob, len) = (*blob, held.len);
            held.units
                .runs()
                .map(move |run| (blob, len, byte_range(&run, len)))
                .collect::<Vec<_>>()
        };
        self.blobs.iter().flat_map(runs).collect()
    }
}

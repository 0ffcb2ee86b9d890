//! Digests of feed heads by groups of devices. Two peers compare them to find in one exchange where
//! they differ.

use std::collections::BTreeMap;

use crate::{bounded::Bounded, feed::Head, id::DeviceId, wire::BUCKETS};

const CONTEXT: &str = "podsync 2026 heads digest 1";

/// The digests of one team. A digest is cached until a head in its group changes.
#[derive(Debug)]
pub(super) struct Digests {
    buckets: [Option<u64>; BUCKETS],
}

/// The group that a device belongs to.
pub(super) fn bucket_of(device: &DeviceId) -> usize {
    usize::from(device.as_bytes()[0]) * BUCKETS / 256
}

impl Digests {
    pub(super) fn new() -> Self {
        Self {
            buckets: [None; BUCKETS],
        }
    }

    pub(super) fn changed(&mut self, device: &DeviceId) {
        self.buckets[bucket_of(device)] = None;
    }

    /// The digest of each group; `heads` are all heads known, by device.
    pub(super) fn of<'a>(
        &mut self,
        heads: impl Iterator<Item = (DeviceId, &'a Head)> + Clone,
    ) -> Bounded<u64, BUCKETS> {
        if self.buckets.contains(&None) {
            let mut groups: BTreeMap<usize, blake3::Hasher> = BTreeMap::new();
            for (device, head) in heads {
                let bucket = bucket_of(&device);
                if self.buckets[bucket].is_none() {
                    let hasher = groups
                        .entry(bucket)
                        .or_insert_with(|| blake3::Hasher::new_derive_key(CONTEXT));
                    hasher.update(device.as_bytes());
                    hasher.update(&head.seq.to_le_bytes());
                    hasher.update(head.entry.as_bytes());
                }
            }
            for (bucket, digest) in self.buckets.iter_mut().enumerate() {
                digest.get_or_insert_with(|| groups.get(&bucket).map_or(0, first_eight));
            }
        }
        Bounded::first(self.buckets.iter().map(|digest| digest.unwrap_or(0)))
    }
}

fn first_eight(hasher: &blake3::Hasher) -> u64 {
    let mut bytes = [0; 8];
    hasher.finalize_xof().fill(&mut bytes);
    u64::from_le_bytes(bytes)
}

//! How much of a blob is here, in steps of 1 MiB.
//!
//! Rounded inwards: a step counts only if all of it is here, and a blob's last, shorter step only
//! once its length is proved, since until then the length is what some peer said.

use std::ops::Range;

use iroh_blobs::protocol::ChunkRanges;
use podsync_core::manifest::PACK_MAX_LEN;

/// What is here of a blob.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Held {
    No,
    /// Verified bytes that survive a restart but not every crash.
    Partial(Ranges),
    /// All of it, synced.
    Whole,
}

/// Byte ranges, ascending, apart from each other, and beginning at multiples of [`Ranges::STEP`].
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Ranges(Vec<Range<u64>>);

impl Ranges {
    pub const STEP: u64 = 1 << 20;

    /// `size` is the blob's length, where it is proved.
    pub(super) fn of(chunks: &ChunkRanges, size: Option<u64>) -> Self {
        let end = size.unwrap_or(PACK_MAX_LEN);
        // Boundaries come in pairs; a last one without a partner is open.
        let ranges = chunks.boundaries().chunks(2).filter_map(|pair| {
            let from = pair.first()?.to_bytes().next_multiple_of(Self::STEP);
            let to = pair.get(1).map_or(end, |to| to.to_bytes().min(end));
            let whole = if size == Some(to) {
                to
            } else {
                to - to % Self::STEP
            };
            (from < whole).then_some(from..whole)
        });
        Self(ranges.collect())
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes in all.
    pub fn len(&self) -> u64 {
        self.0.iter().map(|range| range.end - range.start).sum()
    }

    pub fn iter(&self) -> impl Iterator<Item = Range<u64>> + '_ {
        self.0.iter().cloned()
    }
}

#[cfg(test)]
mod tests {
    use iroh_blobs::protocol::ChunkRangesExt;

    use super::*;

    const MIB: u64 = 1 << 20;

    fn of(chunks: ChunkRanges, size: Option<u64>) -> Vec<(u64, u64)> {
        Ranges::of(&chunks, size)
            .iter()
            .map(|range| (range.start, range.end))
            .collect()
    }

    #[test]
    fn only_whole_steps_count() {
        let inner = ChunkRanges::bytes(MIB / 2..3 * MIB + 100);
        assert_eq!(of(inner, Some(8 * MIB)), [(MIB, 3 * MIB)]);
        assert_eq!(
            of(ChunkRanges::bytes(MIB + 1024..2 * MIB), Some(8 * MIB)),
            []
        );
        let two = ChunkRanges::bytes(..MIB) | ChunkRanges::bytes(2 * MIB..4 * MIB);
        assert_eq!(of(two.clone(), None), [(0, MIB), (2 * MIB, 4 * MIB)]);
        assert_eq!(Ranges::of(&two, None).len(), 3 * MIB);
        assert!(Ranges::of(&ChunkRanges::empty(), None).is_empty());
    }

    #[test]
    fn the_last_short_step_counts_once_the_length_is_proved() {
        let len = 2 * MIB + 5;
        assert_eq!(of(ChunkRanges::all(), Some(len)), [(0, len)]);
        assert_eq!(
            of(ChunkRanges::bytes(2 * MIB..len), Some(len)),
            [(2 * MIB, len)]
        );
        assert_eq!(of(ChunkRanges::bytes(..len), None), [(0, 2 * MIB)]);
        assert_eq!(of(ChunkRanges::all(), None), [(0, PACK_MAX_LEN)]);
    }
}

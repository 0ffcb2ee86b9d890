//! Converts the store's record of arrived bytes to units.

use iroh_blobs::api::blobs::Bitfield;
use podsync_core::units::Units;

/// The units of a blob of `len` bytes that are here in full.
pub(super) fn arrived(bitfield: &Bitfield, len: u64) -> Units {
    if bitfield.validated_size().is_some_and(|size| size != len) {
        return Units::NONE;
    }
    // Boundaries come in pairs. A last one without a partner means an open end.
    let ranges = bitfield.ranges.boundaries().chunks(2).map(|pair| {
        let from = pair.first().map_or(len, |from| from.to_bytes());
        let to = pair.get(1).map_or(len, |to| to.to_bytes().min(len));
        Units::inside(from..to, len)
    });
    ranges.fold(Units::NONE, |all, units| all | units)
}

#[cfg(test)]
mod tests {
    use iroh_blobs::protocol::{ChunkRanges, ChunkRangesExt};

    use super::*;

    const MIB: u64 = 1 << 20;

    fn of(ranges: ChunkRanges, len: u64) -> Units {
        arrived(&Bitfield::new(ranges, len), len)
    }

    #[test]
    fn only_whole_units_count() {
        let inner = ChunkRanges::bytes(MIB / 2..3 * MIB + 100);
        assert_eq!(of(inner, 8 * MIB), Units::span(1, 3));
        let none = ChunkRanges::bytes(MIB + 1024..2 * MIB);
        assert_eq!(of(none, 8 * MIB), Units::NONE);
        let two = ChunkRanges::bytes(..MIB) | ChunkRanges::bytes(2 * MIB..4 * MIB);
        assert_eq!(of(two, 8 * MIB), Units::span(0, 1) | Units::span(2, 4));
        assert_eq!(of(ChunkRanges::empty(), 8 * MIB), Units::NONE);
    }

    #[test]
    fn the_last_unit_may_be_short() {
        let len = 2 * MIB + 5;
        assert_eq!(of(ChunkRanges::all(), len), Units::whole(len));
        assert_eq!(of(ChunkRanges::bytes(2 * MIB..len), len), Units::span(2, 3));
        assert_eq!(of(ChunkRanges::bytes(..2 * MIB), len), Units::span(0, 2));
    }

    #[test]
    fn a_blob_of_another_length_is_not_what_is_asked_for() {
        let whole = Bitfield::complete(MIB);
        assert_eq!(arrived(&whole, MIB), Units::whole(MIB));
        assert_eq!(arrived(&whole, MIB + 1), Units::NONE);
    }
}

//! Plans the requests for the wanted ranges. One request costs about as much time as half a MiB.

use std::ops::Range;

use crate::outboards::GROUP;

/// A shorter gap is fetched as well.
const GAP: u64 = 512 << 10;
/// A blob is fetched completely if more than this share is wanted.
const MOST: (u64, u64) = (60, 100);

/// Spans of a blob of `len` bytes, lowest first and apart from each other, that begin and end at groups and
/// hold all `ranges`.
pub(super) fn plan(ranges: &[Range<u64>], len: u64) -> Vec<Range<u64>> {
    let mut widened: Vec<Range<u64>> = ranges
        .iter()
        .filter(|range| !range.is_empty() && range.start < len)
        .map(|range| {
            let end = range.end.min(len).next_multiple_of(GROUP).min(len);
            range.start / GROUP * GROUP..end
        })
        .collect();
    widened.sort_by_key(|range| range.start);
    let mut spans: Vec<Range<u64>> = Vec::new();
    let mut wanted = 0;
    let mut reached = 0;
    for range in widened {
        wanted += range.end.saturating_sub(range.start.max(reached));
        reached = reached.max(range.end);
        match spans.last_mut() {
            Some(last) if range.start < last.end.saturating_add(GAP) => {
                last.end = last.end.max(range.end);
            }
            _ => spans.push(range),
        }
    }
    if wanted * MOST.1 > len * MOST.0 {
        return std::iter::once(0..len).collect();
    }
    spans
}

#[cfg(test)]
#[expect(
    clippy::single_range_in_vec_init,
    reason = "a list of ranges may have one"
)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn what_lies_close_together_is_one_request() {
        let len = 32 * MIB;
        assert_eq!(plan(&[], len), []);
        assert_eq!(plan(&[5..5, len..len + 9], len), []);
        assert_eq!(plan(&[1..2], len), [0..GROUP]);
        assert_eq!(
            plan(&[4 * MIB..5 * MIB, 0..MIB], len),
            [0..MIB, 4 * MIB..5 * MIB]
        );
        let near = plan(&[0..MIB, MIB + GAP - GROUP..2 * MIB], len);
        assert_eq!(near, [0..2 * MIB]);
        let far = plan(&[0..MIB, MIB + GAP..2 * MIB], len);
        assert_eq!(far, [0..MIB, MIB + GAP..2 * MIB]);
        assert_eq!(plan(&[len - 1..u64::MAX], len), [len - GROUP..len]);
    }

    #[test]
    fn most_of_a_blob_is_all_of_it() {
        let len = 10 * MIB;
        assert_eq!(plan(&[0..6 * MIB], len), [0..6 * MIB]);
        assert_eq!(plan(&[0..6 * MIB + 1], len), [0..len]);
        // A repeated range counts once.
        assert_eq!(plan(&[0..4 * MIB, 0..4 * MIB], len), [0..4 * MIB]);
        assert_eq!(plan(&[0..1], 1), [0..1]);
    }

    proptest! {
        #[test]
        fn spans_hold_what_is_wanted_and_are_apart(
            ranges in proptest::collection::vec((0..80 * MIB, 0..4 * MIB), 0..20),
            len in 1..64 * MIB,
        ) {
            let ranges: Vec<_> = ranges.into_iter().map(|(at, count)| at..at + count).collect();
            let spans = plan(&ranges, len);
            for range in &ranges {
                let range = range.start..range.end.min(len);
                let held = spans.iter().any(|span| span.start <= range.start && range.end <= span.end);
                prop_assert!(range.is_empty() || held);
            }
            for span in &spans {
                prop_assert!(span.start < span.end && span.end <= len);
                prop_assert!(span.start % GROUP == 0 && (span.end % GROUP == 0 || span.end == len));
            }
            for pair in spans.windows(2) {
                prop_assert!(pair[0].end + GAP <= pair[1].start);
            }
        }
    }
}

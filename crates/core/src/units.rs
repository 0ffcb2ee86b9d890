//! Parts of a blob in units of 1 MiB: what a provider has, what a transfer lacks.
//!
//! A pack has at most 64 MiB, so the parts of any blob are the bits of one `u64`. The last unit of a
//! blob is shorter than the others unless its length is a multiple of 1 MiB.

use std::{fmt, ops::Range};

use serde::{Deserialize, Serialize};

use crate::manifest::PACK_MAX_LEN;

/// Bytes of a unit.
pub const UNIT_LEN: u64 = 1 << 20;

const _: () = assert!(
    PACK_MAX_LEN / UNIT_LEN == u64::BITS as u64,
    "a blob's units fill a u64"
);

/// A set of units of one blob: bit `n` is the bytes from `n` MiB on.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Units(u64);

impl Units {
    pub const NONE: Self = Self(0);

    pub const fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    pub const fn bits(self) -> u64 {
        self.0
    }

    /// All units of a blob of `len` bytes; none where it is longer than a blob may be.
    pub const fn whole(len: u64) -> Self {
        match len.div_ceil(UNIT_LEN) {
            0 => Self(0),
            count @ 1..=64 => Self(u64::MAX >> (64 - count)),
            _ => Self(0),
        }
    }

    /// The units that lie wholly inside `bytes` of a blob of `len` bytes: the units that can be
    /// offered.
    pub fn inside(bytes: Range<u64>, len: u64) -> Self {
        let end = if bytes.end >= len {
            len.div_ceil(UNIT_LEN)
        } else {
            bytes.end / UNIT_LEN
        };
        Self::span(bytes.start.div_ceil(UNIT_LEN), end) & Self::whole(len)
    }

    /// The units that `bytes` of a blob touch: the units to fetch for them.
    pub fn covering(bytes: Range<u64>, len: u64) -> Self {
        if bytes.is_empty() {
            return Self::NONE;
        }
        Self::span(bytes.start / UNIT_LEN, bytes.end.div_ceil(UNIT_LEN)) & Self::whole(len)
    }

    /// Units `start..end`.
    pub fn span(start: u64, end: u64) -> Self {
        let (start, end) = (start.min(64), end.min(64));
        if start >= end {
            return Self::NONE;
        }
        Self((u64::MAX >> (64 - (end - start))) << start)
    }

    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    pub const fn count(self) -> u32 {
        self.0.count_ones()
    }

    pub const fn contains(self, other: Self) -> bool {
        self.0 & other.0 == other.0
    }

    pub const fn without(self, other: Self) -> Self {
        Self(self.0 & !other.0)
    }

    /// The runs of neighbouring units, lowest first.
    pub fn runs(self) -> impl Iterator<Item = Range<u64>> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            if rest == 0 {
                return None;
            }
            let start = rest.trailing_zeros();
            let end = start + (rest >> start).trailing_ones();
            rest &= if end == 64 { 0 } else { u64::MAX << end };
            Some(u64::from(start)..u64::from(end))
        })
    }

    /// Bytes in these units of a blob of `len` bytes.
    pub fn byte_len(self, len: u64) -> u64 {
        self.runs()
            .map(|run| {
                (run.end * UNIT_LEN)
                    .min(len)
                    .saturating_sub(run.start * UNIT_LEN)
            })
            .sum()
    }
}

/// The bytes of units `run` of a blob of `len` bytes.
pub fn byte_range(run: &Range<u64>, len: u64) -> Range<u64> {
    run.start * UNIT_LEN..(run.end * UNIT_LEN).min(len)
}

impl std::ops::BitAnd for Units {
    type Output = Self;

    fn bitand(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl std::ops::BitOr for Units {
    type Output = Self;

    fn bitor(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }
}

impl std::ops::BitOrAssign for Units {
    fn bitor_assign(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

impl fmt::Debug for Units {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.runs()).finish()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn whole_ends_with_the_blob() {
        assert_eq!(Units::whole(0).count(), 0);
        assert_eq!(Units::whole(1).count(), 1);
        assert_eq!(Units::whole(UNIT_LEN + 1).count(), 2);
        assert_eq!(Units::whole(PACK_MAX_LEN).count(), 64);
        assert_eq!(Units::whole(PACK_MAX_LEN + 1), Units::NONE);
    }

    #[test]
    fn offered_is_rounded_in_and_wanted_is_rounded_out() {
        let len = 3 * UNIT_LEN + 5;
        assert_eq!(Units::inside(1..2 * UNIT_LEN, len), Units::span(1, 2));
        assert_eq!(Units::inside(3 * UNIT_LEN..len, len), Units::span(3, 4));
        assert_eq!(Units::inside(3 * UNIT_LEN..len - 1, len), Units::NONE);
        assert_eq!(Units::covering(1..2 * UNIT_LEN, len), Units::span(0, 2));
        assert_eq!(Units::covering(7..7, len), Units::NONE);
        assert_eq!(Units::whole(len).byte_len(len), len);
    }

    proptest! {
        #[test]
        fn runs_are_the_set(bits: u64) {
            let units = Units::from_bits(bits);
            let again = units.runs().fold(Units::NONE, |all, run| all | Units::span(run.start, run.end));
            prop_assert_eq!(again, units);
        }
    }
}

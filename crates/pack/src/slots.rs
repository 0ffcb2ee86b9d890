//! Assigns each pack its index in a version's list.
//!
//! During placement a row names its pack by origin: an index into the known packs, or [`NEW_PACK`] plus
//! a count. Here each gets its final index. The parent's packs in use keep theirs, so that rows of
//! unchanged chunks stay the same bytes, and new packs fill the gaps.

use podsync_core::manifest::PackRef;

use crate::writer::NEW_PACK;

/// A pack's origin, as rows name it before indices are assigned.
type Origin = u32;

#[derive(Debug, Default)]
pub(crate) struct Slots {
    known: Vec<Option<u32>>,
    new: Vec<Option<u32>>,
    list: Vec<Origin>,
}

impl Slots {
    /// Places the known packs that are used and the new packs begun so far.
    pub(crate) fn assign(known_used: &[bool], new: u32) -> Self {
        let mut list: Vec<Option<Origin>> = (0..)
            .zip(known_used)
            .map(|(index, used)| used.then_some(index))
            .collect();
        let mut gap = 0;
        for pack in (0..new).map(|index| NEW_PACK | index) {
            while list.get(gap).is_some_and(Option::is_some) {
                gap += 1;
            }
            match list.get_mut(gap) {
                Some(slot) => *slot = Some(pack),
                None => list.push(Some(pack)),
            }
        }
        let mut slots = Self {
            known: vec![None; known_used.len()],
            ..Self::default()
        };
        // The last packs move into the remaining gaps.
        let mut at = 0;
        while at < list.len() {
            match list[at] {
                Some(pack) => {
                    slots.place(pack);
                    at += 1;
                }
                None => {
                    list.swap_remove(at);
                }
            }
        }
        slots
    }

    /// The index of a pack. A new one comes last.
    pub(crate) fn of(&mut self, origin: Origin) -> u32 {
        match self.entry(origin) {
            Some(slot) => *slot,
            None => self.place(origin),
        }
    }

    /// The packs in order of their indices.
    pub(crate) fn into_packs(self, known: &[PackRef], new: &[PackRef]) -> Vec<PackRef> {
        let pack = |origin: &Origin| match origin & NEW_PACK {
            0 => known[*origin as usize].clone(),
            _ => new[(origin ^ NEW_PACK) as usize].clone(),
        };
        self.list.iter().map(pack).collect()
    }

    fn entry(&mut self, origin: Origin) -> &mut Option<u32> {
        let (places, index) = match origin & NEW_PACK {
            0 => (&mut self.known, origin as usize),
            _ => (&mut self.new, (origin ^ NEW_PACK) as usize),
        };
        if places.len() <= index {
            places.resize(index + 1, None);
        }
        &mut places[index]
    }

    fn place(&mut self, origin: Origin) -> u32 {
        let slot = u32::try_from(self.list.len()).expect("a version has far fewer than 2^32 packs");
        *self.entry(origin) = Some(slot);
        self.list.push(origin);
        slot
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assigned(used: &[bool], new: u32) -> Vec<Origin> {
        Slots::assign(used, new).list
    }

    #[test]
    fn used_packs_keep_their_places() {
        let n = |index| NEW_PACK | index;
        assert_eq!(assigned(&[true, true], 0), [0, 1]);
        assert_eq!(assigned(&[true, false, true], 1), [0, n(0), 2]);
        assert_eq!(assigned(&[true, false, true], 2), [0, n(0), 2, n(1)]);
        assert_eq!(assigned(&[false, false, true, true], 1), [n(0), 3, 2]);
        assert_eq!(assigned(&[false, false, false], 0), Vec::<Origin>::new());
        assert_eq!(assigned(&[true, false, false], 0), [0]);
    }

    #[test]
    fn late_packs_come_last() {
        let mut slots = Slots::assign(&[true, false], 1);
        assert_eq!(slots.of(NEW_PACK), 1);
        assert_eq!(slots.of(1), 2);
        assert_eq!(slots.of(NEW_PACK | 1), 3);
        assert_eq!(slots.of(0), 0);
        assert_eq!(slots.of(1), 2);
    }
}

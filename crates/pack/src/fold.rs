//! Moves chunks between packs: to limit a version's number of packs, or to keep private packs
//! private.
//!
//! A frame is opened with the old pack's key and sealed with the new one's, without decompressing
//! it.

use std::{collections::HashMap, path::Path};

use podsync_core::{
    manifest::{ChunkLocation, PACK_TARGET_LEN, PackRef},
    seal::Sealer,
};

use crate::{
    error::SaveError,
    frame::{self, FrameError},
    read::ReadError,
    spool::RowSpool,
    stream::Placer,
    writer::NEW_PACK,
};

/// A version may always use this many packs.
const PACKS_ALLOWED: u64 = 32;
/// It may also use this many times the packs that its bytes would fill.
const PACKS_OVER_IDEAL: u64 = 2;
/// Folding moves at most one part in this many of a version's sealed bytes.
const BUDGET_PART: u64 = 20;

/// If a version uses too many packs, moves the chunks of the least used ones.
pub(crate) fn limit_packs(
    placer: &mut Placer<'_>,
    rows: &mut RowSpool,
    entries: &mut [ChunkLocation],
    spool: &Path,
) -> Result<(), SaveError> {
    let folded = choose(
        &placer.drawn,
        placer.writer.begun(),
        placer.writer.sealed_bytes(),
    );
    if folded.iter().any(|folded| *folded) {
        move_chunks(placer, rows, entries, &folded, spool)?;
    }
    Ok(())
}

/// Which known packs to fold, given the bytes drawn from each and what was written anew.
fn choose(drawn: &[u64], new_packs: u32, new_bytes: u64) -> Vec<bool> {
    let total = drawn.iter().sum::<u64>() + new_bytes;
    let allowed = PACKS_ALLOWED.max(PACKS_OVER_IDEAL * total.div_ceil(PACK_TARGET_LEN));
    let mut used: Vec<(u64, usize)> = drawn
        .iter()
        .copied()
        .zip(0..)
        .filter(|(drawn, _)| *drawn > 0)
        .collect();
    let mut count = used.len() as u64 + u64::from(new_packs);
    used.sort_unstable();

    let mut folded = vec![false; drawn.len()];
    let mut moved = 0;
    for (bytes, pack) in used {
        // Moved chunks fill packs of their own.
        if count + (moved / PACK_TARGET_LEN) <= allowed || moved + bytes > total / BUDGET_PART {
            break;
        }
        folded[pack] = true;
        moved += bytes;
        count -= 1;
    }
    folded
}

/// Moves every chunk that lies in a known pack marked in `folded` to a new pack.
pub(crate) fn move_chunks(
    placer: &mut Placer<'_>,
    rows: &mut RowSpool,
    entries: &mut [ChunkLocation],
    folded: &[bool],
    spool: &Path,
) -> Result<(), SaveError> {
    let mut moved = RowSpool::new(spool)?;
    // Frames that were already moved, and the row with their new place.
    let mut places = HashMap::<(u32, u32), u32>::new();
    let mut mover = Mover {
        placer,
        sealer: None,
    };
    rows.for_each(|row| {
        let row = if !is_folded(folded, &row) {
            row
        } else if let Some(place) = places.get(&(row.pack, row.frame)) {
            moved.get(u64::from(*place))?
        } else {
            let place =
                u32::try_from(moved.len()).expect("a version has far fewer than 2^32 chunks");
            places.insert((row.pack, row.frame), place);
            mover.move_chunk(row)?
        };
        moved.push(&row).map_err(SaveError::Spool)
    })?;
    for entry in entries.iter_mut().filter(|entry| is_folded(folded, entry)) {
        *entry = mover.move_chunk(*entry)?;
    }
    for (drawn, _) in placer
        .drawn
        .iter_mut()
        .zip(folded)
        .filter(|(_, folded)| **folded)
    {
        *drawn = 0;
    }
    *rows = moved;
    Ok(())
}

fn is_folded(folded: &[bool], row: &ChunkLocation) -> bool {
    row.pack & NEW_PACK == 0 && folded[row.pack as usize]
}

struct Mover<'p, 'a> {
    placer: &'p mut Placer<'a>,
    /// The key of the last pack. Neighbouring rows mostly share it.
    sealer: Option<(u32, Sealer)>,
}

impl Mover<'_, '_> {
    fn move_chunk(&mut self, chunk: ChunkLocation) -> Result<ChunkLocation, SaveError> {
        let base = self.placer.base;
        let pack: &PackRef = &base.chunks.packs()[chunk.pack as usize];
        frame::check_lengths(chunk.sealed_len, chunk.plain_len)
            .map_err(|_| ReadError::Unsound("a chunk's lengths are impossible"))?;
        let mut sealed = vec![0; chunk.sealed_len as usize];
        base.packs
            .read(pack, u64::from(chunk.offset), &mut sealed)
            .map_err(|source| ReadError::Pack {
                pack: pack.id,
                source,
            })?;
        let sealer = match &mut self.sealer {
            Some((index, sealer)) if *index == chunk.pack => sealer,
            other => &mut other.insert((chunk.pack, Sealer::new(&pack.key))).1,
        };
        frame::open_body(sealer, chunk.frame, &mut sealed).map_err(|seal| ReadError::Damaged {
            pack: pack.id,
            frame: chunk.frame,
            source: FrameError::Seal(seal),
        })?;
        // The new tag replaces the old one in place.
        let writer = &mut self.placer.writer;
        let frame = 0..sealed.len();
        let moved = writer.put(chunk.id, chunk.plain_len, &mut sealed, frame);
        writer.hand_on(sealed)?;
        self.placer.stats.sealed_moved += u64::from(moved.sealed_len);
        Ok(moved)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folds_the_deadest_within_the_budget() {
        let few = choose(&[1; 32], 0, 0);
        assert!(
            few.iter().all(|folded| !folded),
            "32 packs are always allowed"
        );

        let mut drawn = vec![PACK_TARGET_LEN; 20];
        drawn.extend([1000; 30]);
        let folded = choose(&drawn, 1, 1000);
        // 51 packs for some 20: at most 42 are allowed.
        assert_eq!(folded.iter().filter(|folded| **folded).count(), 9);
        assert!(folded[..20].iter().all(|folded| !folded));

        let even = choose(&[1 << 20; 100], 1, 0);
        assert_eq!(
            even.iter().filter(|folded| **folded).count(),
            5,
            "the budget is 5 %"
        );
    }
}

//! What a pull has to fetch: ranges of packs, first for the tables and, once they can be read, for
//! the chunks.
//!
//! "Held" means those very bytes of that pack: a rebuild reads packs, so a chunk that is known from
//! another pack does not spare this one.

use std::{collections::BTreeMap, ops::Range};

use podsync_core::manifest::{ChunkLocation, Manifest, PackRef};

use crate::read::{ReadError, Version, check_row};

/// Gaps up to this are fetched along: a range costs more than their bytes.
pub const RANGE_GAP_LEN: u64 = 64 << 10;
/// Where this part of a pack is wanted, all of it is, so that it can be handed on whole.
const WHOLE_PACK_PARTS: (u64, u64) = (7, 8);

/// Ranges of one pack; ascending and apart from each other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PackRanges {
    /// Index into [`Manifest::packs`].
    pub pack: u32,
    pub ranges: Vec<Range<u64>>,
}

/// Tells whether a chunk's bytes of that pack are held.
pub type Held<'h> = dyn FnMut(&PackRef, &ChunkLocation) -> bool + 'h;

/// What must be fetched before the tables can be read.
pub fn table_ranges(
    manifest: &Manifest,
    held: &mut Held<'_>,
) -> Result<Vec<PackRanges>, ReadError> {
    let mut wanted = Wanted::default();
    for chunk in manifest
        .entries
        .chunks
        .iter()
        .chain(&manifest.chunks.chunks)
    {
        wanted.add(manifest, chunk, held)?;
    }
    Ok(wanted.finish(manifest))
}

impl Version<'_> {
    /// What must be fetched before the state can be rebuilt. The tables must be held.
    pub fn chunk_ranges(&self, held: &mut Held<'_>) -> Result<Vec<PackRanges>, ReadError> {
        let mut wanted = Wanted::default();
        for chunk in self.chunks()? {
            wanted.add(self.manifest, &chunk?, held)?;
        }
        Ok(wanted.finish(self.manifest))
    }
}

#[derive(Default)]
struct Wanted(BTreeMap<u32, Vec<Range<u64>>>);

impl Wanted {
    fn add(
        &mut self,
        manifest: &Manifest,
        chunk: &ChunkLocation,
        held: &mut Held<'_>,
    ) -> Result<(), ReadError> {
        let pack = check_row(manifest, chunk)?;
        if held(pack, chunk) {
            return Ok(());
        }
        let begin = u64::from(chunk.offset);
        let end = begin + u64::from(chunk.sealed_len);
        let ranges = self.0.entry(chunk.pack).or_default();
        // Chunks mostly follow each other in the pack as they do in the stream.
        match ranges.last_mut() {
            Some(last) if (last.start..=last.end + RANGE_GAP_LEN).contains(&begin) => {
                last.end = last.end.max(end)
            }
            _ => ranges.push(begin..end),
        }
        Ok(())
    }

    fn finish(self, manifest: &Manifest) -> Vec<PackRanges> {
        let ranges = |(pack, ranges)| {
            let ranges = coalesce(ranges, manifest.packs[pack as usize].len);
            PackRanges { pack, ranges }
        };
        self.0.into_iter().map(ranges).collect()
    }
}

fn coalesce(mut ranges: Vec<Range<u64>>, pack_len: u64) -> Vec<Range<u64>> {
    ranges.sort_unstable_by_key(|range| range.start);
    let mut joined: Vec<Range<u64>> = Vec::with_capacity(ranges.len());
    for range in ranges {
        match joined.last_mut() {
            Some(last) if range.start <= last.end + RANGE_GAP_LEN => {
                last.end = last.end.max(range.end)
            }
            _ => joined.push(range),
        }
    }
    // The trailer mostly is such a gap.
    if let Some(last) = joined.last_mut()
        && last.end + RANGE_GAP_LEN >= pack_len
    {
        last.end = pack_len;
    }
    let wanted: u64 = joined.iter().map(|range| range.end - range.start).sum();
    let (most, of) = WHOLE_PACK_PARTS;
    if wanted * of >= pack_len * most {
        let whole = 0..pack_len;
        return vec![whole];
    }
    joined
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(
        clippy::single_range_in_vec_init,
        reason = "lists of ranges, also of one"
    )]
    fn ranges_join_over_small_gaps() {
        const K: u64 = 1 << 10;
        let pack = 32 << 20;
        assert_eq!(
            coalesce(vec![200 * K..210 * K, 0..100 * K], pack),
            [0..100 * K, 200 * K..210 * K]
        );
        assert_eq!(
            coalesce(vec![0..100 * K, 164 * K..200 * K], pack),
            [0..200 * K]
        );
        assert_eq!(
            coalesce(vec![0..100 * K, 50 * K..60 * K], pack),
            [0..100 * K]
        );
        assert_eq!(
            coalesce(vec![pack - 100 * K..pack - 50 * K], pack),
            [pack - 100 * K..pack]
        );
        assert_eq!(
            coalesce(vec![0..pack - 1000 * K], pack),
            [0..pack],
            "nearly all"
        );
    }
}

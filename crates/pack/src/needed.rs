//! What a version needs of its packs: first for its tables and, once those can be read, for its chunks.
//!
//! It is counted in units, not in chunks: a member offers whole units only, so whoever has fetched what
//! a version needs can hand all of it on. A chunk that is known from another pack spares nothing here,
//! for a rebuild reads the packs that the version names.

use podsync_core::{
    manifest::{ChunkLocation, Manifest},
    units::Units,
};

use crate::read::{ReadError, Version, check_row};

/// Units of each of [`Manifest::packs`], in their order.
pub type NeededUnits = Vec<Units>;

/// What must be held before the tables can be read.
pub fn table_units(manifest: &Manifest) -> Result<NeededUnits, ReadError> {
    let mut needed = vec![Units::NONE; manifest.packs.len()];
    for table in [&manifest.entries, &manifest.chunks] {
        for chunk in &table.chunks {
            add(&mut needed, manifest, chunk)?;
        }
    }
    Ok(needed)
}

impl Version<'_> {
    /// What must be held before the state can be rebuilt, tables included. Those must be held already.
    pub fn needed_units(&self) -> Result<NeededUnits, ReadError> {
        let mut needed = table_units(self.manifest)?;
        for chunk in self.chunks()? {
            add(&mut needed, self.manifest, &chunk?)?;
        }
        Ok(needed)
    }
}

fn add(needed: &mut [Units], manifest: &Manifest, chunk: &ChunkLocation) -> Result<(), ReadError> {
    let pack = check_row(manifest, chunk)?;
    let begin = u64::from(chunk.offset);
    let bytes = begin..begin + u64::from(chunk.sealed_len);
    needed[chunk.pack as usize] |= Units::covering(bytes, pack.len);
    Ok(())
}

//! The parts of packs that a version needs: first for its tables, then, once those can be read, for its
//! chunks.
//!
//! They are counted in units, not in chunks: members offer whole units only, so a device that has
//! fetched a version can provide all of it. A chunk known from another pack saves nothing here, since a
//! rebuild reads the packs that the version names.

use podsync_core::{
    manifest::{ChunkLocation, Manifest},
    units::Units,
};

use crate::read::{ReadError, Version, check_row};

/// Units of each of [`Manifest::packs`], in their order.
pub type NeededUnits = Vec<Units>;

/// The units needed to read the tables.
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
    /// The units needed to rebuild the state, tables included. The tables' units must be held already.
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

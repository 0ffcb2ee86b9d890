//! Records which blobs are durable, and which units of each.
//!
//! A holding is recorded after its bytes were synced and removed before they are deleted, so it never
//! claims missing bytes. There may be more bytes than recorded: those that arrived and aren't synced
//! yet.

use std::{collections::BTreeSet, path::PathBuf, sync::Arc};

use podsync_core::{BlobId, units::Units};
use redb::{ReadableTable, TableDefinition};

use crate::{Home, StoreError, database::Database, error::Remedy};

/// Blobs, their lengths, and the bits of the units that are held.
const HELD: TableDefinition<'_, &[u8; 32], (u64, u64)> = TableDefinition::new("held");

/// The page cache: all of the file, for some ten thousand packs.
const CACHE_LEN: usize = 2 << 20;

/// The approximate bytes that a record writes, for the message of a full disk.
const NOTE_LEN: u64 = 64;

/// What is held of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holding {
    /// Bytes of the whole blob.
    pub len: u64,
    /// The synced units; never empty.
    pub units: Units,
}

impl Holding {
    pub(crate) fn whole(len: u64) -> Self {
        let units = Units::whole(len);
        Self { len, units }
    }

    pub fn is_whole(&self) -> bool {
        self.units == Units::whole(self.len)
    }
}

/// The holdings of a home. Clones share them; writes block on the disk.
#[derive(Debug, Clone)]
pub(crate) struct Holdings {
    database: Arc<Database>,
}

impl Holdings {
    pub(crate) fn open(home: &Home) -> Result<Self, StoreError> {
        let path = Self::path(home);
        let database = Database::open(
            path,
            CACHE_LEN,
            Remedy::Holdings,
            home.guard(),
            |transaction| {
                transaction.open_table(HELD)?;
                Ok(())
            },
        )?;
        Ok(Self {
            database: Arc::new(database),
        })
    }

    /// If this file doesn't exist, the holdings must be rebuilt by reading the blobs.
    pub(crate) fn path(home: &Home) -> PathBuf {
        home.root().join("held.redb")
    }

    pub(crate) fn examine(home: &Home) -> Result<(), StoreError> {
        let path = Self::path(home);
        match path.try_exists().map_err(StoreError::read(&path))? {
            true => Database::examine(&path, Remedy::Holdings),
            false => Ok(()),
        }
    }

    pub(crate) fn get(&self, id: &BlobId) -> Result<Option<Holding>, StoreError> {
        let table = self.database.table(HELD)?;
        self.database.read(|| {
            let row = table.get(id.as_bytes())?;
            Ok(row.map(|row| {
                let (len, bits) = row.value();
                let units = Units::from_bits(bits);
                Holding { len, units }
            }))
        })
    }

    /// Every blob of which something is held.
    pub(crate) fn ids(&self) -> Result<Vec<BlobId>, StoreError> {
        let table = self.database.table(HELD)?;
        self.database.read(|| {
            let rows = table.iter()?;
            rows.map(|row| Ok(BlobId::from_bytes(*row?.0.value())))
                .collect()
        })
    }

    /// Bytes held of these blobs together, in one look at the file.
    pub(crate) fn byte_len(&self, ids: &BTreeSet<BlobId>) -> Result<u64, StoreError> {
        let table = self.database.table(HELD)?;
        self.database.read(|| {
            let mut sum = 0;
            for id in ids {
                if let Some(row) = table.get(id.as_bytes())? {
                    let (len, bits) = row.value();
                    sum += Units::from_bits(bits).byte_len(len);
                }
            }
            Ok(sum)
        })
    }

    /// Records that these units of a blob are synced, in addition to earlier ones.
    pub(crate) fn add(&self, id: &BlobId, holding: Holding) -> Result<(), StoreError> {
        self.database.write(NOTE_LEN, |transaction| {
            let mut table = transaction.open_table(HELD)?;
            let before = table.get(id.as_bytes())?.map_or(0, |row| row.value().1);
            let bits = before | holding.units.bits();
            table.insert(id.as_bytes(), (holding.len, bits))?;
            fail::fail_point!("store::held::commit");
            Ok(())
        })
    }

    pub(crate) fn remove(&self, ids: &BTreeSet<BlobId>) -> Result<(), StoreError> {
        if ids.is_empty() {
            return Ok(());
        }
        self.database.write(0, |transaction| {
            let mut table = transaction.open_table(HELD)?;
            for id in ids {
                table.remove(id.as_bytes())?;
            }
            Ok(())
        })
    }
}

#[cfg(test)]
mod tests {
    use podsync_core::units::UNIT_LEN;

    use super::*;

    #[test]
    fn notes_add_up_and_are_there_after_reopening() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path(), "a test").unwrap();
        let [id, other] = [1, 2].map(|n| BlobId::from_bytes([n; 32]));
        let len = 5 * UNIT_LEN + 1;
        let part = |units| Holding { len, units };
        let holdings = Holdings::open(&home).unwrap();
        assert_eq!(holdings.get(&id).unwrap(), None);
        holdings.add(&id, part(Units::span(1, 3))).unwrap();
        holdings.add(&id, part(Units::span(5, 6))).unwrap();
        holdings.add(&other, Holding::whole(len)).unwrap();
        drop(holdings);

        let holdings = Holdings::open(&home).unwrap();
        let found = holdings.get(&id).unwrap().unwrap();
        assert_eq!(found, part(Units::span(1, 3) | Units::span(5, 6)));
        assert!(!found.is_whole());
        assert!(holdings.get(&other).unwrap().unwrap().is_whole());
        let unknown = BlobId::from_bytes([3; 32]);
        let three = BTreeSet::from([id, other, unknown]);
        // Two units of the first and its last byte, and all of the second.
        assert_eq!(holdings.byte_len(&three).unwrap(), 2 * UNIT_LEN + 1 + len);
        let ids = BTreeSet::from_iter(holdings.ids().unwrap());
        assert_eq!(ids, BTreeSet::from([id, other]));
        holdings.remove(&BTreeSet::from([other])).unwrap();
        assert_eq!(holdings.get(&other).unwrap(), None);
        assert!(holdings.get(&id).unwrap().is_some());
    }
}

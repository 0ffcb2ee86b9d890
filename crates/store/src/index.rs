//! The index of chunks and packs: what a save need not pack again.
//!
//! Private and shared packs never mix: a chunk that lies in a private pack is not there for a save
//! that shares. A chunk may lie in several packs of a class, each sealed under its own key, so that
//! dropping one pack doesn't forget the others.

use std::{collections::BTreeSet, sync::Arc};

use podsync_core::{BlobId, ChunkId, TeamId, codec::Format, manifest::PackRef, seal::SecretKey};
use redb::{ReadOnlyTable, TableDefinition};
use serde::{Deserialize, Serialize};

use crate::{Home, StoreError, database::Database};

/// Sealed chunks by class, chunk and pack.
const CHUNKS: TableDefinition<'_, &[u8; CHUNK_KEY_LEN], &[u8; CHUNK_LEN]> =
    TableDefinition::new("chunks");
const PACKS: TableDefinition<'_, &[u8; 32], &[u8]> = TableDefinition::new("packs");
/// Blobs that are on disk whole and synced, and their lengths.
const HELD: TableDefinition<'_, &[u8; 32], u64> = TableDefinition::new("held");

const CLASS_LEN: usize = 33;
const CHUNK_KEY_LEN: usize = CLASS_LEN + 64;
const CHUNK_LEN: usize = 16;

/// What is kept of the file in memory: the inner pages of an index of some million chunks.
const CACHE_LEN: usize = 32 << 20;

/// Who a pack may be handed to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum PackClass {
    /// Nobody.
    Private,
    /// The members of a team.
    Shared(TeamId),
}

/// A pack that this home knows how to open.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackInfo {
    pub id: BlobId,
    /// Sealed bytes.
    pub len: u64,
    /// SHA-256 of the sealed bytes: what a bucket checks.
    pub sha256: [u8; 32],
    pub key: SecretKey,
    pub class: PackClass,
}

impl PackInfo {
    pub fn new(pack: &PackRef, class: PackClass) -> Self {
        let PackRef {
            id,
            sha256,
            len,
            key,
        } = pack.clone();
        Self {
            id,
            len,
            sha256,
            key,
            class,
        }
    }

    /// The pack as a manifest names it.
    pub fn to_ref(&self) -> PackRef {
        PackRef {
            id: self.id,
            sha256: self.sha256,
            len: self.len,
            key: self.key.clone(),
        }
    }
}

impl Format for PackInfo {
    const NAME: &'static str = "pack record";
    const VERSION: u8 = 1;
    const MAX_LEN: usize = 256;
}

/// One place where a chunk lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkAt {
    pub pack: BlobId,
    /// The chunk's index in its pack: its nonce.
    pub frame: u32,
    pub offset: u32,
    /// Sealed bytes, tag included.
    pub sealed_len: u32,
    pub plain_len: u32,
}

/// The index of a home. Clones share it; every call blocks on the disk.
#[derive(Debug, Clone)]
pub struct ChunkIndex {
    database: Arc<Database>,
}

impl ChunkIndex {
    pub fn open(home: &Home) -> Result<Self, StoreError> {
        let path = home.root().join("index.redb");
        let database = Database::open(path, CACHE_LEN, home.guard(), |transaction| {
            transaction.open_table(CHUNKS)?;
            transaction.open_table(PACKS)?;
            transaction.open_table(HELD)?;
            Ok(())
        })?;
        Ok(Self {
            database: Arc::new(database),
        })
    }

    /// Adds packs, which must be held, and where their chunks lie, with one fsync.
    pub fn insert(
        &self,
        packs: &[PackInfo],
        chunks: &[(ChunkId, ChunkAt)],
    ) -> Result<(), StoreError> {
        let class_of = |pack: &BlobId| {
            packs
                .iter()
                .find(|info| info.id == *pack)
                .map(|info| info.class)
        };
        for info in packs {
            self.held(&info.id)?
                .ok_or(StoreError::NotHeld { id: info.id })?;
        }
        let mut rows = Vec::with_capacity(chunks.len());
        for (chunk, at) in chunks {
            let class = class_of(&at.pack).ok_or(StoreError::NotHeld { id: at.pack })?;
            rows.push((chunk_key(class, chunk, &at.pack), at.to_value()));
        }
        // In the order of the tree, each page is touched once.
        rows.sort_unstable();
        self.database.write(
            (rows.len() * (CHUNK_KEY_LEN + CHUNK_LEN)) as u64,
            |transaction| {
                let mut table = transaction.open_table(PACKS)?;
                for info in packs {
                    table.insert(info.id.as_bytes(), info.encode().as_slice())?;
                }
                let mut table = transaction.open_table(CHUNKS)?;
                for (key, value) in &rows {
                    table.insert(key, value)?;
                }
                fail::fail_point!("store::index::commit");
                Ok(())
            },
        )
    }

    /// A view for many lookups; it doesn't see what is inserted later.
    pub fn lookup(&self, class: PackClass) -> Result<ChunkLookup, StoreError> {
        Ok(ChunkLookup {
            class,
            chunks: self.database.table(CHUNKS)?,
            database: self.database.clone(),
        })
    }

    pub fn pack(&self, id: &BlobId) -> Result<Option<PackInfo>, StoreError> {
        let table = self.database.table(PACKS)?;
        let Some(bytes) = table
            .get(id.as_bytes())
            .map_err(|e| self.database.failed(e))?
        else {
            return Ok(None);
        };
        self.decode(bytes.value()).map(Some)
    }

    /// All packs known, in no order that means anything.
    pub fn packs(
        &self,
    ) -> Result<impl Iterator<Item = Result<PackInfo, StoreError>> + use<>, StoreError> {
        let table = self.database.table(PACKS)?;
        let rows = table
            .range_owned::<&[u8; 32]>(..)
            .map_err(|e| self.database.failed(e))?;
        let this = self.clone();
        Ok(rows.map(move |row| {
            let (_, bytes) = row.map_err(|e| this.database.failed(e))?;
            this.decode(bytes.value())
        }))
    }

    /// Forgets packs and every chunk in them. It reads through the chunks of their classes, so drop
    /// many at once.
    pub fn drop_packs(&self, packs: &BTreeSet<BlobId>) -> Result<(), StoreError> {
        if packs.is_empty() {
            return Ok(());
        }
        self.database.write(0, |transaction| {
            let mut held = transaction.open_table(HELD)?;
            let mut infos = transaction.open_table(PACKS)?;
            let mut indexed = false;
            for id in packs {
                held.remove(id.as_bytes())?;
                indexed |= infos.remove(id.as_bytes())?.is_some();
            }
            if indexed {
                transaction
                    .open_table(CHUNKS)?
                    .retain(|key, _| !packs.contains(&pack_of(key)))?;
            }
            Ok(())
        })
    }

    /// Notes that a blob is on disk, whole and synced.
    pub(crate) fn hold(&self, id: &BlobId, len: u64) -> Result<(), StoreError> {
        self.database.write(64, |transaction| {
            transaction.open_table(HELD)?.insert(id.as_bytes(), len)?;
            Ok(())
        })
    }

    /// The length of a blob that is held.
    pub(crate) fn held(&self, id: &BlobId) -> Result<Option<u64>, StoreError> {
        let table = self.database.table(HELD)?;
        let len = table
            .get(id.as_bytes())
            .map_err(|e| self.database.failed(e))?;
        Ok(len.map(|len| len.value()))
    }

    fn decode(&self, bytes: &[u8]) -> Result<PackInfo, StoreError> {
        PackInfo::decode(bytes).map_err(|error| StoreError::Damaged {
            path: self.database.path().to_owned(),
            what: error.to_string(),
        })
    }
}

/// Point lookups in one class, all in one consistent view.
pub struct ChunkLookup {
    class: PackClass,
    chunks: ReadOnlyTable<&'static [u8; CHUNK_KEY_LEN], &'static [u8; CHUNK_LEN]>,
    database: Arc<Database>,
}

impl ChunkLookup {
    /// Some place where the chunk lies.
    pub fn find(&self, chunk: &ChunkId) -> Result<Option<ChunkAt>, StoreError> {
        self.all(chunk)?.next().transpose()
    }

    /// Every place where the chunk lies.
    pub fn all(
        &self,
        chunk: &ChunkId,
    ) -> Result<impl Iterator<Item = Result<ChunkAt, StoreError>> + '_, StoreError> {
        let first = chunk_key(self.class, chunk, &BlobId::from_bytes([0; 32]));
        let last = chunk_key(self.class, chunk, &BlobId::from_bytes([0xff; 32]));
        let rows = self
            .chunks
            .range_owned::<&[u8; CHUNK_KEY_LEN]>(&first..=&last)
            .map_err(|e| self.database.failed(e))?;
        Ok(rows.map(|row| {
            let (key, value) = row.map_err(|e| self.database.failed(e))?;
            Ok(ChunkAt::from_value(pack_of(key.value()), value.value()))
        }))
    }
}

impl ChunkAt {
    fn to_value(self) -> [u8; CHUNK_LEN] {
        let mut value = [0; CHUNK_LEN];
        let numbers = [self.frame, self.offset, self.sealed_len, self.plain_len];
        for (field, number) in value.chunks_exact_mut(4).zip(numbers) {
            field.copy_from_slice(&number.to_le_bytes());
        }
        value
    }

    fn from_value(pack: BlobId, value: &[u8; CHUNK_LEN]) -> Self {
        let number = |at: usize| {
            let at = 4 * at;
            u32::from_le_bytes([value[at], value[at + 1], value[at + 2], value[at + 3]])
        };
        Self {
            pack,
            frame: number(0),
            offset: number(1),
            sealed_len: number(2),
            plain_len: number(3),
        }
    }
}

fn chunk_key(class: PackClass, chunk: &ChunkId, pack: &BlobId) -> [u8; CHUNK_KEY_LEN] {
    let mut key = [0; CHUNK_KEY_LEN];
    if let PackClass::Shared(team) = class {
        key[0] = 1;
        key[1..CLASS_LEN].copy_from_slice(team.as_bytes());
    }
    key[CLASS_LEN..CLASS_LEN + 32].copy_from_slice(chunk.as_bytes());
    key[CLASS_LEN + 32..].copy_from_slice(pack.as_bytes());
    key
}

fn pack_of(key: &[u8; CHUNK_KEY_LEN]) -> BlobId {
    let mut pack = [0; 32];
    pack.copy_from_slice(&key[CLASS_LEN + 32..]);
    BlobId::from_bytes(pack)
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEAM: PackClass = PackClass::Shared(TeamId::from_bytes([9; 32]));
    const OTHER_TEAM: PackClass = PackClass::Shared(TeamId::from_bytes([10; 32]));

    fn info(n: u8, class: PackClass) -> PackInfo {
        PackInfo {
            id: BlobId::from_bytes([n; 32]),
            len: 1000,
            sha256: [n; 32],
            key: SecretKey::from_bytes([n; 32]),
            class,
        }
    }

    fn chunk(n: u32, pack: u8) -> (ChunkId, ChunkAt) {
        let pack = BlobId::from_bytes([pack; 32]);
        let at = ChunkAt {
            pack,
            frame: n,
            offset: n * 7,
            sealed_len: n + 16,
            plain_len: u32::MAX,
        };
        (ChunkId::of(&n.to_le_bytes()), at)
    }

    fn opened() -> (tempfile::TempDir, Home, ChunkIndex) {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path(), "a test").unwrap();
        let index = ChunkIndex::open(&home).unwrap();
        for n in [1, 2] {
            index.hold(&BlobId::from_bytes([n; 32]), 1000).unwrap();
        }
        (folder, home, index)
    }

    #[test]
    fn a_class_sees_its_own_chunks_only_and_all_of_them_after_reopening() {
        let (_folder, home, index) = opened();
        let private: Vec<_> = (0..3000).map(|n| chunk(n, 1)).collect();
        let shared: Vec<_> = (2000..5000).map(|n| chunk(n, 2)).collect();
        index
            .insert(&[info(1, PackClass::Private)], &private)
            .unwrap();
        index.insert(&[info(2, TEAM)], &shared).unwrap();
        drop(index);

        let index = ChunkIndex::open(&home).unwrap();
        for (class, rows) in [(PackClass::Private, &private), (TEAM, &shared)] {
            let lookup = index.lookup(class).unwrap();
            for (id, at) in rows {
                assert_eq!(lookup.find(id).unwrap(), Some(*at));
            }
        }
        assert_eq!(
            index.lookup(TEAM).unwrap().find(&private[0].0).unwrap(),
            None
        );
        assert_eq!(
            index
                .lookup(OTHER_TEAM)
                .unwrap()
                .find(&shared[0].0)
                .unwrap(),
            None
        );
        assert_eq!(
            index.pack(&BlobId::from_bytes([2; 32])).unwrap(),
            Some(info(2, TEAM))
        );
        assert_eq!(index.packs().unwrap().count(), 2);
    }

    /// Fails where this podsync no longer reads the index that it wrote.
    #[test]
    fn records_keep_their_bytes() {
        let shared = info(2, TEAM).encode();
        let expected = [
            &[1][..],
            &[2; 32],
            &[0xe8, 0x07],
            &[2; 32],
            &[2; 32],
            &[1],
            &[9; 32],
        ]
        .concat();
        assert_eq!(shared, expected);
        assert_eq!(PackInfo::decode(&shared), Ok(info(2, TEAM)));
        for len in 0..shared.len() {
            assert!(PackInfo::decode(&shared[..len]).is_err(), "cut at {len}");
        }
        let (id, at) = chunk(0x0102, 3);
        assert_eq!(
            at.to_value(),
            [2, 1, 0, 0, 0x0e, 7, 0, 0, 0x12, 1, 0, 0, 255, 255, 255, 255]
        );
        assert_eq!(ChunkAt::from_value(at.pack, &at.to_value()), at);
        let key = chunk_key(TEAM, &id, &at.pack);
        let expected = [&[1][..], &[9; 32], id.as_bytes(), &[3; 32]].concat();
        assert_eq!(&key[..], &expected);
        assert_eq!(pack_of(&key), at.pack);
    }

    #[test]
    fn dropping_a_pack_leaves_the_chunk_in_the_other() {
        let (_folder, _home, index) = opened();
        let rows = [chunk(1, 1), chunk(1, 2), chunk(2, 1)];
        index
            .insert(&[info(1, TEAM), info(2, TEAM)], &rows)
            .unwrap();
        let before = index.lookup(TEAM).unwrap();
        assert_eq!(before.all(&rows[0].0).unwrap().count(), 2);

        index
            .drop_packs(&BTreeSet::from([BlobId::from_bytes([1; 32])]))
            .unwrap();
        let lookup = index.lookup(TEAM).unwrap();
        let left: Vec<_> = lookup
            .all(&rows[0].0)
            .unwrap()
            .map(Result::unwrap)
            .collect();
        assert_eq!(left, [rows[1].1]);
        assert_eq!(lookup.find(&rows[2].0).unwrap(), None);
        assert_eq!(index.pack(&BlobId::from_bytes([1; 32])).unwrap(), None);
        assert_eq!(
            before.all(&rows[0].0).unwrap().count(),
            2,
            "a view stays as it was"
        );
    }

    #[test]
    fn a_chunk_of_a_pack_that_is_not_there_is_refused() {
        let (_folder, _home, index) = opened();
        let unheld = index.insert(&[info(3, TEAM)], &[chunk(1, 3)]);
        assert!(matches!(unheld, Err(StoreError::NotHeld { .. })));
        let result = index.insert(&[info(1, TEAM)], &[chunk(1, 1), chunk(2, 3)]);
        assert!(matches!(result, Err(StoreError::NotHeld { .. })));
        assert_eq!(
            index.lookup(TEAM).unwrap().find(&chunk(1, 1).0).unwrap(),
            None
        );
    }
}

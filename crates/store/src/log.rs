//! The log: signed, received and decided records, as bytes.
//!
//! One [`Log::commit`] is one fsync, all or nothing. When it returns, the engine may get
//! `Persisted`. The log never interprets values: the code that reads them defines and checks them.

mod earlier;
mod key;

use std::sync::Arc;

use podsync_core::{DeviceId, OpId, TeamId, VersionId};
use redb::{OwnedRange, TableDefinition};

pub use self::key::{EntryKey, Key, Namespace, Record};
use self::{
    earlier::Earlier,
    key::{Field, Kind},
};
use crate::{Home, StoreError, atomic::folder_of, database::Database, error::Remedy};

/// The most bytes of one record's value: a roster or a team's whole chain of operations is far less.
const MAX_RECORD_LEN: usize = 4 << 20;
/// The page cache. Small, since the engine has its own index and reads a log once.
const CACHE_LEN: usize = 8 << 20;

const FILE: &str = "log.redb";

/// The log of a home. Clones share it; every call blocks on the disk.
#[derive(Debug, Clone)]
pub struct Log {
    database: Arc<Database>,
}

impl Log {
    /// Opens the log, or makes one where there was none before. A log that is gone is damage, unless its owner has
    /// set it aside: then the new log says that it is [made anew](Self::is_made_anew).
    pub fn open(home: &Home) -> Result<Self, StoreError> {
        let path = home.root().join(FILE);
        let earlier = Earlier::find(home.root())?;
        let is_made_anew = match path.try_exists().map_err(StoreError::read(&path))? {
            true => false,
            false => earlier.may_be_replaced(&path)?,
        };
        let database = Database::open(path, CACHE_LEN, Remedy::Log, home.guard(), |transaction| {
            for kind in Kind::ALL {
                transaction.open_table(table(kind))?;
            }
            if is_made_anew {
                let mut settings = transaction.open_table(table(Kind::Setting))?;
                settings.insert(earlier::mark().to_bytes().as_slice(), b"".as_slice())?;
            }
            Ok(())
        })?;
        earlier.note()?;
        Ok(Self {
            database: Arc::new(database),
        })
    }

    /// Whether the home had an earlier log when this one was made. Then it may hold blobs that only that log names.
    pub fn is_made_anew(&self) -> Result<bool, StoreError> {
        Ok(self.get(&earlier::mark())?.is_some())
    }

    /// Whether a log that its owner set aside lies beside this one, and may still be put back.
    pub fn is_another_set_aside(&self) -> Result<bool, StoreError> {
        let root = folder_of(self.database.path());
        Ok(Earlier::find(root)?.is_set_aside())
    }

    /// Reads and checks a log that is not open. A missing one is valid only if the home never had one.
    pub fn examine(home: &Home) -> Result<(), StoreError> {
        let path = home.root().join(FILE);
        match path.exists() {
            true => Database::examine(&path, Remedy::Log),
            false => Earlier::find(home.root())?.may_be_replaced(&path).map(drop),
        }
    }

    /// Applies all records, in order, or none.
    pub fn commit(&self, records: &[Record]) -> Result<(), StoreError> {
        let mut len = 0;
        for value in records.iter().filter_map(Record::value) {
            if value.len() > MAX_RECORD_LEN {
                return Err(StoreError::TooLarge {
                    what: "a log record",
                    len: value.len() as u64,
                    max: MAX_RECORD_LEN as u64,
                });
            }
            len += value.len() as u64;
        }
        self.database.write(len, |transaction| {
            for record in records {
                let mut table = transaction.open_table(table(record.key().kind()))?;
                let key = record.key().to_bytes();
                match record.value() {
                    Some(value) => table.insert(key.as_slice(), value)?,
                    None => table.remove(key.as_slice())?,
                };
            }
            fail::fail_point!("store::log::commit");
            Ok(())
        })
    }

    /// The value under one key.
    pub fn get(&self, key: &Key) -> Result<Option<Vec<u8>>, StoreError> {
        let table = self.database.table(table(key.kind()))?;
        let key = key.to_bytes();
        self.database.read(|| {
            let value = table.get(key.as_slice())?;
            Ok(value.map(|value| value.value().to_vec()))
        })
    }

    /// Every team with a membership operation here.
    pub fn teams(&self) -> Result<Vec<TeamId>, StoreError> {
        let table = self.database.table(table(Kind::Operation))?;
        let mut teams: Vec<TeamId> = Vec::new();
        loop {
            // Seek the first operation beyond the last team found: one step per team, not per
            // operation.
            let after = teams
                .last()
                .map(|team| [&team.as_bytes()[..], &[0xff; 33]].concat());
            let key = self.database.read(|| {
                let after = after.as_deref().unwrap_or_default();
                let row = table.range::<&[u8]>(after..)?.next().transpose()?;
                Ok(row.map(|(key, _)| key.value().to_vec()))
            })?;
            let Some(key) = key else {
                return Ok(teams);
            };
            teams.push(TeamId::read(&mut &key[..]).ok_or_else(|| damaged(&self.database))?);
        }
    }

    pub fn operations(&self, team: TeamId) -> Result<Rows<OpId>, StoreError> {
        self.rows(Kind::Operation, team.as_bytes())
    }

    /// A team's feed entries, by device and then by sequence number; a forked number comes twice.
    pub fn entries(&self, team: TeamId) -> Result<Rows<EntryKey>, StoreError> {
        self.rows(Kind::Entry, team.as_bytes())
    }

    pub fn heads(&self, team: TeamId) -> Result<Rows<DeviceId>, StoreError> {
        self.rows(Kind::Head, team.as_bytes())
    }

    pub fn versions(&self, team: TeamId) -> Result<Rows<VersionId>, StoreError> {
        self.rows(Kind::Version, team.as_bytes())
    }

    /// Transfers to resume after a restart.
    pub fn transfers(&self, team: TeamId) -> Result<Rows<VersionId>, StoreError> {
        self.rows(Kind::Transfer, team.as_bytes())
    }

    /// All settings of a namespace, by key.
    pub fn settings(&self, namespace: Namespace) -> Result<Rows<Vec<u8>>, StoreError> {
        self.rows(Kind::Setting, &namespace.prefix())
    }

    fn rows<T: Field>(&self, kind: Kind, prefix: &[u8]) -> Result<Rows<T>, StoreError> {
        let table = self.database.table(table(kind))?;
        Ok(Rows {
            range: self
                .database
                .read(|| table.range_owned::<&[u8]>(prefix..))?,
            prefix: prefix.to_vec(),
            database: self.database.clone(),
            key: std::marker::PhantomData,
        })
    }
}

/// Rows of a snapshot of the log, read on demand.
pub struct Rows<T> {
    range: OwnedRange<&'static [u8], &'static [u8]>,
    prefix: Vec<u8>,
    database: Arc<Database>,
    key: std::marker::PhantomData<fn() -> T>,
}

impl<T: Field> Iterator for Rows<T> {
    type Item = Result<(T, Vec<u8>), StoreError>;

    fn next(&mut self) -> Option<Self::Item> {
        let range = &mut self.range;
        let row = self.database.read(|| {
            let row = range.next().transpose()?;
            Ok(row.map(|(key, value)| (key.value().to_vec(), value.value().to_vec())))
        });
        let (key, value) = match row {
            Ok(row) => row?,
            Err(error) => return Some(Err(error)),
        };
        let mut rest = key.strip_prefix(self.prefix.as_slice())?;
        let key = T::read(&mut rest).filter(|_| rest.is_empty());
        Some(
            key.map(|key| (key, value))
                .ok_or_else(|| damaged(&self.database)),
        )
    }
}

fn table(kind: Kind) -> TableDefinition<'static, &'static [u8], &'static [u8]> {
    TableDefinition::new(kind.table())
}

fn damaged(database: &Database) -> StoreError {
    database.damaged("a key in it has an impossible form")
}

#[cfg(test)]
mod tests;

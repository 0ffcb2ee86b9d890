//! A redb file that survives a full disk.
//!
//! After one failed write redb refuses all later ones, so that nothing is built on a state that
//! isn't on disk: the file is closed and opened again before the next one. While a row iterator is
//! alive it can't be closed, and writes go on failing until that iterator is dropped.

use std::{
    fs::File,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use redb::{Database as Redb, ReadOnlyTable, ReadableDatabase, TableDefinition, WriteTransaction};

use crate::StoreError;

#[derive(Debug)]
pub(crate) struct Database {
    path: PathBuf,
    cache_len: usize,
    open: RwLock<Option<Redb>>,
    /// The home stays held while its databases are open.
    _home: Arc<File>,
}

impl Database {
    /// Opens `path` or makes it; of its pages at most `cache_len` bytes are kept in memory.
    pub(crate) fn open(
        path: PathBuf,
        cache_len: usize,
        home: Arc<File>,
        tables: impl FnOnce(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<Self, StoreError> {
        let open = RwLock::new(Some(open(&path, cache_len)?));
        let database = Self {
            path,
            cache_len,
            open,
            _home: home,
        };
        // Made at once, so that readers never meet a missing table.
        database.write(0, tables)?;
        Ok(database)
    }

    /// Runs `change` and commits it with one fsync: when this returns, it is on disk or nothing is.
    /// `len` is about how many bytes it writes.
    pub(crate) fn write<T>(
        &self,
        len: u64,
        change: impl FnOnce(&WriteTransaction) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let result = self.with(|redb| -> Result<T, redb::Error> {
            let transaction = redb.begin_write()?;
            let value = change(&transaction)?;
            transaction.commit()?;
            Ok(value)
        })?;
        result.map_err(|error| {
            if must_reopen(&error) {
                self.close();
            }
            StoreError::database(&self.path, len, error)
        })
    }

    /// A consistent view of a table that later writes don't change.
    pub(crate) fn table<K: redb::Key, V: redb::Value>(
        &self,
        definition: TableDefinition<'_, K, V>,
    ) -> Result<ReadOnlyTable<K, V>, StoreError> {
        let open = |redb: &Redb| -> Result<_, redb::Error> {
            Ok(redb.begin_read()?.open_table(definition)?)
        };
        self.with(open)?.map_err(|error| self.failed(error))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    pub(crate) fn failed(&self, error: impl Into<redb::Error>) -> StoreError {
        StoreError::database(&self.path, 0, error)
    }

    fn with<T>(&self, work: impl FnOnce(&Redb) -> T) -> Result<T, StoreError> {
        // A panic while the lock is held leaves at worst `None`, which is opened again.
        let guard = self.open.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(redb) = guard.as_ref() {
            return Ok(work(redb));
        }
        drop(guard);
        let mut guard = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let redb = match guard.take() {
            Some(redb) => redb,
            None => open(&self.path, self.cache_len)?,
        };
        Ok(work(guard.insert(redb)))
    }

    fn close(&self) {
        self.open
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }
}

fn open(path: &Path, cache_len: usize) -> Result<Redb, StoreError> {
    redb::Builder::new()
        .set_cache_size(cache_len)
        .create(path)
        .map_err(|error| StoreError::database(path, 0, error))
}

fn must_reopen(error: &redb::Error) -> bool {
    matches!(error, redb::Error::Io(_) | redb::Error::PreviousIo)
}

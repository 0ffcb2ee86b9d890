//! A redb file that survives a full disk.
//!
//! After one failed write redb refuses all later ones, so that nothing is built on a state that
//! isn't on disk: the file is closed and opened again before the next one. While a row iterator is
//! alive it can't be closed, and writes go on failing until that iterator is dropped.
//!
//! A file is made aside with its tables and then gets its name, so one that is empty was not left by us: it is
//! damaged like any other that is no database. redb panics on some damage; that ends here.

use std::{
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
};

use redb::{Database as Redb, ReadOnlyTable, ReadableDatabase, TableDefinition, WriteTransaction};

use crate::{
    StoreError,
    atomic::{self, folder_of, sync_folder},
    error::Remedy,
};

/// About what a new file takes.
const NEW_LEN: u64 = 2 << 20;
/// What is kept in memory of a file that is examined.
const EXAMINE_CACHE_LEN: usize = 8 << 20;
/// How a file is named while it is made.
const SUFFIX: &str = "new";

#[derive(Debug)]
pub(crate) struct Database {
    path: PathBuf,
    cache_len: usize,
    remedy: Remedy,
    open: RwLock<Option<Redb>>,
    /// The home stays held while its databases are open.
    _home: Arc<File>,
}

impl Database {
    /// Opens `path` or makes it; of its pages at most `cache_len` bytes are kept in memory. What is damaged is mended
    /// as `remedy` says.
    pub(crate) fn open(
        path: PathBuf,
        cache_len: usize,
        remedy: Remedy,
        home: Arc<File>,
        tables: impl Fn(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<Self, StoreError> {
        if !path.try_exists().map_err(StoreError::read(&path))? {
            make(&path, remedy, &tables)?;
        }
        let database = Self {
            open: RwLock::new(Some(open(&path, cache_len, remedy)?)),
            path,
            cache_len,
            remedy,
            _home: home,
        };
        // Made at once, so that readers never meet a missing table.
        database.write(0, tables)?;
        Ok(database)
    }

    /// Reads all of a file that nobody has open, and compares it with its checksums.
    pub(crate) fn examine(path: &Path, remedy: Remedy) -> Result<(), StoreError> {
        let mut redb = open(path, EXAMINE_CACHE_LEN, remedy)?;
        let sound = caught(path, remedy, || {
            redb.check_integrity()
                .map_err(|error| StoreError::database(path, 0, remedy, error))
        })?;
        if sound {
            return Ok(());
        }
        Err(StoreError::Damaged {
            path: path.to_owned(),
            what: "its checksums do not match its content".to_owned(),
            remedy,
        })
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
            StoreError::database(&self.path, len, self.remedy, error)
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

    /// Reads what a table handed out.
    pub(crate) fn read<T>(
        &self,
        read: impl FnOnce() -> Result<T, redb::StorageError>,
    ) -> Result<T, StoreError> {
        caught(&self.path, self.remedy, || {
            read().map_err(|error| self.failed(error))
        })
    }

    pub(crate) fn failed(&self, error: impl Into<redb::Error>) -> StoreError {
        StoreError::database(&self.path, 0, self.remedy, error)
    }

    /// What is in it has a form that we never write.
    pub(crate) fn damaged(&self, what: &str) -> StoreError {
        StoreError::Damaged {
            path: self.path.clone(),
            what: what.to_owned(),
            remedy: self.remedy,
        }
    }

    fn with<T>(&self, work: impl FnOnce(&Redb) -> T) -> Result<T, StoreError> {
        // A panic while the lock is held leaves at worst `None`, which is opened again.
        let guard = self.open.read().unwrap_or_else(PoisonError::into_inner);
        if let Some(redb) = guard.as_ref() {
            return caught(&self.path, self.remedy, || Ok(work(redb)));
        }
        drop(guard);
        let mut guard = self.open.write().unwrap_or_else(PoisonError::into_inner);
        let redb = match guard.take() {
            Some(redb) => redb,
            None => open(&self.path, self.cache_len, self.remedy)?,
        };
        let redb = guard.insert(redb);
        caught(&self.path, self.remedy, || Ok(work(redb)))
    }

    fn close(&self) {
        self.open
            .write()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
    }
}

/// Makes a database aside, and gives it its name when its tables are on the disk.
fn make(
    path: &Path,
    remedy: Remedy,
    tables: impl Fn(&WriteTransaction) -> Result<(), redb::Error>,
) -> Result<(), StoreError> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let aside = path.with_file_name(format!("{}{name}.{SUFFIX}", atomic::PREFIX));
    let made = || -> Result<(), redb::Error> {
        match fs::remove_file(&aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            _ => {}
        }
        let redb = redb::Builder::new().create(&aside)?;
        fs::set_permissions(&aside, Permissions::from_mode(0o600))?;
        let transaction = redb.begin_write()?;
        tables(&transaction)?;
        transaction.commit()?;
        drop(redb);
        File::open(&aside)?.sync_all()?;
        fs::rename(&aside, path)?;
        Ok(sync_folder(folder_of(path))?)
    };
    made().map_err(|error| StoreError::database(path, NEW_LEN, remedy, error))
}

fn open(path: &Path, cache_len: usize, remedy: Remedy) -> Result<Redb, StoreError> {
    let metadata = path.metadata().map_err(StoreError::read(path))?;
    if metadata.len() == 0 {
        return Err(StoreError::Damaged {
            path: path.to_owned(),
            what: "it is empty".to_owned(),
            remedy,
        });
    }
    caught(path, remedy, || {
        redb::Builder::new()
            .set_cache_size(cache_len)
            .open(path)
            .map_err(|error| StoreError::database(path, 0, remedy, error))
    })
}

/// redb panics where a page is not what its place says; the file is damaged then, and nothing else is.
fn caught<T>(
    path: &Path,
    remedy: Remedy,
    work: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(StoreError::Damaged {
            path: path.to_owned(),
            what: "one of its pages is damaged".to_owned(),
            remedy,
        })
    })
}

fn must_reopen(error: &redb::Error) -> bool {
    matches!(error, redb::Error::Io(_) | redb::Error::PreviousIo)
}

#[cfg(test)]
mod tests;

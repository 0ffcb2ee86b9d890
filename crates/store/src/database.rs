//! A redb file that survives a full disk.
//!
//! After a failed write redb refuses all later ones, since nothing may build on a state that isn't
//! on disk. So the file is closed and reopened before the next write. An open row iterator prevents
//! that, and writes fail until it is dropped.
//!
//! A new file is made under another name with its tables and then renamed. So an empty file is not ours: it
//! counts as damaged, like any file that is no database. redb panics on some damage; the panic is caught here.

mod untouched;

use std::{
    cell::Cell,
    fs::{self, File, Permissions},
    io,
    os::unix::fs::PermissionsExt,
    panic::{self, AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::{Arc, Once, PoisonError, RwLock},
};

use redb::{
    Database as Redb, DatabaseError, ReadOnlyTable, ReadableDatabase, StorageBackend,
    TableDefinition, WriteTransaction,
};

use self::untouched::Untouched;
use crate::{
    StoreError,
    atomic::{self, folder_of, sync_folder},
    error::Remedy,
};

/// About the size of a new file.
const NEW_LEN: u64 = 2 << 20;
/// What is kept in memory of a file that is examined.
const EXAMINE_CACHE_LEN: usize = 8 << 20;
/// The suffix of a file while it is made.
const SUFFIX: &str = "new";

#[derive(Debug)]
pub(crate) struct Database {
    path: PathBuf,
    cache_len: usize,
    remedy: Remedy,
    open: RwLock<Option<Redb>>,
    /// Keeps the home locked while its databases are open.
    _home: Arc<File>,
}

impl Database {
    /// Opens or makes `path`, with a page cache of `cache_len` bytes. `remedy` tells how to repair damage.
    pub(crate) fn open(
        path: PathBuf,
        cache_len: usize,
        remedy: Remedy,
        home: Arc<File>,
        tables: impl Fn(&WriteTransaction) -> Result<(), redb::Error>,
    ) -> Result<Self, StoreError> {
        match path.try_exists().map_err(StoreError::read(&path))? {
            // Damage is never built on: what a wrong page doesn't name would be taken for unneeded and deleted.
            true => Self::examine(&path, remedy)?,
            false => make(&path, remedy, &tables)?,
        }
        let database = Self {
            open: RwLock::new(Some(open(&path, cache_len, remedy)?)),
            path,
            cache_len,
            remedy,
            _home: home,
        };
        // Made at once, so that readers never find a missing table.
        database.write(0, tables)?;
        Ok(database)
    }

    /// Reads all of a file that is not open, and compares it with its checksums. The file stays as it is.
    pub(crate) fn examine(path: &Path, remedy: Remedy) -> Result<(), StoreError> {
        let damaged = |what: &str| StoreError::Damaged {
            path: path.to_owned(),
            what: what.to_owned(),
            remedy,
        };
        let file = Untouched::open(path).map_err(StoreError::read(path))?;
        if file.len().map_err(StoreError::read(path))? == 0 {
            return Err(damaged("it is empty"));
        }
        let sound = caught(path, remedy, || {
            let checked = || -> Result<bool, redb::Error> {
                let mut builder = redb::Builder::new();
                let builder = builder.set_cache_size(EXAMINE_CACHE_LEN);
                Ok(builder.create_with_backend(file)?.check_integrity()?)
            };
            checked().map_err(|error| StoreError::database(path, 0, remedy, error))
        })?;
        match sound {
            true => Ok(()),
            false => Err(damaged("its checksums do not match its content")),
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether another process has the file open to write to it. Changes nothing.
    pub(crate) fn is_in_use(path: &Path) -> bool {
        // Opening a pipe would wait for a writer.
        if !path.is_file() {
            return false;
        }
        let opened = caught(path, Remedy::Log, || {
            let mut builder = redb::Builder::new();
            let builder = builder.set_cache_size(EXAMINE_CACHE_LEN);
            Ok(builder.open_read_only(path).map(drop))
        });
        matches!(opened, Ok(Err(DatabaseError::DatabaseAlreadyOpen)))
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

    /// Reads a value of a table.
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

    /// The error for content that podsync never writes.
    pub(crate) fn damaged(&self, what: &str) -> StoreError {
        StoreError::Damaged {
            path: self.path.clone(),
            what: what.to_owned(),
            remedy: self.remedy,
        }
    }

    fn with<T>(&self, work: impl FnOnce(&Redb) -> T) -> Result<T, StoreError> {
        // A panic under the lock leaves at worst `None`, which is reopened.
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

/// Makes a database under another name, and renames it once its tables are on disk.
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

/// Turns a panic of redb into damage: it panics on a malformed page.
fn caught<T>(
    path: &Path,
    remedy: Remedy,
    work: impl FnOnce() -> Result<T, StoreError>,
) -> Result<T, StoreError> {
    log_panics();
    let outer = CATCHES.replace(true);
    let done = catch_unwind(AssertUnwindSafe(work));
    CATCHES.set(outer);
    done.unwrap_or_else(|_| {
        Err(StoreError::Damaged {
            path: path.to_owned(),
            what: "one of its pages is damaged".to_owned(),
            remedy,
        })
    })
}

thread_local! {
    /// Whether this thread turns panics into damage just now.
    static CATCHES: Cell<bool> = const { Cell::new(false) };
}

/// Logs a panic that is caught here instead of printing it: the error says what people need to know.
fn log_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let print = panic::take_hook();
        panic::set_hook(Box::new(move |panic| match CATCHES.get() {
            true => tracing::info!(%panic, "the database is damaged"),
            false => print(panic),
        }));
    });
}

fn must_reopen(error: &redb::Error) -> bool {
    matches!(error, redb::Error::Io(_) | redb::Error::PreviousIo)
}

#[cfg(test)]
mod tests;

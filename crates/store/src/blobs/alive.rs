//! Whether the store still answers.
//!
//! Its database belongs to one task, which ends or hangs at the first error of the disk. Later calls then fail with
//! an error that says nothing about the database, or list nothing, or wait for ever.

use std::time::Duration;

use podsync_core::BlobId;

use super::{Blobs, OPENING_LEN, hash, recovery};
use crate::{StoreError, free_bytes};

/// How long a look may take. It is slow on a busy disk.
const PATIENCE: Duration = Duration::from_secs(60);
/// How long a call that failed may take to find out why.
const BRIEF: Duration = Duration::from_secs(2);

/// No blob has this id.
const NOBODYS: [u8; 32] = [0; 32];

impl Blobs {
    /// Asks the store's database something. After an error calls may wait for ever.
    pub async fn look(&self) -> Result<(), StoreError> {
        self.refuse_closed()?;
        self.within(PATIENCE, self.ask()).await
    }

    /// Refuses a store that has stopped. One that only takes its time counts as running.
    pub(super) async fn refuse_stopped(&self) -> Result<(), StoreError> {
        let asked = tokio::time::timeout(BRIEF, self.ask()).await;
        asked.unwrap_or(Ok(()))
    }

    /// The result of a call to the store. If the call failed because the store has stopped, the error says so.
    pub(super) async fn explain<T, E>(
        &self,
        result: Result<T, E>,
        error: impl FnOnce(E) -> StoreError,
    ) -> Result<T, StoreError> {
        match result.map_err(error) {
            Err(error) => Err(self.explained(error).await),
            answer => answer,
        }
    }

    pub(super) async fn explained(&self, error: StoreError) -> StoreError {
        if matches!(error, StoreError::DiskFull { .. }) {
            return error;
        }
        self.refuse_stopped().await.err().unwrap_or(error)
    }

    async fn within(
        &self,
        patience: Duration,
        asked: impl Future<Output = Result<(), StoreError>>,
    ) -> Result<(), StoreError> {
        let asked = tokio::time::timeout(patience, asked).await;
        asked.unwrap_or_else(|_| {
            Err(StoreError::Silent {
                path: recovery::records(&self.home),
                waited: patience,
            })
        })
    }

    async fn ask(&self) -> Result<(), StoreError> {
        let status = self.store.status(hash(BlobId::from_bytes(NOBODYS))).await;
        status.map(drop).map_err(|_| self.stopped())
    }

    fn stopped(&self) -> StoreError {
        if let Err(closed) = self.refuse_closed() {
            return closed;
        }
        let root = self.home.root();
        match free_bytes(root).is_ok_and(|free| free < OPENING_LEN) {
            true => StoreError::DiskFull {
                path: root.to_owned(),
                needed: OPENING_LEN,
                free: None,
            },
            false => StoreError::Stopped {
                path: recovery::records(&self.home),
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Home;

    #[tokio::test]
    async fn a_store_that_does_not_answer_is_told_as_that() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(folder.path(), "a test").unwrap();
        let blobs = Blobs::open(&home).await.unwrap();
        let asked = blobs.within(Duration::from_millis(1), std::future::pending());
        let error = asked.await.unwrap_err();
        assert!(matches!(error, StoreError::Silent { .. }), "{error}");
        assert!(error.to_string().contains("blobs.db"), "{error}");
        blobs.look().await.unwrap();
        blobs.shutdown().await.unwrap();
    }
}

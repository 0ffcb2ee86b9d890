//! A bucket whose outcomes are noted as they come: so the hub knows whether it lists and takes writes without
//! asking for that alone.

use std::{
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use async_trait::async_trait;
use bytes::Bytes;
use podsync_api::hub::{Action, Sha256};

use super::{ObjectHead, Page, Storage, StorageError};
use crate::abilities::Abilities;

/// What was last seen of a bucket.
#[derive(Debug, Default)]
pub(crate) struct Outcomes(Mutex<Last>);

#[derive(Debug, Default)]
struct Last {
    /// When it listed, unless it failed to since.
    listed: Option<Instant>,
    /// When it took a write, unless it failed to since.
    written: Option<Instant>,
}

impl Outcomes {
    /// Whether the last listing went well and isn't older than this.
    pub(crate) fn lists(&self, age: Duration) -> bool {
        self.lock().listed.is_some_and(|at| at.elapsed() < age)
    }

    /// Whether the last write went well and isn't older than this.
    pub(crate) fn takes(&self, age: Duration) -> bool {
        self.lock().written.is_some_and(|at| at.elapsed() < age)
    }

    fn note_listing(&self, outcome: &Result<Page, StorageError>) {
        self.lock().listed = outcome.is_ok().then(Instant::now);
    }

    fn note_write(&self, outcome: &Result<(), StorageError>) {
        self.lock().written = outcome.is_ok().then(Instant::now);
    }

    fn lock(&self) -> MutexGuard<'_, Last> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The bucket itself, but for the notes.
pub(crate) struct Watched {
    bucket: Arc<dyn Storage>,
    outcomes: Arc<Outcomes>,
}

impl Watched {
    pub(crate) fn new(bucket: Arc<dyn Storage>, outcomes: Arc<Outcomes>) -> Self {
        Self { bucket, outcomes }
    }
}

#[async_trait]
impl Storage for Watched {
    fn name(&self) -> &str {
        self.bucket.name()
    }

    async fn ensure(&self) -> Result<(), StorageError> {
        self.bucket.ensure().await
    }

    fn heard(&self) -> Option<Instant> {
        self.bucket.heard()
    }

    fn abilities(&self) -> Option<Arc<Abilities>> {
        self.bucket.abilities()
    }

    async fn probe(&self) -> Result<Arc<Abilities>, StorageError> {
        self.bucket.probe().await
    }

    async fn get(&self, key: &str, max_len: u64) -> Result<Option<Bytes>, StorageError> {
        self.bucket.get(key, max_len).await
    }

    async fn head(&self, key: &str) -> Result<Option<ObjectHead>, StorageError> {
        self.bucket.head(key).await
    }

    async fn len(&self, key: &str) -> Result<Option<u64>, StorageError> {
        self.bucket.len(key).await
    }

    async fn sha256(&self, key: &str, max_len: u64) -> Result<Option<Sha256>, StorageError> {
        self.bucket.sha256(key, max_len).await
    }

    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StorageError> {
        let outcome = self.bucket.put(key, bytes).await;
        self.outcomes.note_write(&outcome);
        outcome
    }

    async fn delete(&self, key: &str) -> Result<(), StorageError> {
        self.bucket.delete(key).await
    }

    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StorageError> {
        let outcome = self.bucket.list(prefix, after).await;
        self.outcomes.note_listing(&outcome);
        outcome
    }

    async fn presign_put(
        &self,
        key: &str,
        sha256: &Sha256,
        len: u64,
        expires: Duration,
    ) -> Result<Action, StorageError> {
        self.bucket.presign_put(key, sha256, len, expires).await
    }

    async fn presign_replace(
        &self,
        key: &str,
        sha256: &Sha256,
        len: u64,
        expires: Duration,
    ) -> Result<Action, StorageError> {
        self.bucket.presign_replace(key, sha256, len, expires).await
    }

    async fn presign_get(&self, key: &str, expires: Duration) -> Result<Action, StorageError> {
        self.bucket.presign_get(key, expires).await
    }
}

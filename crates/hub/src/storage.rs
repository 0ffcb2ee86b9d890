//! One team's bucket, as the rest of the hub sees it.
//!
//! Keys are built here in the hub and nowhere else. Nothing in the hub relies on a conditional write:
//! an object's key tells its bytes, so writing one a second time changes nothing.

pub mod memory;
pub(crate) mod watched;

use std::{
    fmt,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use async_trait::async_trait;
use bytes::Bytes;
use podsync_api::hub::{Action, Sha256};

use crate::abilities::Abilities;

/// Errors of the bucket, by what the hub can do about them.
#[derive(Debug, thiserror::Error)]
pub enum StorageError {
    /// It can't be reached, is overloaded or has failed: the same call may succeed later.
    #[error("the bucket {what}: {0}", what = .0.what_it_does())]
    Unavailable(Trouble),
    /// It refuses the hub: wrong credentials, region or bucket. An operator has to look.
    #[error("the bucket refuses the hub: {0}")]
    Refused(Trouble),
    /// It isn't there, or not any more.
    #[error("the bucket isn't there: {0}")]
    Gone(Trouble),
    /// The bucket has no room left.
    #[error("the bucket is full: {0}")]
    Full(Trouble),
    /// An answer that no S3 server should give.
    #[error("the hub can't read the bucket's answer: {0}")]
    Garbled(Trouble),
}

impl StorageError {
    pub fn trouble(&self) -> &Trouble {
        match self {
            Self::Unavailable(trouble)
            | Self::Refused(trouble)
            | Self::Gone(trouble)
            | Self::Full(trouble)
            | Self::Garbled(trouble) => trouble,
        }
    }
}

/// The answer of a bucket's server, or why there is none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Trouble {
    /// Empty if it is the hub's own.
    pub bucket: String,
    /// Status and the server's own code, such as `403 AccessDenied`; empty if there was no answer.
    pub code: String,
    /// For the operator: it may name accounts and roles.
    pub words: String,
}

impl Trouble {
    /// Of a server that may do later what it was asked: one with a code has answered.
    pub(crate) fn what_it_does(&self) -> &'static str {
        if self.code.is_empty() {
            "doesn't answer"
        } else {
            "can't do this now"
        }
    }

    /// The status and the server's own code: 200 for an answer that only can't be read.
    pub(crate) fn answer(&self) -> (u16, &str) {
        let (status, code) = self
            .code
            .split_once(' ')
            .unwrap_or((self.code.as_str(), ""));
        (status.parse().unwrap_or(200), code)
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.bucket.is_empty() {
            write!(f, "bucket {}: ", self.bucket)?;
        }
        match (self.code.as_str(), self.words.as_str()) {
            ("", words) => f.write_str(words),
            (code, "") => f.write_str(code),
            (code, words) => write!(f, "{code}: {words}"),
        }
    }
}

impl From<String> for Trouble {
    fn from(words: String) -> Self {
        Self {
            words,
            ..Self::default()
        }
    }
}

impl From<&str> for Trouble {
    fn from(words: &str) -> Self {
        words.to_owned().into()
    }
}

/// What a HEAD says about an object.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ObjectHead {
    /// Bytes.
    pub len: u64,
    /// Another one means that it was written since.
    pub etag: Option<String>,
    /// The hash of its bytes, if the server is known to report it.
    pub sha256: Option<Sha256>,
}

/// An object in a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    pub key: String,
    /// Bytes.
    pub len: u64,
    pub modified: SystemTime,
}

/// A page of a listing, in ascending order of keys.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    pub objects: Vec<Listed>,
    /// Go on after the last of these keys: there are more.
    pub more: bool,
}

/// A bucket: the real one behind S3, or one in memory for tests and the model of the garbage collector.
#[async_trait]
pub trait Storage: Send + Sync + 'static {
    /// As operators know it.
    fn name(&self) -> &str;

    /// Makes the bucket where it isn't there, blocks public access where the server can, and learns what else it
    /// can: from the bucket's record, or by trying.
    async fn ensure(&self) -> Result<(), StorageError>;

    /// When the server last answered anything; `None` if it never did, or if nobody notes it.
    fn heard(&self) -> Option<Instant> {
        None
    }

    /// What the hub found out about the server; `None` if it has tried nothing yet.
    fn abilities(&self) -> Option<Arc<Abilities>> {
        None
    }

    /// Makes the bucket where it isn't there, tries the server anew, and writes the record.
    async fn probe(&self) -> Result<Arc<Abilities>, StorageError> {
        Err(StorageError::Refused("nothing is tried here".into()))
    }

    /// All of an object of at most `max_len` bytes; `None` if there is no such key. A longer one is
    /// [`StorageError::Garbled`].
    async fn get(&self, key: &str, max_len: u64) -> Result<Option<Bytes>, StorageError>;

    /// What the server says about an object without sending its bytes; `None` if there is no such key.
    async fn head(&self, key: &str) -> Result<Option<ObjectHead>, StorageError>;

    /// The length of an object.
    async fn len(&self, key: &str) -> Result<Option<u64>, StorageError> {
        Ok(self.head(key).await?.map(|head| head.len))
    }

    /// The SHA-256 of an object's bytes, all of which are read here, a piece at a time, of at most `max_len`.
    async fn sha256(&self, key: &str, max_len: u64) -> Result<Option<Sha256>, StorageError>;

    /// Writes a small object whole; readers see the old one or the new one.
    async fn put(&self, key: &str, bytes: Bytes) -> Result<(), StorageError>;

    /// Deletes an object, which needn't be there.
    async fn delete(&self, key: &str) -> Result<(), StorageError>;

    /// The keys that begin with `prefix` and come after `after`, at most 1000 of them.
    async fn list(&self, prefix: &str, after: Option<&str>) -> Result<Page, StorageError>;

    /// A PUT of exactly these bytes: key, SHA-256, length and `if-none-match: *` are bound by signed
    /// headers. Never good for longer than the credential that signs it.
    async fn presign_put(
        &self,
        key: &str,
        sha256: &Sha256,
        len: u64,
        expires: Duration,
    ) -> Result<Action, StorageError>;

    /// The same without the condition: exactly these bytes, and no others, may overwrite what is there.
    async fn presign_replace(
        &self,
        key: &str,
        sha256: &Sha256,
        len: u64,
        expires: Duration,
    ) -> Result<Action, StorageError>;

    /// A GET; a `Range` may be added.
    async fn presign_get(&self, key: &str, expires: Duration) -> Result<Action, StorageError>;
}

/// All keys that begin with `prefix`, in order.
pub async fn list_all(bucket: &dyn Storage, prefix: &str) -> Result<Vec<Listed>, StorageError> {
    let mut all: Vec<Listed> = Vec::new();
    loop {
        let after = all.last().map(|listed| listed.key.as_str());
        let page = bucket.list(prefix, after).await?;
        let empty = page.objects.is_empty();
        all.extend(page.objects);
        if !page.more {
            return Ok(all);
        }
        if empty {
            return Err(StorageError::Garbled(
                format!("an empty page of {prefix} that isn't the last").into(),
            ));
        }
    }
}

//! The server's secret, and the pair of keys that each bucket gets out of it.
//!
//! An access key names its bucket, so a pair is known without a list and reaches no other bucket.

use std::{
    fmt,
    fs::{File, OpenOptions},
    io::{Read, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::Path,
    sync::Arc,
};

use async_trait::async_trait;
use data_encoding::HEXLOWER;
use s3s::{
    S3Result,
    access::{S3Access, S3AccessContext},
    auth::{S3Auth, SecretKey},
    path::S3Path,
    s3_error,
};

use super::EmbeddedError;

/// Hex of 32 random bytes, readable by its owner only.
const FILE: &str = "secret";
const PREFIX: &str = "podsync-";
const CONTEXT: &str = "podsync 2026 embedded bucket key 1";

#[derive(Clone)]
pub(super) struct Keys(Arc<[u8; 32]>);

impl Keys {
    /// The folder's secret, made on the first call.
    pub(super) fn open(folder: &Path) -> Result<Self, EmbeddedError> {
        let path = folder.join(FILE);
        let failed = |source| EmbeddedError::Folder {
            path: path.clone(),
            source,
        };
        if !path.try_exists().map_err(failed)? {
            write(&path).map_err(failed)?;
        }
        Self::made_in(folder)
    }

    /// The folder's secret, which is there.
    pub(super) fn made_in(folder: &Path) -> Result<Self, EmbeddedError> {
        let path = folder.join(FILE);
        let failed = |source| EmbeddedError::Folder {
            path: path.clone(),
            source,
        };
        let damaged = |what| EmbeddedError::Keys {
            path: path.clone(),
            what,
        };
        let file = File::open(&path).map_err(failed)?;
        if file.metadata().map_err(failed)?.permissions().mode() & 0o077 != 0 {
            return Err(damaged("others than its owner may read it (`chmod 600`)"));
        }
        let mut text = String::new();
        file.take(128).read_to_string(&mut text).map_err(failed)?;
        let bytes = HEXLOWER
            .decode(text.trim().as_bytes())
            .map_err(|_| damaged("it isn't hex"))?;
        let secret = bytes.try_into().map_err(|_| damaged("it isn't 32 bytes"))?;
        Ok(Self(Arc::new(secret)))
    }

    /// The access key and the secret key of a bucket.
    pub(super) fn of_bucket(&self, bucket: &str) -> (String, String) {
        let mut derive = blake3::Hasher::new_derive_key(CONTEXT);
        derive.update(&*self.0).update(bucket.as_bytes());
        (
            format!("{PREFIX}{bucket}"),
            HEXLOWER.encode(derive.finalize().as_bytes()),
        )
    }
}

fn write(path: &Path) -> std::io::Result<()> {
    let secret: [u8; 32] = rand::random();
    let unfinished = path.with_extension("new");
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&unfinished)?;
    file.write_all(HEXLOWER.encode(&secret).as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&unfinished, path)?;
    super::disk::sync_folder(path.parent().unwrap_or(path))
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(hidden)")
    }
}

fn bucket_of(access_key: &str) -> Option<&str> {
    access_key.strip_prefix(PREFIX)
}

#[async_trait]
impl S3Auth for Keys {
    async fn get_secret_key(&self, access_key: &str) -> S3Result<SecretKey> {
        let bucket = bucket_of(access_key).ok_or_else(|| s3_error!(InvalidAccessKeyId))?;
        Ok(self.of_bucket(bucket).1.into())
    }
}

#[async_trait]
impl S3Access for Keys {
    async fn check(&self, context: &mut S3AccessContext<'_>) -> S3Result<()> {
        let own = context
            .credentials()
            .and_then(|keys| bucket_of(&keys.access_key));
        let asked = match context.s3_path() {
            S3Path::Root => None,
            S3Path::Bucket { bucket } | S3Path::Object { bucket, .. } => Some(&**bucket),
        };
        if own.is_some() && own == asked {
            return Ok(());
        }
        Err(s3_error!(
            AccessDenied,
            "these keys are not for this bucket"
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_made_once_and_are_each_buckets_own() {
        let folder = tempfile::tempdir().unwrap();
        let first = Keys::open(folder.path()).unwrap();
        let again = Keys::open(folder.path()).unwrap();
        assert_eq!(first.of_bucket("team"), again.of_bucket("team"));
        assert_ne!(first.of_bucket("team").1, first.of_bucket("other").1);
        let mode = std::fs::metadata(folder.path().join(FILE))
            .unwrap()
            .permissions();
        assert_eq!(mode.mode() & 0o777, 0o600);
    }

    #[test]
    fn a_secret_that_others_may_read_or_that_is_none_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        Keys::open(folder.path()).unwrap();
        let path = folder.path().join(FILE);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Keys::open(folder.path()).is_err());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(&path, "abc").unwrap();
        assert!(matches!(
            Keys::open(folder.path()),
            Err(EmbeddedError::Keys { .. })
        ));
    }
}

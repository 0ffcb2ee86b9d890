//! A small JSON file in the home. The daemon reads it at its start and replaces it atomically with each change.
//!
//! A file that can't be read is never overwritten: `get` and `change` return the read error until it is moved away.

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use podsync_api::{ApiError, ErrorCode};
use podsync_store::{read_regular, shell_word, write_atomic};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::error::Failure;

/// Bytes. podsync never writes a longer file, so a longer one is refused.
const MAX_LEN: u64 = 4 << 20;
/// The format version that this podsync writes, and the newest that it reads.
const FORMAT: u32 = 1;

/// A handle; clones share one file.
pub(crate) struct Persisted<T>(Arc<Shared<T>>);

struct Shared<T> {
    path: PathBuf,
    /// Serialises changes.
    turn: Mutex<()>,
    content: Mutex<Result<T, ApiError>>,
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document<T> {
    format: u32,
    content: T,
}

impl<T> Clone for Persisted<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> Persisted<T>
where
    T: Serialize + DeserializeOwned + Default + Clone + Send + 'static,
{
    /// Reads the file. A missing file gives the default value.
    pub(crate) fn open(path: PathBuf) -> Self {
        let content = read(&path);
        if let Err(error) = &content {
            tracing::error!(%error, "podsync leaves out a file of the home");
        }
        Self(Arc::new(Shared {
            path,
            turn: Mutex::default(),
            content: Mutex::new(content),
        }))
    }

    /// Returns a copy of the content, or the error of reading the file.
    pub(crate) fn get(&self) -> Result<T, ApiError> {
        self.content().clone()
    }

    /// Applies `change` and writes the file. The change is durable when this returns.
    pub(crate) async fn change<R: Send + 'static>(
        &self,
        change: impl FnOnce(&mut T) -> R + Send + 'static,
    ) -> Result<R, Failure> {
        let file = self.clone();
        tokio::task::spawn_blocking(move || file.change_now(change)).await?
    }

    fn change_now<R>(&self, change: impl FnOnce(&mut T) -> R) -> Result<R, Failure> {
        let _turn = self.0.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut content = self.get()?;
        let result = change(&mut content);
        let document = Document {
            format: FORMAT,
            content,
        };
        let bytes = serde_json::to_vec_pretty(&document).map_err(|error| {
            ApiError::new(
                ErrorCode::Internal,
                format!("{} can't be written: {error}", self.0.path.display()),
            )
        })?;
        write_atomic(&self.0.path, &bytes, 0o600)?;
        *self.content() = Ok(document.content);
        Ok(result)
    }

    fn content(&self) -> MutexGuard<'_, Result<T, ApiError>> {
        self.0
            .content
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn read<T: DeserializeOwned + Default>(path: &Path) -> Result<T, ApiError> {
    let unreadable = |what: String| {
        let aside = path.with_extension("json.damaged");
        ApiError::new(ErrorCode::Disk, format!("{} {what}", path.display())).hint(format!(
            "`mv {} {}`, restart the daemon, and set up again what it did",
            shell_word(path),
            shell_word(&aside)
        ))
    };
    let bytes = match read_regular(path, MAX_LEN + 1) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(T::default()),
        read => read.map_err(|error| unreadable(format!("can't be read: {error}")))?,
    };
    if bytes.len() as u64 > MAX_LEN {
        return Err(unreadable(format!("has more than {MAX_LEN} bytes")));
    }
    #[derive(Deserialize)]
    struct Formatted {
        format: u32,
    }
    match serde_json::from_slice::<Formatted>(&bytes) {
        Ok(Formatted { format }) if format > FORMAT => {
            let text = format!("{} was written by a newer podsync", path.display());
            return Err(ApiError::new(ErrorCode::Disk, text).hint("update podsync"));
        }
        _ => {}
    }
    serde_json::from_slice(&bytes)
        .map(|document: Document<T>| document.content)
        .map_err(|error| unreadable(format!("is damaged: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    type Names = Persisted<Vec<String>>;

    #[tokio::test]
    async fn what_was_changed_is_there_at_the_next_start() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("names.json");
        let names = Names::open(path.clone());
        assert!(names.get().unwrap().is_empty());
        names
            .change(|names| names.push("orders".to_owned()))
            .await
            .unwrap();
        assert_eq!(names.get().unwrap(), ["orders"]);
        assert_eq!(Names::open(path).get().unwrap(), ["orders"]);
    }

    #[tokio::test]
    async fn what_cannot_be_read_is_told_and_stays_as_it_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("names.json");
        for damaged in [
            "",
            "{",
            "[]",
            r#"{"format":1}"#,
            r#"{"format":1,"content":7}"#,
            r#"{"format":1,"content":[],"more":1}"#,
            r#"{"format":2,"content":[]}"#,
            &" ".repeat(5 << 20),
        ] {
            std::fs::write(&path, damaged).unwrap();
            let names = Names::open(path.clone());
            let error = names.get().unwrap_err();
            assert_eq!(error.code, ErrorCode::Disk);
            assert!(error.hint.is_some(), "{error}");
            assert!(names.change(Vec::clear).await.is_err());
            assert_eq!(std::fs::read_to_string(&path).unwrap(), damaged);
        }
    }

    /// Opening a pipe to read it waits for a writer, and nobody would hear a signal meanwhile.
    #[test]
    fn a_pipe_in_place_of_the_file_is_told_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("names.json");
        let made = std::process::Command::new("mkfifo").arg(&path).status();
        assert!(made.unwrap().success());
        let error = Names::open(path).get().unwrap_err();
        assert_eq!(error.code, ErrorCode::Disk);
        assert!(error.message.contains("a pipe"), "{error}");
        assert!(error.hint.unwrap().contains("mv "));
    }

    #[tokio::test]
    async fn what_cannot_be_written_is_not_changed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("gone/names.json");
        let names = Names::open(path);
        let change = names.change(|names| names.push("orders".to_owned()));
        assert!(change.await.is_err());
        assert!(names.get().unwrap().is_empty());
    }
}

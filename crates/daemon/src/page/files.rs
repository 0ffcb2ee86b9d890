//! Files that the browser uploads or downloads. Each is in the system's temporary folder, for one save or one
//! export. They can't be in the home: saving a file from a home is refused.
//!
//! Nothing is saved or exported here: the control API's `save` takes a file's path, and its `export` writes to one.

use std::{
    fs::Permissions,
    io,
    os::unix::fs::PermissionsExt,
    path::PathBuf,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use axum::{
    Json, Router,
    body::Body,
    extract::{DefaultBodyLimit, Path as UrlPath, State},
    http::{HeaderMap, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use futures::{StreamExt, TryStreamExt};
use podsync_api::{ApiError, ErrorCode};
use serde::Serialize;
use tempfile::TempDir;
use tokio::{
    fs::{File, OpenOptions},
    io::AsyncWriteExt,
    time::Instant,
};
use tokio_util::io::ReaderStream;

use super::{
    answer::failure,
    secret::{Secret, SecretHash},
};
use crate::error::Failure;

/// The most files at a time: each one takes space on the disk.
const MAX_FILES: usize = 8;
/// How long a file stays if nobody fetches or removes it.
const LIFE: Duration = Duration::from_secs(60 * 60);
/// Bytes of the disk that uploads leave free.
const RESERVE: u64 = 64 << 20;
const PREFIX: &str = "podsync-page-";
/// Bytes read at once when a file is sent to the browser.
const PIECE_LEN: usize = 256 << 10;

pub(super) struct Files {
    /// Where they lie.
    folder: PathBuf,
    kept: Mutex<Vec<Stay>>,
}

struct Stay {
    id: SecretHash,
    /// Goes with it.
    folder: TempDir,
    ends: Instant,
}

/// A place for a file.
#[derive(Serialize)]
struct Place {
    /// The secret id that fetches or removes the file.
    id: String,
    /// The file's path, as calls of the control API take it.
    path: PathBuf,
}

impl Files {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self {
            folder,
            kept: Mutex::default(),
        }
    }

    fn place(&self) -> Result<(TempDir, PathBuf), ApiError> {
        if self.living().len() >= MAX_FILES {
            let what = format!("the page has {MAX_FILES} imports and exports under way");
            return Err(ApiError::new(ErrorCode::Busy, what).hint("wait until one of them is done"));
        }
        // Whatever the umask allows to others.
        let folder = tempfile::Builder::new()
            .prefix(PREFIX)
            .permissions(Permissions::from_mode(0o700))
            .tempdir_in(&self.folder)
            .map_err(|error| failed(&error))?;
        let path = folder.path().join("state.snapshot");
        Ok((folder, path))
    }

    fn keep(&self, folder: TempDir, path: PathBuf) -> Place {
        let id = Secret::draw();
        self.living().push(Stay {
            id: id.hash(),
            folder,
            ends: Instant::now() + LIFE,
        });
        Place {
            id: id.expose().to_owned(),
            path,
        }
    }

    fn take(&self, id: &str) -> Option<TempDir> {
        let id = SecretHash::of(id);
        let mut kept = self.living();
        let place = kept.iter().position(|stay| stay.id == id)?;
        Some(kept.remove(place).folder)
    }

    fn living(&self) -> MutexGuard<'_, Vec<Stay>> {
        let now = Instant::now();
        // Each step leaves the content consistent, so a poisoned lock is safe to use.
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        kept.retain(|stay| stay.ends > now);
        kept
    }
}

/// Endpoints that the page's scripts call.
pub(super) fn calls(files: &Arc<Files>) -> Router {
    Router::new()
        .route("/files", post(begin_export).put(import))
        .route("/files/{id}", axum::routing::delete(remove))
        .layer(DefaultBodyLimit::disable())
        .with_state(Arc::clone(files))
}

/// Endpoints that the browser opens as links.
pub(super) fn links(files: &Arc<Files>) -> Router {
    Router::new()
        .route("/files/{id}/{name}", get(fetch))
        .with_state(Arc::clone(files))
}

/// A place that `export` may write to.
async fn begin_export(State(files): State<Arc<Files>>) -> Response {
    match files.place() {
        Ok((folder, path)) => Json(files.keep(folder, path)).into_response(),
        Err(error) => failure(error),
    }
}

/// Takes the file that is to be saved.
async fn import(State(files): State<Arc<Files>>, headers: HeaderMap, body: Body) -> Response {
    let len = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|len| len.to_str().ok()?.parse().ok());
    let Some(len) = len else {
        let error = ApiError::new(
            ErrorCode::Invalid,
            "the request doesn't say how long the file is",
        );
        return failure(error.hint("send it with Content-Length"));
    };
    match files.receive(len, body).await {
        Ok(place) => Json(place).into_response(),
        Err(error) => failure(error),
    }
}

impl Files {
    async fn receive(&self, len: u64, body: Body) -> Result<Place, ApiError> {
        let free = podsync_store::free_bytes(&self.folder).map_err(Failure::from)?;
        if len.saturating_add(RESERVE) > free {
            let text = format!("{} has no room for {len} bytes", self.folder.display());
            return Err(ApiError::new(ErrorCode::Disk, text)
                .hint("free some space, or start the daemon with another TMPDIR"));
        }
        let (folder, path) = self.place()?;
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&path)
            .await
            .map_err(|error| failed(&error))?;
        let mut pieces = body.into_data_stream();
        let mut received = 0;
        while let Some(piece) = pieces.next().await {
            let piece = piece.map_err(|_| broken_off())?;
            received += piece.len() as u64;
            if received > len {
                return Err(broken_off());
            }
            file.write_all(&piece)
                .await
                .map_err(|error| failed(&error))?;
        }
        if received < len {
            return Err(broken_off());
        }
        file.flush().await.map_err(|error| failed(&error))?;
        Ok(self.keep(folder, path))
    }
}

/// Hands a file to the browser, once.
async fn fetch(
    State(files): State<Arc<Files>>,
    UrlPath((id, name)): UrlPath<(String, String)>,
) -> Response {
    let gone = || {
        let error = ApiError::new(ErrorCode::NotFound, "the file isn't there any more");
        failure(error.hint("export the version again"))
    };
    let Some(folder) = files.take(&id) else {
        return gone();
    };
    let Ok(file) = File::open(folder.path().join("state.snapshot")).await else {
        return gone();
    };
    let Ok(metadata) = file.metadata().await else {
        return gone();
    };
    // The folder is removed after the last piece was sent.
    let pieces = ReaderStream::with_capacity(file, PIECE_LEN).inspect_ok(move |_| {
        let _held = &folder;
    });
    let attachment = format!("attachment; filename=\"{}\"", plain(&name));
    let headers = [
        (
            header::CONTENT_TYPE,
            HeaderValue::from_static("application/octet-stream"),
        ),
        (header::CONTENT_LENGTH, HeaderValue::from(metadata.len())),
        (
            header::CONTENT_DISPOSITION,
            HeaderValue::from_str(&attachment)
                .unwrap_or_else(|_| HeaderValue::from_static("attachment")),
        ),
    ];
    (headers, Body::from_stream(pieces)).into_response()
}

async fn remove(State(files): State<Arc<Files>>, UrlPath(id): UrlPath<String>) -> StatusCode {
    drop(files.take(&id));
    StatusCode::NO_CONTENT
}

/// A file name that means the same on every system.
fn plain(name: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    name.chars()
        .take(100)
        .map(|c| if plain(c) { c } else { '_' })
        .collect()
}

fn failed(error: &io::Error) -> ApiError {
    ApiError::new(ErrorCode::Disk, format!("a file of the page: {error}"))
        .hint("check the disk with the system's temporary folder")
}

fn broken_off() -> ApiError {
    ApiError::new(
        ErrorCode::Invalid,
        "the file did not come as long as it was said to be",
    )
    .hint("send it again")
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn files(folder: &TempDir) -> Files {
        Files::new(folder.path().to_owned())
    }

    fn left(folder: &TempDir) -> usize {
        std::fs::read_dir(folder).unwrap().count()
    }

    #[tokio::test]
    async fn what_is_not_as_long_as_it_was_said_to_be_is_not_kept() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(&folder);
        for (len, bytes) in [(3, "four"), (5, "four")] {
            let refused = files.receive(len, Body::from(bytes)).await.err().unwrap();
            assert_eq!(refused.code, ErrorCode::Invalid);
        }
        let refused = files
            .receive(u64::MAX / 2, Body::empty())
            .await
            .err()
            .unwrap();
        assert_eq!(refused.code, ErrorCode::Disk);
        assert_eq!(left(&folder), 0);

        let place = files.receive(4, Body::from("four")).await.unwrap();
        assert_eq!(std::fs::read(&place.path).unwrap(), b"four");
        assert!(files.take("another").is_none());
        drop(files.take(&place.id).unwrap());
        assert_eq!(left(&folder), 0);
    }

    #[tokio::test]
    async fn only_the_owner_can_read_them() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(&folder);
        let mode = |path: &Path| path.metadata().unwrap().permissions().mode() & 0o777;

        let imported = files.receive(4, Body::from("four")).await.unwrap().path;
        assert_eq!(mode(&imported), 0o600);
        assert_eq!(mode(imported.parent().unwrap()), 0o700);

        let (exported, _) = files.place().unwrap();
        assert_eq!(mode(exported.path()), 0o700);
    }

    #[tokio::test]
    async fn there_are_only_so_many() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(&folder);
        for _ in 0..MAX_FILES {
            files.receive(1, Body::from("x")).await.unwrap();
        }
        let refused = files.receive(1, Body::from("x")).await.err().unwrap();
        assert_eq!(refused.code, ErrorCode::Busy);
        assert_eq!(left(&folder), MAX_FILES);
        drop(files);
        assert_eq!(left(&folder), 0);
    }

    #[test]
    fn names_of_files_are_plain() {
        assert_eq!(plain("orders-3.snapshot"), "orders-3.snapshot");
        assert_eq!(plain("a\"b/../c\n"), "a_b_.._c_");
    }
}

//! Giving back disk space: blobs that no version on this machine needs any more.
//!
//! What a pull has begun to fetch stays, also over a crash: the pull names its blobs in the log
//! before the first byte of them arrives.

use std::{collections::BTreeSet, sync::Arc};

use podsync_core::{BlobId, TeamId, VersionId, engine::Input};
use podsync_store::{Key, Log, Record, StoreError};

use crate::{daemon::Daemon, failure::Failure};

/// Names the blobs of a version that is being pulled. It blocks.
pub(crate) fn begin_pull(
    log: &Log,
    team: TeamId,
    version: VersionId,
    blobs: &[BlobId],
) -> Result<(), StoreError> {
    let bytes: Vec<u8> = blobs.iter().flat_map(|blob| *blob.as_bytes()).collect();
    log.commit(&[Record::put(Key::Transfer { team, id: version }, bytes)])
}

/// The version is listed, or gone: its record keeps its blobs from now on, or nothing does. It blocks.
pub(crate) fn end_pull(log: &Log, team: TeamId, version: VersionId) -> Result<(), StoreError> {
    log.commit(&[Record::delete(Key::Transfer { team, id: version })])
}

fn begun(log: &Log) -> Result<BTreeSet<BlobId>, StoreError> {
    let mut blobs = BTreeSet::new();
    for team in log.teams()? {
        for row in log.transfers(team)? {
            let (_, bytes) = row?;
            blobs.extend(
                bytes
                    .as_chunks()
                    .0
                    .iter()
                    .map(|id: &[u8; 32]| BlobId::from_bytes(*id)),
            );
        }
    }
    Ok(blobs)
}

impl Daemon {
    /// Deletes what no held version needs and nothing pins. A failure only leaves garbage.
    pub(crate) async fn collect_garbage(self: Arc<Self>) {
        match self.collect_now().await {
            Ok(0) => {}
            Ok(blobs) => tracing::info!(blobs, "deleted what nothing needs any more"),
            Err(error) => tracing::warn!(
                ?error,
                "garbage was not collected; it is tried again at the next start"
            ),
        }
    }

    /// The same, at once; how many blobs were deleted.
    pub(crate) async fn collect_now(&self) -> Result<usize, Failure> {
        let (versions, log) = (Arc::clone(&self.versions), self.log.clone());
        let live = || async move {
            tokio::task::spawn_blocking(move || {
                let mut live = begun(&log)?;
                live.extend(versions.blobs().map_err(Failure::damaged)?);
                Ok::<_, Failure>(live)
            })
            .await?
        };
        let dead = self.blobs.collect(live).await?;
        for blob in &dead {
            self.node.input(Input::Evicted { blob: *blob }).await?;
        }
        Ok(dead.len())
    }
}

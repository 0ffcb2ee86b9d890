//! The blobs of pulls in progress. They aren't garbage, though no version names them yet.
//!
//! They survive a crash: a pull writes its blobs' ids to the log before their first byte arrives.

use std::collections::BTreeSet;

use podsync_core::{BlobId, TeamId, VersionId};
use podsync_store::{Key, Log, Record, StoreError};

/// Records the blobs of a version that is being pulled. Blocks.
pub(crate) fn begin_pull(
    log: &Log,
    team: TeamId,
    version: VersionId,
    blobs: &[BlobId],
) -> Result<(), StoreError> {
    let bytes: Vec<u8> = blobs.iter().flat_map(|blob| *blob.as_bytes()).collect();
    log.commit(&[Record::put(Key::Transfer { team, id: version }, bytes)])
}

/// Removes the record of a pull, once the version is listed (its own record keeps the blobs) or given up. Blocks.
pub(crate) fn end_pull(log: &Log, team: TeamId, version: VersionId) -> Result<(), StoreError> {
    log.commit(&[Record::delete(Key::Transfer { team, id: version })])
}

/// Blobs of which a pull has begun to fetch something. It blocks.
pub(crate) fn begun(log: &Log) -> Result<BTreeSet<BlobId>, StoreError> {
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

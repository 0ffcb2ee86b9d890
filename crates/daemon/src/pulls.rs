//! The blobs of pulls that are under way: no garbage, though no version names them yet.
//!
//! They stay also over a crash: the pull names its blobs in the log before the first byte of them arrives.

use std::collections::BTreeSet;

use podsync_core::{BlobId, TeamId, VersionId};
use podsync_store::{Key, Log, Record, StoreError};

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

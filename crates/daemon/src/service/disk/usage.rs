//! When each version on this machine was last used, and which are pinned: what an eviction goes by.

use podsync_core::{TeamId, VersionId};
use podsync_store::{Key, Log, Namespace, Record, StoreError};

const USED: Namespace = Namespace::new("used");
const PINNED: Namespace = Namespace::new("pinned");

/// Notes that a version is used now. It blocks.
pub(crate) fn note_use(
    log: &Log,
    team: TeamId,
    version: VersionId,
    now_ms: u64,
) -> Result<(), StoreError> {
    log.commit(&[Record::put(key(USED, team, version), now_ms.to_le_bytes())])
}

/// When a version was used last, Unix milliseconds. It blocks.
pub(crate) fn last_use(
    log: &Log,
    team: TeamId,
    version: VersionId,
) -> Result<Option<u64>, StoreError> {
    let bytes = log.get(&key(USED, team, version))?;
    Ok(bytes
        .and_then(|bytes| bytes.try_into().ok())
        .map(u64::from_le_bytes))
}

/// Pins a version, or ends that. It blocks.
pub(crate) fn pin(
    log: &Log,
    team: TeamId,
    version: VersionId,
    pinned: bool,
) -> Result<(), StoreError> {
    let key = key(PINNED, team, version);
    log.commit(&[if pinned {
        Record::put(key, [1])
    } else {
        Record::delete(key)
    }])
}

/// It blocks.
pub(crate) fn is_pinned(log: &Log, team: TeamId, version: VersionId) -> Result<bool, StoreError> {
    Ok(log.get(&key(PINNED, team, version))?.is_some())
}

/// A version that left this machine: when it was used doesn't matter any more. A pin stays: it is about
/// the version, and holds again once that is pulled. It blocks.
pub(crate) fn forget_use(log: &Log, team: TeamId, version: VersionId) -> Result<(), StoreError> {
    log.commit(&[Record::delete(key(USED, team, version))])
}

fn key(namespace: Namespace, team: TeamId, version: VersionId) -> Key {
    Key::Setting {
        namespace,
        key: [&team.as_bytes()[..], version.as_bytes()].concat(),
    }
}

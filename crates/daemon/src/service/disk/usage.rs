//! Stores when each version on this machine was last used, and which are pinned. Evictions rely on this.

use podsync_core::{TeamId, VersionId};
use podsync_store::{Key, Log, Namespace, Record, StoreError};

const USED: Namespace = Namespace::new("used");
const PINNED: Namespace = Namespace::new("pinned");

/// Records that a version is used now. Blocks.
pub(crate) fn note_use(
    log: &Log,
    team: TeamId,
    version: VersionId,
    now_ms: u64,
) -> Result<(), StoreError> {
    log.commit(&[Record::put(key(USED, team, version), now_ms.to_le_bytes())])
}

/// When a version was used last, in Unix milliseconds. Blocks.
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

/// Pins or unpins a version. Blocks.
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

/// Blocks.
pub(crate) fn is_pinned(log: &Log, team: TeamId, version: VersionId) -> Result<bool, StoreError> {
    Ok(log.get(&key(PINNED, team, version))?.is_some())
}

/// Forgets when a version that left this machine was used. A pin stays, and counts again once the version is
/// pulled. Blocks.
pub(crate) fn forget_use(log: &Log, team: TeamId, version: VersionId) -> Result<(), StoreError> {
    log.commit(&[Record::delete(key(USED, team, version))])
}

fn key(namespace: Namespace, team: TeamId, version: VersionId) -> Key {
    Key::Setting {
        namespace,
        key: [&team.as_bytes()[..], version.as_bytes()].concat(),
    }
}

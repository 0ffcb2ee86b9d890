//! Versions whose bytes are on this machine: saved here, pulled, and checkpoints.
//!
//! A record is written once all that the version needs of its packs is durable. Damage may destroy bytes later:
//! only the store's holdings say whether a version is complete. The catalog says whether it is shared; a checkpoint
//! is in no catalog.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use podsync_core::{
    BlobId, EpochId, PodName, TeamId, VersionId,
    codec::{CodecError, Format},
    feed::BlobRef,
    manifest::{MAX_MANIFEST_LEN, Manifest},
};
use podsync_store::{Key, Log, Namespace, Record, StoreError};
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

/// What this home knows of a version whose bytes it has.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct HeldVersion {
    pub(crate) pod: PodName,
    /// For a checkpoint: its instance.
    pub(crate) checkpoint: Option<Checkpoint>,
    /// The sealed manifest, and the epoch whose key sealed it.
    pub(crate) sealed: Sealed,
    /// The plain manifest, as hashed.
    manifest: ByteBuf,
    /// Packs that this version's own save wrote: every chunk in them is this version's.
    pub(crate) own_packs: Vec<BlobId>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Checkpoint {
    /// Counts from 1, per home.
    pub(crate) number: u64,
    /// The instance's own id, or its endpoint if it has none.
    pub(crate) instance: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Sealed {
    pub(crate) blob: BlobRef,
    pub(crate) epoch: EpochId,
}

impl Format for HeldVersion {
    const NAME: &'static str = "held version";
    const VERSION: u8 = 1;
    const MAX_LEN: usize = MAX_MANIFEST_LEN + (1 << 20);
}

impl HeldVersion {
    pub(crate) fn new(
        pod: PodName,
        sealed: Sealed,
        plain_manifest: Vec<u8>,
        own_packs: Vec<BlobId>,
    ) -> Self {
        Self {
            pod,
            checkpoint: None,
            sealed,
            manifest: ByteBuf::from(plain_manifest),
            own_packs,
        }
    }

    pub(crate) fn id(&self) -> VersionId {
        VersionId::of(&self.manifest)
    }

    pub(crate) fn manifest(&self) -> Result<Manifest, CodecError> {
        Manifest::decode(&self.manifest)
    }

    pub(crate) fn plain_manifest(&self) -> &[u8] {
        &self.manifest
    }
}

/// Where the records lie: team and version.
const HELD: Namespace = Namespace::new("held");

fn key(team: TeamId, id: VersionId) -> Key {
    Key::Setting {
        namespace: HELD,
        key: [&team.as_bytes()[..], id.as_bytes()].concat(),
    }
}

fn parse_key(bytes: &[u8]) -> Option<(TeamId, VersionId)> {
    let (team, id) = bytes.split_at_checked(32)?;
    Some((
        TeamId::from_bytes(team.try_into().ok()?),
        VersionId::from_bytes(id.try_into().ok()?),
    ))
}

/// The versions held, in memory and in the log.
pub(crate) struct Versions {
    log: Log,
    held: Mutex<BTreeMap<(TeamId, VersionId), HeldVersion>>,
    /// Whether the log has a record that can't be read.
    is_doubtful: AtomicBool,
    /// Blobs of held versions of which nothing is held any more: they were found damaged or missing.
    lost: Mutex<BTreeSet<BlobId>>,
}

impl Versions {
    pub(crate) fn load(log: Log) -> Result<Self, StoreError> {
        let mut held = BTreeMap::new();
        let mut is_doubtful = false;
        for row in log.settings(HELD)? {
            let (name, bytes) = row?;
            let Some((team, id)) = parse_key(&name) else {
                continue;
            };
            match HeldVersion::decode(&bytes) {
                Ok(version) if version.id() == id => drop(held.insert((team, id), version)),
                Ok(_) => {
                    is_doubtful = true;
                    tracing::error!(version = %id.short(), "a held version's record is of another version; podsync leaves it out")
                }
                Err(error) => {
                    is_doubtful = true;
                    tracing::error!(version = %id.short(), %error, "podsync can't read a held version's record and leaves it out")
                }
            }
        }
        Ok(Self {
            log,
            held: Mutex::new(held),
            is_doubtful: is_doubtful.into(),
            lost: Mutex::default(),
        })
    }

    /// Notes that the log has a record that can't be read. It may name a version that is held.
    pub(crate) fn doubt(&self) {
        self.is_doubtful.store(true, Ordering::Relaxed);
    }

    /// Whether the log may lack versions because of damage: then nothing may be deleted on its word.
    pub(crate) fn are_doubtful(&self) -> bool {
        self.is_doubtful.load(Ordering::Relaxed)
    }

    /// Lists a version, durably. It blocks.
    pub(crate) fn put(&self, team: TeamId, version: HeldVersion) -> Result<VersionId, StoreError> {
        let id = version.id();
        self.log
            .commit(&[Record::put(key(team, id), version.encode())])?;
        self.lock().insert((team, id), version);
        Ok(id)
    }

    /// Removes a version's record, durably. Blocks. The next garbage collection deletes its packs.
    pub(crate) fn remove(&self, team: TeamId, id: VersionId) -> Result<(), StoreError> {
        self.log.commit(&[Record::delete(key(team, id))])?;
        self.lock().remove(&(team, id));
        Ok(())
    }

    pub(crate) fn get(&self, team: TeamId, id: VersionId) -> Option<HeldVersion> {
        self.lock().get(&(team, id)).cloned()
    }

    /// Whether a version is here, and none of its packs was found damaged or missing.
    pub(crate) fn is_held(&self, team: TeamId, id: VersionId) -> bool {
        let lost = self.lost();
        let held = self.lock();
        held.get(&(team, id)).is_some_and(|held| {
            // Reading the manifest takes longer.
            lost.is_empty()
                || held.manifest().is_ok_and(|manifest| {
                    manifest.packs.iter().all(|pack| !lost.contains(&pack.id))
                })
        })
    }

    /// Notes whether anything of a blob is held.
    pub(crate) fn note_held(&self, blob: BlobId, is_held: bool) {
        let mut lost = self.lost();
        match is_held {
            true => lost.remove(&blob),
            false => lost.insert(blob),
        };
    }

    /// Whether a version that was held needs a blob that was found damaged or missing.
    pub(crate) fn has_lost(&self, team: TeamId, blob: BlobId) -> bool {
        if !self.lost().contains(&blob) {
            return false;
        }
        let held = self.of_team(team);
        held.iter().any(|(_, held)| {
            let needs = |manifest: Manifest| manifest.packs.iter().any(|pack| pack.id == blob);
            held.sealed.blob.id == blob || held.manifest().is_ok_and(needs)
        })
    }

    /// The checkpoints of an instance, oldest first.
    pub(crate) fn checkpoints(&self, instance: &str) -> Vec<(TeamId, VersionId, Checkpoint)> {
        let held = self.lock();
        let all = held
            .iter()
            .filter_map(|((team, id), version)| Some((*team, *id, version.checkpoint.clone()?)));
        let mut found: Vec<_> = all
            .filter(|(_, _, checkpoint)| checkpoint.instance == instance)
            .collect();
        found.sort_by_key(|(_, _, checkpoint)| checkpoint.number);
        found
    }

    pub(crate) fn next_checkpoint(&self) -> u64 {
        let held = self.lock();
        held.values()
            .filter_map(|version| Some(version.checkpoint.as_ref()?.number))
            .max()
            .unwrap_or(0)
            + 1
    }

    pub(crate) fn of_team(&self, team: TeamId) -> Vec<(VersionId, HeldVersion)> {
        self.lock()
            .iter()
            .filter(|((t, _), _)| *t == team)
            .map(|((_, id), v)| (*id, v.clone()))
            .collect()
    }

    pub(crate) fn of_pod(&self, team: TeamId, pod: &PodName) -> Vec<(VersionId, HeldVersion)> {
        let mut versions = self.of_team(team);
        versions.retain(|(_, version)| version.pod == *pod);
        versions
    }

    /// Every blob of which some held version needs something.
    pub(crate) fn blobs(&self) -> Result<BTreeSet<BlobId>, CodecError> {
        let mut blobs = BTreeSet::new();
        for version in self.lock().values() {
            blobs.extend(version.manifest()?.packs.iter().map(|pack| pack.id));
            blobs.insert(version.sealed.blob.id);
        }
        Ok(blobs)
    }

    fn lost(&self) -> MutexGuard<'_, BTreeSet<BlobId>> {
        self.lost.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(TeamId, VersionId), HeldVersion>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Guards the format: fails if this podsync can no longer read records of earlier ones.
    #[test]
    fn records_keep_their_bytes() {
        let sealed = Sealed {
            blob: BlobRef {
                id: BlobId::from_bytes([1; 32]),
                len: 300,
            },
            epoch: EpochId::from_bytes([2; 32]),
        };
        let pod: PodName = "orders".parse().unwrap();
        let own = vec![BlobId::from_bytes([3; 32])];
        let mut held = HeldVersion::new(pod, sealed, b"plain".to_vec(), own);
        held.checkpoint = Some(Checkpoint {
            number: 7,
            instance: "run".to_owned(),
        });
        let bytes = held.encode();
        let expected = [
            &b"\x01\x06orders\x01\x07\x03run"[..],
            &[1; 32],
            &[0xac, 0x02],
            &[2; 32],
            b"\x05plain\x01",
            &[3; 32],
        ]
        .concat();
        assert_eq!(bytes, expected);
        assert_eq!(HeldVersion::decode(&bytes).unwrap().encode(), bytes);
        for len in 0..bytes.len() {
            assert!(HeldVersion::decode(&bytes[..len]).is_err(), "cut at {len}");
        }
    }
}

//! Where blobs lie in a team's bucket, as the entries that lie there say, and how far those were read.
//!
//! It is the committers' word and the hub's: a hint. Bytes are checked against their blob's id when they
//! come, whoever said where they are.

use std::collections::BTreeMap;

use podsync_api::hub::{MAX_ENTRY_OUTBOARDS, ObjectId, ObjectKind, ObjectRef, Placement, Sha256};
use podsync_core::{BlobId, DeviceId, TeamId, bounded::Bounded, codec::Format, feed::BlobRef};
use podsync_store::{Key, Log, Namespace, Record, StoreError};
use serde::{Deserialize, Serialize};

const PLACED: Namespace = Namespace::new("placed");
const READ: Namespace = Namespace::new("hub-read");
const HUB: Namespace = Namespace::new("hub-url");

/// Where a blob lies.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Placed {
    is_manifest: bool,
    len: u64,
    sha256: [u8; 32],
    generation: u32,
    outboards: Bounded<PlacedOutboards, MAX_ENTRY_OUTBOARDS>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct PlacedOutboards {
    sha256: [u8; 32],
    size: u64,
    generation: u32,
}

impl Format for Placed {
    const NAME: &'static str = "place in the bucket";
    const VERSION: u8 = 1;
    const MAX_LEN: usize = 4 << 10;
}

impl Placed {
    /// Of the `at`-th blob of a publication, whose first is the manifest.
    pub(crate) fn of(
        at: usize,
        blob: &BlobRef,
        placement: &Placement,
        outboards: &[ObjectRef],
    ) -> Self {
        let is_manifest = at == 0;
        let outboards = outboards.iter().filter(|_| !is_manifest);
        Self {
            is_manifest,
            len: blob.len,
            sha256: *placement.sha256.as_bytes(),
            generation: placement.generation,
            outboards: Bounded::first(outboards.map(|object| PlacedOutboards {
                sha256: *object.id.sha256.as_bytes(),
                size: object.id.size,
                generation: object.generation,
            })),
        }
    }

    pub(crate) fn object(&self) -> ObjectRef {
        let kind = if self.is_manifest {
            ObjectKind::Manifest
        } else {
            ObjectKind::Pack
        };
        ObjectRef {
            id: ObjectId {
                kind,
                sha256: Sha256::from_bytes(self.sha256),
                size: self.len,
            },
            generation: self.generation,
        }
    }

    /// Objects one of which should have the blob's outboard.
    pub(crate) fn outboards(&self) -> Vec<ObjectRef> {
        let outboards = self.outboards.iter().map(|placed| ObjectRef {
            id: ObjectId {
                kind: ObjectKind::Outboards,
                sha256: Sha256::from_bytes(placed.sha256),
                size: placed.size,
            },
            generation: placed.generation,
        });
        outboards.collect()
    }

    /// Whether this says more than what was known: another object, or a shorter way to its outboard.
    fn is_news(&self, known: &Self) -> bool {
        self.object() != known.object() || self.outboards.len() < known.outboards.len()
    }
}

/// An id within a team, and what is kept under it.
type Row = ([u8; 32], Vec<u8>);

/// The places, in the log. Everything here blocks.
#[derive(Clone)]
pub(crate) struct Placements(Log);

impl Placements {
    pub(crate) fn new(log: Log) -> Self {
        Self(log)
    }

    pub(crate) fn get(&self, team: TeamId, blob: BlobId) -> Result<Option<Placed>, StoreError> {
        let bytes = self.0.get(&placed_key(team, blob))?;
        // What can't be read is learnt anew.
        Ok(bytes.and_then(|bytes| Placed::decode(&bytes).ok()))
    }

    /// All blobs of a team that are known to lie in its bucket.
    pub(crate) fn blobs(&self, team: TeamId) -> Result<Vec<BlobId>, StoreError> {
        let ids = self.of_team(PLACED, team)?;
        Ok(ids
            .into_iter()
            .map(|(id, _)| BlobId::from_bytes(id))
            .collect())
    }

    /// Up to which entry each device's feed was read at the hub, its places noted.
    pub(crate) fn read_up_to(&self, team: TeamId) -> Result<BTreeMap<DeviceId, u64>, StoreError> {
        let rows = self.of_team(READ, team)?;
        let seqs = rows.into_iter().filter_map(|(id, value)| {
            let seq = value.try_into().map(u64::from_be_bytes).ok()?;
            Some((DeviceId::from_bytes(id), seq))
        });
        Ok(seqs.collect())
    }

    /// Notes places, and that a device's feed was read up to a number; in one write.
    pub(crate) fn note(
        &self,
        team: TeamId,
        places: Vec<(BlobId, Placed)>,
        read: Option<(DeviceId, u64)>,
    ) -> Result<(), StoreError> {
        let mut records = Vec::new();
        for (blob, place) in places {
            let known = self.get(team, blob)?;
            if known.is_none_or(|known| place.is_news(&known)) {
                records.push(Record::put(placed_key(team, blob), place.encode()));
            }
        }
        if let Some((device, seq)) = read {
            let key = key(READ, team, device.as_bytes());
            records.push(Record::put(key, seq.to_be_bytes()));
        }
        self.0.commit(&records)
    }

    pub(crate) fn forget(&self, team: TeamId, blobs: &[BlobId]) -> Result<(), StoreError> {
        let records: Vec<_> = blobs
            .iter()
            .map(|blob| Record::delete(placed_key(team, *blob)))
            .collect();
        self.0.commit(&records)
    }

    /// Begins with a hub: what another one said is forgotten. True where there was another.
    pub(crate) fn adopt(&self, team: TeamId, url: &str) -> Result<bool, StoreError> {
        let name = Key::Setting {
            namespace: HUB,
            key: team.as_bytes().to_vec(),
        };
        let before = self.0.get(&name)?;
        if before.as_deref() == Some(url.as_bytes()) {
            return Ok(false);
        }
        let mut records = vec![Record::put(name, url)];
        for namespace in [PLACED, READ] {
            let rows = self.of_team(namespace, team)?;
            let keys = rows.iter().map(|(id, _)| key(namespace, team, id));
            records.extend(keys.map(Record::delete));
        }
        self.0.commit(&records)?;
        Ok(before.is_some())
    }

    fn of_team(&self, namespace: Namespace, team: TeamId) -> Result<Vec<Row>, StoreError> {
        let mut found = Vec::new();
        for row in self.0.settings(namespace)? {
            let (name, value) = row?;
            let Some((of, id)) = name.split_at_checked(32) else {
                continue;
            };
            if of == team.as_bytes()
                && let Ok(id) = id.try_into()
            {
                found.push((id, value));
            }
        }
        Ok(found)
    }
}

fn placed_key(team: TeamId, blob: BlobId) -> Key {
    key(PLACED, team, blob.as_bytes())
}

fn key(namespace: Namespace, team: TeamId, id: &[u8; 32]) -> Key {
    Key::Setting {
        namespace,
        key: [&team.as_bytes()[..], id].concat(),
    }
}

#[cfg(test)]
mod tests {
    use podsync_store::Home;

    use super::*;

    fn placed(sha: u8, generation: u32, outboards: usize) -> Placed {
        let blob = BlobRef {
            id: BlobId::from_bytes([1; 32]),
            len: 7,
        };
        let place = Placement {
            sha256: Sha256::from_bytes([sha; 32]),
            generation,
        };
        let object = ObjectRef {
            id: ObjectId {
                kind: ObjectKind::Outboards,
                sha256: Sha256::from_bytes([9; 32]),
                size: 69,
            },
            generation: 2,
        };
        Placed::of(1, &blob, &place, &vec![object; outboards])
    }

    #[test]
    fn places_last_until_another_hub_speaks() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(&folder.path().join("home"), "a test").unwrap();
        let places = Placements::new(Log::open(&home).unwrap());
        let (team, blob) = (TeamId::from_bytes([1; 32]), BlobId::from_bytes([2; 32]));
        let device = DeviceId::from_bytes([3; 32]);
        assert!(!places.adopt(team, "https://hub").unwrap());
        places
            .note(team, vec![(blob, placed(4, 0, 2))], Some((device, 5)))
            .unwrap();
        assert_eq!(places.get(team, blob).unwrap(), Some(placed(4, 0, 2)));
        assert_eq!(places.read_up_to(team).unwrap().get(&device), Some(&5));
        assert_eq!(places.blobs(TeamId::from_bytes([8; 32])).unwrap(), []);
        // A longer way to the same object is no news; another object is.
        places
            .note(team, vec![(blob, placed(4, 0, 3))], None)
            .unwrap();
        assert_eq!(places.get(team, blob).unwrap(), Some(placed(4, 0, 2)));
        places
            .note(team, vec![(blob, placed(4, 1, 3))], None)
            .unwrap();
        assert_eq!(places.get(team, blob).unwrap(), Some(placed(4, 1, 3)));
        assert!(!places.adopt(team, "https://hub").unwrap());
        assert!(places.adopt(team, "https://other").unwrap());
        assert_eq!(places.blobs(team).unwrap(), []);
        assert!(places.read_up_to(team).unwrap().is_empty());
    }

    #[test]
    fn places_keep_their_bytes() {
        let bytes = placed(4, 1, 1).encode();
        let expected = [
            &b"\x01\x00\x07"[..],
            &[4; 32],
            b"\x01\x01",
            &[9; 32],
            b"\x45\x02",
        ]
        .concat();
        assert_eq!(bytes, expected);
        assert_eq!(Placed::decode(&bytes).unwrap(), placed(4, 1, 1));
        for len in 0..bytes.len() {
            assert!(Placed::decode(&bytes[..len]).is_err(), "cut at {len}");
        }
    }
}

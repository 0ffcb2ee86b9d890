//! The places of blobs in a team's bucket, as the entries there name them, and how far each feed was read.
//!
//! Committers and the hub claim these places, so they are hints. Bytes are always checked against their blob's id.

use std::{
    cmp::Ordering,
    collections::{BTreeMap, BTreeSet},
};

use podsync_api::hub::{MAX_ENTRY_OUTBOARDS, ObjectId, ObjectKind, ObjectRef, Placement, Sha256};
use podsync_core::{BlobId, DeviceId, TeamId, bounded::Bounded, codec::Format, feed::BlobRef};
use podsync_store::{Key, Log, Namespace, Record, StoreError};
use serde::{Deserialize, Serialize};

const PLACED: Namespace = Namespace::new("placed");
const READ: Namespace = Namespace::new("hub-read");
const HUB: Namespace = Namespace::new("hub-url");
/// Replaces the object's hash for bytes that were never uploaded and won't be.
pub(crate) const NOWHERE: [u8; 32] = [0; 32];

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
            outboards: placed_outboards(outboards),
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

    /// Objects of which one should have the blob's outboard.
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

    /// Whether this place replaces the known one: it names another object, or fewer objects to search for the
    /// outboard. Feeds are read newest first and one after the other, so an older entry may be read last: of the
    /// same bytes the highest generation is the one that isn't condemned.
    fn is_news(&self, known: &Self) -> bool {
        if (self.sha256, self.len) != (known.sha256, known.len) {
            return true;
        }
        match self.generation.cmp(&known.generation) {
            Ordering::Greater => true,
            Ordering::Equal => self.outboards.len() < known.outboards.len(),
            Ordering::Less => false,
        }
    }

    /// Whether the publication was dropped before its bytes were uploaded.
    fn is_nowhere(&self) -> bool {
        self.sha256 == NOWHERE
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
        // Records that can't be read are learnt again from the hub.
        Ok(bytes.and_then(|bytes| Placed::decode(&bytes).ok()))
    }

    /// All blobs of a team that its bucket is known to have.
    pub(crate) fn blobs(&self, team: TeamId) -> Result<Vec<BlobId>, StoreError> {
        let ids = self.of_team(PLACED, team)?;
        Ok(ids
            .into_iter()
            .map(|(id, _)| BlobId::from_bytes(id))
            .collect())
    }

    /// For each device, the number of the last entry that was read at the hub and whose places are recorded.
    pub(crate) fn read_up_to(&self, team: TeamId) -> Result<BTreeMap<DeviceId, u64>, StoreError> {
        let rows = self.of_team(READ, team)?;
        let seqs = rows.into_iter().filter_map(|(id, value)| {
            let seq = value.try_into().map(u64::from_be_bytes).ok()?;
            Some((DeviceId::from_bytes(id), seq))
        });
        Ok(seqs.collect())
    }

    /// Records places, and up to which number a device's feed was read, in one write. Returns the blobs that have a
    /// place now.
    pub(crate) fn note(
        &self,
        team: TeamId,
        places: Vec<(BlobId, Placed)>,
        read: Option<(DeviceId, u64)>,
    ) -> Result<Vec<BlobId>, StoreError> {
        let mut news: BTreeMap<BlobId, Placed> = BTreeMap::new();
        let mut blobs = Vec::new();
        for (blob, place) in places {
            if place.is_nowhere() {
                continue;
            }
            blobs.push(blob);
            let known = match news.get(&blob) {
                Some(known) => Some(known.clone()),
                None => self.get(team, blob)?,
            };
            if known.is_none_or(|known| place.is_news(&known)) {
                news.insert(blob, place);
            }
        }
        let places = news.into_iter();
        let mut records: Vec<_> = places
            .map(|(blob, place)| Record::put(placed_key(team, blob), place.encode()))
            .collect();
        if let Some((device, seq)) = read {
            let key = key(READ, team, device.as_bytes());
            records.push(Record::put(key, seq.to_be_bytes()));
        }
        self.0.commit(&records)?;
        Ok(blobs)
    }

    /// Forgets lost objects for these blobs. Returns the blobs that have no place any more.
    pub(crate) fn forget(
        &self,
        team: TeamId,
        blobs: &[BlobId],
        gone: &BTreeSet<ObjectRef>,
    ) -> Result<Vec<BlobId>, StoreError> {
        let mut records = Vec::new();
        let mut lost = Vec::new();
        for blob in blobs {
            let Some(mut place) = self.get(team, *blob)? else {
                continue;
            };
            let mut outboards = place.outboards();
            let before = outboards.len();
            outboards.retain(|object| !gone.contains(object));
            let is_lost = gone.contains(&place.object()) || (outboards.is_empty() && before > 0);
            if is_lost {
                lost.push(*blob);
                records.push(Record::delete(placed_key(team, *blob)));
            } else if outboards.len() < before {
                place.outboards = placed_outboards(outboards.iter());
                records.push(Record::put(placed_key(team, *blob), place.encode()));
            }
        }
        self.0.commit(&records)?;
        Ok(lost)
    }

    /// Begins with a hub, and forgets what another hub said. Returns whether there was another.
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

fn placed_outboards<'a>(
    objects: impl Iterator<Item = &'a ObjectRef>,
) -> Bounded<PlacedOutboards, MAX_ENTRY_OUTBOARDS> {
    Bounded::first(objects.map(|object| PlacedOutboards {
        sha256: *object.id.sha256.as_bytes(),
        size: object.id.size,
        generation: object.generation,
    }))
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
    fn an_older_entry_that_is_read_later_leads_nowhere() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(&folder.path().join("home"), "a test").unwrap();
        let places = Placements::new(Log::open(&home).unwrap());
        let (team, blob) = (TeamId::from_bytes([1; 32]), BlobId::from_bytes([2; 32]));
        let mut nowhere = placed(4, 0, 0);
        nowhere.sha256 = NOWHERE;
        let read = vec![
            (blob, placed(4, 2, 1)),
            (blob, placed(4, 1, 1)),
            (blob, nowhere.clone()),
        ];
        places.note(team, read, None).unwrap();
        assert_eq!(places.get(team, blob).unwrap(), Some(placed(4, 2, 1)));
        let older = vec![(blob, placed(4, 0, 0)), (blob, nowhere.clone())];
        places.note(team, older, None).unwrap();
        assert_eq!(places.get(team, blob).unwrap(), Some(placed(4, 2, 1)));
        let other = BlobId::from_bytes([3; 32]);
        places.note(team, vec![(other, nowhere)], None).unwrap();
        assert_eq!(places.get(team, other).unwrap(), None);
    }

    #[test]
    fn what_is_gone_is_forgotten_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home::open(&folder.path().join("home"), "a test").unwrap();
        let places = Placements::new(Log::open(&home).unwrap());
        let team = TeamId::from_bytes([1; 32]);
        let [one, two, three] = [2, 3, 4].map(|id| BlobId::from_bytes([id; 32]));
        let outboards = placed(4, 0, 1).outboards();
        let mut lent = placed(6, 0, 2);
        lent.outboards = placed_outboards([&placed(5, 7, 0).object(), &outboards[0]].into_iter());
        let noted = vec![
            (one, placed(4, 0, 1)),
            (two, lent.clone()),
            (three, placed(7, 0, 0)),
        ];
        places.note(team, noted, None).unwrap();
        let gone = [outboards[0], placed(7, 0, 0).object()];
        let lost = places.forget(team, &[one, two, three], &gone.into_iter().collect());
        assert_eq!(lost.unwrap(), [one, three]);
        assert_eq!(places.get(team, one).unwrap(), None);
        let left = places.get(team, two).unwrap().unwrap();
        assert_eq!((left.object(), left.outboards().len()), (lent.object(), 1));
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

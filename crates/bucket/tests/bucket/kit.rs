//! A team at a hub, its devices as clients, and packs that no two seeds share a part of.

use std::{
    io,
    sync::{Mutex, Once},
    time::Duration,
};

use bao_tree::io::BaoContentItem;
use bytes::Bytes;
use podsync_api::hub::{ObjectId, ObjectKind, ObjectRef, PostOperations, Sha256};
use podsync_bucket::{Hub, HubAddress, Location, OutboardsBuilder, Patience, Sink, Upload, Want};
use podsync_core::{
    BlobId, DeviceLabel, MemberName, TeamId, TeamName,
    keys::DeviceSecret,
    membership::{Author, Enrolment, KeyRing, Membership, Role, author},
    seal::SecretKey,
    signed::verify,
};
use podsync_hub::testing::TestHub;
use sha2::Digest;

pub(crate) const MIB: u64 = 1 << 20;

/// The device of a number.
pub(crate) fn device(number: u8) -> DeviceSecret {
    DeviceSecret::from_seed([number + 1; 32])
}

fn enrolment(number: u8) -> Enrolment {
    let secret = device(number);
    Enrolment {
        device: secret.id(),
        box_key: secret.box_key(),
        member: MemberName::new(format!("member{number}")).unwrap(),
        label: DeviceLabel::new("laptop").unwrap(),
    }
}

/// A team that device 0 founded, with a publisher 1 and a reader 2.
pub(crate) struct Team {
    pub(crate) id: TeamId,
    pub(crate) operations: Vec<Vec<u8>>,
}

impl Team {
    pub(crate) fn new() -> Self {
        let founder = enrolment(0);
        let team = author::NewTeam {
            name: TeamName::new("payments").unwrap(),
            member: founder.member,
            label: founder.label,
            recovery: device(200).public(),
        };
        let key = SecretKey::from_bytes([0xf0; 32]);
        let found = author::found(&device(0), team, &key, [5; 32], &[6; 32]).unwrap();
        let mut membership = Membership::new(verify(&found).unwrap()).unwrap();
        let mut keys = KeyRing::default();
        keys.insert(key);
        let mut operations = vec![found];
        for (number, role) in [(1, Role::Publisher), (2, Role::Reader)] {
            let founder = device(0);
            let author = Author::new(&founder, &membership, &keys);
            let operation = author.add(enrolment(number), role, &[number; 32]).unwrap();
            membership.insert(verify::<podsync_core::membership::Operation>(&operation).unwrap());
            operations.push(operation);
        }
        Self {
            id: membership.team(),
            operations,
        }
    }

    /// A team whose operations the hub has.
    pub(crate) async fn at(hub: &TestHub) -> Self {
        let team = Self::new();
        let known = team.client(hub, 0).post_operations(&team.post()).await;
        assert_eq!(known.unwrap().len(), 1);
        team
    }

    pub(crate) fn post(&self) -> PostOperations {
        PostOperations {
            operations: self.operations.iter().map(Into::into).collect(),
        }
    }

    pub(crate) fn client(&self, hub: &TestHub, number: u8) -> Hub {
        self.client_at(&hub.url(), number)
    }

    pub(crate) fn client_at(&self, url: &str, number: u8) -> Hub {
        client(url, self.id, number, hasty())
    }
}

/// Patience of a test: as many tries, without their pauses.
pub(crate) fn hasty() -> Patience {
    Patience {
        first_pause: Duration::from_millis(1),
        longest_pause: Duration::from_millis(10),
        ..Patience::default()
    }
}

pub(crate) fn client(url: &str, team: TeamId, number: u8, patience: Patience) -> Hub {
    static TLS: Once = Once::new();
    TLS.call_once(|| {
        let _ = rustls::crypto::ring::default_provider().install_default();
    });
    let address: HubAddress = url.parse().unwrap();
    Hub::with_patience(address, team, device(number), patience).unwrap()
}

pub(crate) fn bytes(seed: u8, len: u64) -> Bytes {
    let mut bytes = vec![0; len as usize];
    let mut reader = blake3::Hasher::new_keyed(&[seed; 32]).finalize_xof();
    reader.fill(&mut bytes);
    bytes.into()
}

pub(crate) fn object(kind: ObjectKind, bytes: &[u8]) -> ObjectId {
    ObjectId {
        kind,
        sha256: Sha256::from_bytes(sha2::Sha256::digest(bytes).into()),
        size: bytes.len() as u64,
    }
}

pub(crate) fn pack(bytes: &Bytes) -> Upload {
    Upload::of_bytes(ObjectKind::Pack, bytes.clone())
}

pub(crate) fn nobody(_: &ObjectId, _: u64) {}

/// Uploads packs, then their outboards; where all of them lie.
pub(crate) async fn share(hub: &Hub, packs: &[Bytes]) -> (Vec<ObjectRef>, ObjectRef) {
    let uploads: Vec<_> = packs.iter().map(pack).collect();
    let placed = hub.upload(&uploads, nobody).await.unwrap();
    let mut builder = OutboardsBuilder::new();
    for (upload, bytes) in uploads.iter().zip(packs) {
        builder.add(upload, BlobId::of(bytes)).await.unwrap();
    }
    let built = builder.finish().unwrap();
    let outboards = hub.upload(&[built.upload], nobody).await.unwrap();
    (placed, outboards[0])
}

pub(crate) fn location(bytes: &[u8], kind: ObjectKind) -> Location {
    let object = object(kind, bytes);
    Location {
        kind,
        sha256: object.sha256,
        generation: None,
        blob: BlobId::of(bytes),
        len: object.size,
    }
}

/// What is wanted of a pack, with its true outboard.
pub(crate) fn want(bytes: &[u8], ranges: &[std::ops::Range<u64>]) -> Want {
    let (_, outboard) = podsync_bucket::pack_outboard(bytes, bytes.len() as u64).unwrap();
    Want {
        location: location(bytes, ObjectKind::Pack),
        ranges: ranges.to_vec(),
        outboard: outboard.into(),
    }
}

/// Keeps what it takes, and checks that it is what it should be.
#[derive(Default)]
pub(crate) struct Taken {
    whole: Bytes,
    pub(crate) leaves: Mutex<Vec<std::ops::Range<u64>>>,
}

impl Taken {
    pub(crate) fn of(whole: &Bytes) -> Self {
        Self {
            whole: whole.clone(),
            leaves: Mutex::default(),
        }
    }

    /// The bytes that were taken, as ranges that touch nobody.
    pub(crate) fn ranges(&self) -> Vec<std::ops::Range<u64>> {
        let mut ranges: Vec<std::ops::Range<u64>> = Vec::new();
        for leaf in self.leaves.lock().unwrap().iter() {
            match ranges.last_mut() {
                Some(last) if last.end == leaf.start => last.end = leaf.end,
                _ => ranges.push(leaf.clone()),
            }
        }
        ranges
    }
}

impl Sink for Taken {
    async fn take(&mut self, item: BaoContentItem) -> io::Result<()> {
        if let BaoContentItem::Leaf(leaf) = item {
            let range = leaf.offset..leaf.offset + leaf.data.len() as u64;
            assert_eq!(
                leaf.data,
                self.whole[range.start as usize..range.end as usize]
            );
            self.leaves.lock().unwrap().push(range);
        }
        Ok(())
    }
}

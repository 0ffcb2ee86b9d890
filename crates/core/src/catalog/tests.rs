//! Which version of a pod is its newest, where older states were shared late.

use super::*;
use crate::{
    bounded::Bounded,
    feed::{Header, Kind},
    id::{EpochId, OpId, TeamId},
    seal::SecretKey,
};

const HOUR_MS: u64 = 3_600_000;

fn pod() -> PodName {
    "orders".parse().unwrap()
}

fn version(n: u64) -> VersionId {
    VersionId::of(&n.to_le_bytes())
}

fn fact(n: u64, kind: Kind, body: Body) -> Fact {
    let mut device = [u8::from(kind == Kind::Drop); 32];
    device[..8].copy_from_slice(&n.to_le_bytes());
    let manifest = BlobRef {
        id: BlobId::of(&n.to_le_bytes()),
        len: 1,
    };
    let header = Header {
        team: TeamId::of(b"team"),
        device: DeviceId::from_bytes(device),
        seq: 1,
        previous: None,
        membership: Bounded::first([OpId::of(b"operation")]),
        epoch: EpochId::of(b"epoch"),
        blobs: Bounded::first((kind == Kind::Publish).then_some(manifest)),
        kind,
    };
    let key = SecretKey::from_bytes([9; 32]);
    Fact {
        entry: Arc::new(Entry::write(&header, &body, &key, [3; 32]).unwrap()),
        body,
        author: "alice".parse().unwrap(),
        admin: true,
    }
}

/// Version `number`, saved at an hour and made of others. `id` tells versions of one number apart.
fn published(id: u64, number: u64, hour: u64, parents: &[u64]) -> Fact {
    let body = Body::Publish(Publication {
        pod: pod(),
        number,
        version: version(id),
        parents: Bounded::first(parents.iter().copied().map(version)),
        message: String::new(),
        services: Bounded::default(),
        emulator: None,
        created_ms: hour * HOUR_MS,
        state_len: 1,
        entry_count: 1,
        tags: Bounded::default(),
        supersedes: Bounded::default(),
    });
    fact(id, Kind::Publish, body)
}

fn dropped(id: u64) -> Fact {
    let body = Body::Drop {
        pod: pod(),
        version: version(id),
    };
    fact(id, Kind::Drop, body)
}

/// The same whatever the order of the entries.
fn tips(facts: &[Fact]) -> Vec<VersionId> {
    let tips = |facts: &mut dyn Iterator<Item = &Fact>| {
        let mut catalog = Catalog::default();
        for fact in facts {
            catalog.apply(fact.clone());
        }
        let tips = catalog.tips(&pod()).into_iter();
        tips.map(VersionRecord::version).collect::<Vec<_>>()
    };
    let found = tips(&mut facts.iter());
    assert_eq!(tips(&mut facts.iter().rev()), found);
    found
}

#[test]
fn an_older_state_that_is_shared_late_is_never_the_newest() {
    let first = published(1, 1, 10, &[]);
    let late = published(2, 2, 9, &[]);
    assert_eq!(tips(&[first.clone(), late.clone()]), [version(1)]);
    let next = published(3, 3, 11, &[1, 2]);
    assert_eq!(tips(&[first.clone(), late.clone(), next]), [version(3)]);
    // Where nothing newer is left it is what there is.
    assert_eq!(tips(&[first, late, dropped(1)]), [version(2)]);
}

#[test]
fn a_late_state_that_was_made_of_an_old_version_is_never_the_newest() {
    let facts = [
        published(1, 1, 8, &[]),
        published(2, 2, 10, &[1]),
        published(3, 3, 9, &[1]),
    ];
    assert_eq!(tips(&facts), [version(2)]);
}

#[test]
fn versions_made_apart_are_all_tips_whatever_their_times() {
    // Alice shared three in a row while bob, who knew of the first alone, shared one.
    let facts = [
        published(1, 1, 8, &[]),
        published(2, 2, 9, &[1]),
        published(3, 3, 10, &[2]),
        published(4, 2, 12, &[1]),
    ];
    assert_eq!(tips(&facts), [version(4), version(3)]);
    // A clock that is behind makes no older state of what follows.
    let facts = [published(1, 1, 10, &[]), published(2, 2, 9, &[1])];
    assert_eq!(tips(&facts), [version(2)]);
}

#[test]
fn no_set_of_times_leaves_a_pod_without_a_newest_version() {
    // The one that hides the other descends from nothing that is later.
    let facts = [
        published(1, 1, 12, &[]),
        published(2, 2, 11, &[]),
        published(3, 4, 5, &[1]),
    ];
    assert!(!tips(&facts).is_empty());
    assert_eq!(tips(&facts), [version(2)], "the later one of the two");
}

#[test]
fn all_exact_references_of_a_pod_are_those_of_its_versions() {
    let mut catalog = Catalog::default();
    for (id, number) in [(1, 1), (2, 2), (3, 3), (4, 2), (5, 4)] {
        let mut fact = published(id, number, 8 + id, &[]);
        if id == 3 {
            fact.author = "bob".parse().unwrap();
        }
        catalog.apply(fact);
    }
    let all = catalog.exact_references(&pod());
    assert_eq!(all.len(), 5);
    for (record, reference) in all {
        assert_eq!(catalog.exact_reference(record), reference);
        let resolved = catalog.resolve(&reference.parse().unwrap());
        assert!(
            matches!(&resolved, Resolution::Shared(found) if found.version() == record.version()),
            "{reference}: {resolved:?}"
        );
    }
}

//! For any pod and policy: required versions stay, all members get the same result, and dropping
//! released versions releases no others.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{
    bounded::Bounded,
    catalog::Fact,
    feed::{BlobRef, Body, Entry, Header, Kind, Publication},
    id::{BlobId, DeviceId, EpochId, OpId, TeamId},
    name::TagName,
    seal::SecretKey,
};

const HOUR_MS: u64 = 60 * 60 * 1000;
const NOW_MS: u64 = 1_800_000_000_000;

fn pod() -> PodName {
    PodName::new("orders").unwrap()
}

/// One version: its age in hours, the earlier versions it follows, and whether it is tagged.
#[derive(Debug, Clone)]
struct Made {
    hours: u64,
    follows: Vec<prop::sample::Index>,
    tagged: bool,
}

fn made() -> impl Strategy<Value = Vec<Made>> {
    let one = (
        0..24 * 40_u64,
        prop::collection::vec(any::<prop::sample::Index>(), 0..3),
        prop::bool::weighted(0.2),
    );
    let one = one.prop_map(|(hours, follows, tagged)| Made {
        hours,
        follows,
        tagged,
    });
    prop::collection::vec(one, 0..24)
}

fn policy() -> impl Strategy<Value = Policy> {
    let count = || prop::option::of(1..6_u32);
    (count(), count(), any::<bool>(), 0..72_u64).prop_filter_map("keeps nothing", |policy| {
        let (last, daily, tagged, hours) = policy;
        Policy::new(last, daily, tagged, Duration::from_millis(hours * HOUR_MS)).ok()
    })
}

fn version(at: usize) -> VersionId {
    VersionId::of(&at.to_le_bytes())
}

/// The entries of the versions, each by its own device, so that any number of them may be alike.
fn facts(made: &[Made]) -> Vec<Fact> {
    let write = |(at, made): (usize, &Made)| {
        let parents: BTreeSet<VersionId> = made
            .follows
            .iter()
            .filter(|_| at > 0)
            .map(|index| version(index.index(at)))
            .collect();
        let tag = TagName::new(format!("tag-{at}")).unwrap();
        let body = Body::Publish(Publication {
            pod: pod(),
            number: at as u64 + 1,
            version: version(at),
            parents: Bounded::first(parents),
            message: String::new(),
            services: Bounded::default(),
            emulator: None,
            created_ms: NOW_MS - made.hours * HOUR_MS,
            state_len: 1,
            entry_count: 1,
            tags: Bounded::first(made.tagged.then_some(tag)),
            supersedes: Bounded::default(),
        });
        fact(at, Kind::Publish, body)
    };
    made.iter().enumerate().map(write).collect()
}

fn fact(at: usize, kind: Kind, body: Body) -> Fact {
    let mut device = [u8::from(kind == Kind::Drop); 32];
    device[..8].copy_from_slice(&at.to_le_bytes());
    let manifest = BlobRef {
        id: BlobId::of(&at.to_le_bytes()),
        len: 1,
    };
    let blobs = Bounded::first((kind == Kind::Publish).then_some(manifest));
    let header = Header {
        team: TeamId::of(b"team"),
        device: DeviceId::from_bytes(device),
        seq: 1,
        previous: None,
        membership: Bounded::first([OpId::of(b"operation")]),
        epoch: EpochId::of(b"epoch"),
        kind,
        blobs,
    };
    let key = SecretKey::from_bytes([9; 32]);
    let entry = Entry::write(&header, &body, &key, [3; 32]).unwrap();
    Fact {
        entry: Arc::new(entry),
        body,
        author: "alice".parse().unwrap(),
        admin: true,
    }
}

fn catalog(facts: impl IntoIterator<Item = Fact>) -> Catalog {
    let mut catalog = Catalog::default();
    for fact in facts {
        catalog.apply(fact);
    }
    catalog
}

fn let_go(policy: &Policy, catalog: &Catalog, now_ms: u64) -> Vec<VersionId> {
    let records = policy.lets_go(catalog, &pod(), now_ms);
    records.into_iter().map(VersionRecord::version).collect()
}

proptest! {
    #[test]
    fn tips_tagged_and_young_versions_stay(made in made(), policy in policy()) {
        let catalog = catalog(facts(&made));
        let gone = let_go(&policy, &catalog, NOW_MS);
        for tip in catalog.tips(&pod()) {
            prop_assert!(!gone.contains(&tip.version()));
        }
        for version in catalog.tags(&pod()).values().filter(|_| policy.tagged) {
            prop_assert!(!gone.contains(version));
        }
        for record in catalog.versions(&pod()) {
            let age = NOW_MS - record.publication.created_ms;
            prop_assert!(u128::from(age) >= policy.grace.as_millis() || !gone.contains(&record.version()));
        }
        let left = made.len() - gone.len();
        let last = policy.last.map_or(0, NonZeroU32::get) as usize;
        prop_assert!(left >= last.min(made.len()));
        let days: BTreeSet<u64> = catalog
            .versions(&pod())
            .iter()
            .map(|record| record.publication.created_ms / DAY_MS)
            .collect();
        prop_assert!(left >= days.len().min(policy.daily.map_or(0, NonZeroU32::get) as usize));
    }

    /// The order in which a catalog gets entries makes no difference.
    #[test]
    fn everybody_comes_to_the_same(made in made(), policy in policy(), turn in any::<prop::sample::Index>()) {
        let one = catalog(facts(&made));
        let mut turned = facts(&made);
        if !turned.is_empty() {
            let by = turn.index(turned.len());
            turned.rotate_left(by);
            turned.reverse();
        }
        prop_assert_eq!(
            let_go(&policy, &one, NOW_MS),
            let_go(&policy, &catalog(turned), NOW_MS)
        );
    }

    /// Some are dropped, by one daemon or by two at once: that releases no other version.
    #[test]
    fn dropping_brings_nothing_else_down(
        made in made(),
        policy in policy(),
        some in prop::collection::vec(any::<bool>(), 24),
    ) {
        let mut catalog = catalog(facts(&made));
        let due = let_go(&policy, &catalog, NOW_MS);
        let mut left = Vec::new();
        for (at, (version, now)) in due.iter().zip(&some).enumerate() {
            if !now {
                left.push(*version);
                continue;
            }
            for twice in 0..2 {
                let body = Body::Drop { pod: pod(), version: *version };
                catalog.apply(fact(1000 + 2 * at + twice, Kind::Drop, body));
            }
        }
        prop_assert_eq!(let_go(&policy, &catalog, NOW_MS), left);
    }

    /// A member whose clock is behind releases fewer versions, never other ones.
    #[test]
    fn what_may_go_may_go_later_too(made in made(), policy in policy(), hours in 0..100_u64) {
        let catalog = catalog(facts(&made));
        let later = let_go(&policy, &catalog, NOW_MS + hours * HOUR_MS);
        for version in let_go(&policy, &catalog, NOW_MS) {
            prop_assert!(later.contains(&version));
        }
    }

    #[test]
    fn a_policy_reads_back(policy in policy()) {
        let policy = Policy { grace: Duration::from_secs(policy.grace.as_secs()), ..policy };
        prop_assert_eq!(policy.to_string().parse(), Ok(policy));
    }

    #[test]
    fn any_text_is_read_without_a_panic(text in "[a-z0-9=+ -]{0,60}") {
        let _ = text.parse::<Policy>();
    }
}

#[test]
fn a_daily_and_a_last_version_of_a_line() {
    // Two versions a day, ten days: the last two, and the evening's of the last four days.
    let made: Vec<_> = (0..20)
        .map(|at| Made {
            hours: 240 - 12 * at,
            follows: Vec::new(),
            tagged: at == 1,
        })
        .collect();
    let mut facts = facts(&made);
    for (at, fact) in facts.iter_mut().enumerate().skip(1) {
        let Body::Publish(publication) = &mut fact.body else {
            unreachable!("only publications were made")
        };
        publication.parents = Bounded::first([version(at - 1)]);
    }
    let catalog = catalog(facts);
    let policy: Policy = "last=2 daily=4 tagged".parse().unwrap();
    let gone = let_go(&policy, &catalog, NOW_MS);
    let kept: Vec<usize> = (0..20).filter(|at| !gone.contains(&version(*at))).collect();
    assert_eq!(kept.first(), Some(&1), "the tagged one: {kept:?}");
    assert_eq!(kept[kept.len() - 2..], [18, 19]);
    assert!((6..=7).contains(&kept.len()), "{kept:?}");
}

#[test]
fn nonsense_is_no_policy() {
    for text in [
        "",
        "tagged",
        "last=0",
        "last=-1",
        "last=+1",
        "last=1.5",
        "last=",
        "last=100001",
        "daily=99999999999",
        "last=1 last=2",
        "last=1 weekly=3",
        "last=1 tagged=no",
        "last=1 grace=x",
        "last=1 grace=99999999999999999999",
        "last=1 grace=9999999999",
    ] {
        assert!(text.parse::<Policy>().is_err(), "{text:?}");
    }
}

//! Entries and chains: what is refused, what proves a fork, and independence of order.

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::{keys::DeviceSecret, membership::LastEntry, signed::Verified};

fn secret() -> DeviceSecret {
    DeviceSecret::from_seed([7; 32])
}

fn team() -> TeamId {
    TeamId::of(b"team")
}

fn key() -> SecretKey {
    SecretKey::from_bytes([9; 32])
}

fn header(seq: u64, previous: Option<EntryHash>) -> Header {
    Header {
        team: team(),
        device: secret().id(),
        seq,
        previous,
        membership: Bounded::first([OpId::of(b"operation")]),
        epoch: EpochId::of(b"epoch"),
        kind: Kind::Drop,
        blobs: Bounded::default(),
    }
}

/// An entry whose content depends on `word`.
fn entry(seq: u64, previous: Option<EntryHash>, word: &str) -> Arc<Entry> {
    let body = Body::Drop {
        pod: PodName::new("orders").unwrap(),
        version: VersionId::of(word.as_bytes()),
    };
    Arc::new(Entry::write(&header(seq, previous), &body, &key(), [3; 32]).unwrap())
}

/// Entries 1..=`len` on one chain; from `fork` on they say what `word` says.
fn chain(len: u64, fork: u64, word: &str) -> Vec<Arc<Entry>> {
    let mut entries: Vec<Arc<Entry>> = Vec::new();
    for seq in 1..=len {
        let previous = entries.last().map(|entry| entry.hash());
        let word = if seq >= fork { word } else { "trunk" };
        entries.push(entry(seq, previous, word));
    }
    entries
}

fn head(entry: &Entry) -> Verified<Head> {
    let head = Head {
        seq: entry.header().seq,
        entry: entry.hash(),
    };
    crate::signed::verify(&secret().sign(team(), &head)).unwrap()
}

fn feed() -> Feed {
    Feed::new(secret().id())
}

mod entries {
    use super::*;

    fn publication() -> Publication {
        Publication {
            pod: PodName::new("orders").unwrap(),
            number: 1,
            version: VersionId::of(b"version"),
            parents: Bounded::default(),
            message: "dead letters pile up".into(),
            services: Bounded::first(["s3".to_owned(), "sqs".to_owned()]),
            emulator: Some(Emulator {
                name: "localstack".into(),
                version: "4.14.0".into(),
            }),
            created_ms: 1_700_000_000_000,
            state_len: 12,
            entry_count: 1,
            tags: Bounded::first([TagName::new("baseline").unwrap()]),
            supersedes: Bounded::default(),
        }
    }

    fn publishing() -> Header {
        let blobs = [
            BlobRef {
                id: BlobId::of(b"manifest"),
                len: 500,
            },
            BlobRef {
                id: BlobId::of(b"pack"),
                len: PACK_MAX_LEN,
            },
        ];
        Header {
            kind: Kind::Publish,
            blobs: Bounded::first(blobs),
            ..header(1, None)
        }
    }

    #[test]
    fn a_body_is_read_with_its_epochs_key_only() {
        let body = Body::Publish(publication());
        let entry = Entry::write(&publishing(), &body, &key(), [3; 32]).unwrap();
        assert_eq!(entry.open(&key()), Ok(body));
        assert!(matches!(
            entry.open(&SecretKey::from_bytes([1; 32])),
            Err(EntryError::Seal(_))
        ));
    }

    #[test]
    fn every_changed_byte_is_another_entry_or_none() {
        let body = Body::Publish(publication());
        let entry = Entry::write(&publishing(), &body, &key(), [3; 32]).unwrap();
        for at in 0..entry.bytes().len() {
            let mut bytes = entry.bytes().to_vec();
            bytes[at] ^= 1;
            if let Ok(changed) = Entry::decode(&bytes) {
                assert_ne!(changed.hash(), entry.hash());
                assert!(
                    changed.open(&key()).is_err(),
                    "byte {at} of header or body is not sealed"
                );
            }
            assert!(Entry::decode(&entry.bytes()[..at]).is_err(), "cut at {at}");
        }
    }

    #[test]
    fn a_body_must_be_what_its_header_says() {
        let body = Body::Drop {
            pod: PodName::new("orders").unwrap(),
            version: VersionId::of(b"v"),
        };
        let entry = Entry::write(&publishing(), &body, &key(), [3; 32]).unwrap();
        assert!(matches!(entry.open(&key()), Err(EntryError::Impossible(_))));
    }

    #[test]
    fn a_drop_names_what_it_ends_in_the_clear() {
        let ended = EntryHash::of(b"a publication");
        let header = Header {
            kind: Kind::Retire(Bounded::first([ended])),
            blobs: Bounded::default(),
            ..publishing()
        };
        let body = Body::Drop {
            pod: PodName::new("orders").unwrap(),
            version: VersionId::of(b"v"),
        };
        let entry = Entry::write(&header, &body, &key(), [3; 32]).unwrap();
        assert_eq!(entry.retires(), [ended]);
        assert_eq!(entry.open(&key()), Ok(body));
        let publication = Body::Publish(publication());
        let other = Entry::write(&header, &publication, &key(), [3; 32]).unwrap();
        assert!(other.open(&key()).is_err(), "only a drop's body fits");
    }

    #[test]
    fn impossible_headers_are_refused() {
        let blob = |len| BlobRef {
            id: BlobId::of(b"blob"),
            len,
        };
        let blobs = |blobs: Vec<BlobRef>| Header {
            blobs: Bounded::first(blobs),
            ..publishing()
        };
        let some = Some(EntryHash::of(b"before"));
        for (what, header) in [
            ("number 0", header(0, some)),
            ("a first entry after another", header(1, some)),
            ("a second entry after none", header(2, None)),
            ("the last number there is", header(u64::MAX, some)),
            ("a publication without a manifest", blobs(vec![])),
            ("an empty manifest", blobs(vec![blob(0)])),
            (
                "a manifest as long as a pack",
                blobs(vec![blob(PACK_MAX_LEN)]),
            ),
            ("an empty pack", blobs(vec![blob(5), blob(0)])),
            (
                "a pack that is too long",
                blobs(vec![blob(5), blob(PACK_MAX_LEN + 1)]),
            ),
            (
                "a drop with blobs",
                Header {
                    kind: Kind::Drop,
                    ..publishing()
                },
            ),
        ] {
            let envelope = Envelope {
                header: header.encode().into(),
                sealed_body: vec![0; 64].into(),
            };
            assert!(
                matches!(
                    Entry::decode(&envelope.encode()),
                    Err(EntryError::Impossible(_))
                ),
                "{what}"
            );
        }
    }

    #[test]
    fn impossible_bodies_are_not_written() {
        let long = "x".repeat(200);
        for (what, publication) in [
            (
                "number 0",
                Publication {
                    number: 0,
                    ..publication()
                },
            ),
            (
                "no number after it",
                Publication {
                    number: u64::MAX,
                    ..publication()
                },
            ),
            (
                "a long message",
                Publication {
                    message: "m".repeat(MAX_MESSAGE_LEN + 1),
                    ..publication()
                },
            ),
            (
                "a long service",
                Publication {
                    services: Bounded::first([long.clone()]),
                    ..publication()
                },
            ),
            (
                "a long emulator",
                Publication {
                    emulator: Some(Emulator {
                        name: long,
                        version: "1".into(),
                    }),
                    ..publication()
                },
            ),
            (
                "its own parent",
                Publication {
                    parents: Bounded::first([VersionId::of(b"version")]),
                    ..publication()
                },
            ),
        ] {
            let written = Entry::write(&publishing(), &Body::Publish(publication), &key(), [3; 32]);
            assert!(matches!(written, Err(EntryError::Impossible(_))), "{what}");
        }
    }

    #[test]
    fn the_largest_version_fits() {
        let blobs = (0..MAX_BLOBS as u64).map(|n| BlobRef {
            id: BlobId::of(&n.to_le_bytes()),
            len: if n == 0 { 1000 } else { PACK_MAX_LEN },
        });
        let header = Header {
            blobs: Bounded::first(blobs),
            ..publishing()
        };
        let body = Body::Publish(Publication {
            message: "m".repeat(MAX_MESSAGE_LEN),
            parents: Bounded::first((0..MAX_PARENTS).map(|n| VersionId::of(&[n as u8]))),
            ..publication()
        });
        let entry = Entry::write(&header, &body, &key(), [3; 32]).unwrap();
        assert_eq!(entry.header().blobs.len(), MAX_BLOBS);
        assert_eq!(entry.open(&key()), Ok(body));
    }

    proptest! {
        #[test]
        fn any_bytes_are_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            prop_assert!(Entry::decode(&bytes).is_err());
        }

        #[test]
        fn any_body_round_trips(message in ".{0,100}", number in 1..u64::MAX, state_len: u64, salt: [u8; 32]) {
            let body = Body::Publish(Publication { message, number, state_len, ..publication() });
            let entry = Entry::write(&publishing(), &body, &key(), salt).unwrap();
            prop_assert_eq!(Entry::decode(entry.bytes()).unwrap().open(&key()), Ok(body));
        }
    }
}

#[test]
fn one_signature_proves_a_whole_feed_newest_first() {
    let entries = chain(4, 9, "");
    let mut feed = feed();
    assert_eq!(
        feed.add(entries[3].clone()),
        Added::Unwanted,
        "nothing leads to it yet"
    );
    assert_eq!(feed.add_head(head(&entries[3])), Added::New);
    assert_eq!(feed.gaps(), [(1, 4)]);
    assert_eq!(
        feed.add(entries[1].clone()),
        Added::Unwanted,
        "the chain hasn't come down to it"
    );
    for entry in entries.iter().rev() {
        assert_eq!(feed.add(entry.clone()), Added::New);
        assert_eq!(
            feed.counting().len() as u64,
            5 - entry.header().seq,
            "each counts at once"
        );
    }
    assert!(feed.is_complete() && feed.gaps().is_empty());
    assert_eq!(feed.add(entries[0].clone()), Added::Known);
}

#[test]
fn an_entry_with_a_wrong_previous_hash_is_not_of_this_feed() {
    let entries = chain(3, 9, "");
    let forged = entry(2, Some(EntryHash::of(b"somewhere else")), "forged");
    let mut feed = feed();
    feed.add_head(head(&entries[2]));
    feed.add(entries[2].clone());
    assert_eq!(feed.add(forged), Added::Unwanted);
    assert_eq!(feed.add(entries[1].clone()), Added::New);
}

#[test]
fn an_entry_of_another_device_is_unwanted() {
    let other = DeviceSecret::from_seed([8; 32]);
    let entries = chain(1, 9, "");
    let mut feed = Feed::new(other.id());
    feed.add_head(
        crate::signed::verify(&other.sign(
            team(),
            &Head {
                seq: 1,
                entry: entries[0].hash(),
            },
        ))
        .unwrap(),
    );
    assert_eq!(feed.add(entries[0].clone()), Added::Unwanted);
}

#[test]
fn a_head_never_goes_back() {
    let entries = chain(3, 9, "");
    let mut feed = feed();
    feed.add_head(head(&entries[2]));
    feed.add_head(head(&entries[0]));
    assert_eq!(feed.head().unwrap().value().seq, 3);
    for entry in entries.iter().rev() {
        feed.add(entry.clone());
    }
    assert!(feed.fork().is_none(), "the older head is on the chain");
    assert!(feed.second_head().is_none(), "and need not be kept");
}

#[test]
fn a_newer_head_keeps_what_is_here_below_the_gap() {
    let entries = chain(5, 9, "");
    let mut feed = feed();
    feed.add_head(head(&entries[1]));
    feed.add(entries[1].clone());
    feed.add(entries[0].clone());
    feed.add_head(head(&entries[4]));
    feed.add(entries[4].clone());
    assert_eq!(feed.gaps(), [(3, 4)]);
    assert_eq!(
        feed.second_head().unwrap().value().seq,
        2,
        "what lies below the gap is proved by it"
    );
    assert_eq!(feed.counting().len(), 3);
}

#[test]
fn two_heads_with_one_number_are_a_fork() {
    let (left, right) = (chain(2, 2, "left"), chain(2, 2, "right"));
    let mut feed = feed();
    feed.add_head(head(&left[1]));
    assert_eq!(feed.add_head(head(&right[1])), Added::Forked);
    assert_eq!(feed.fork().unwrap().seq, 2);
    assert!(feed.is_quarantined() && feed.counting().is_empty());
    assert!(
        feed.second_head().is_some(),
        "both heads are kept, to show others"
    );
}

#[test]
fn a_fork_deep_in_the_past_is_found_on_the_way_down() {
    let (left, right) = (chain(3, 2, "left"), chain(6, 2, "right"));
    let mut feed = feed();
    feed.add_head(head(&left[2]));
    for entry in left.iter().rev() {
        feed.add(entry.clone());
    }
    assert_eq!(
        feed.add_head(head(&right[5])),
        Added::New,
        "nothing speaks against it yet"
    );
    let found = right
        .iter()
        .rev()
        .map(|entry| feed.add(entry.clone()))
        .find(|a| *a == Added::Forked);
    assert_eq!(found, Some(Added::Forked));
    assert_eq!(
        feed.fork().unwrap().other.as_ref().unwrap().value().entry,
        left[2].hash()
    );
}

#[test]
fn a_restored_feed_is_what_it_was() {
    let (left, right) = (chain(3, 2, "left"), chain(4, 2, "right"));
    let mut before = feed();
    before.add_head(head(&left[2]));
    left.iter().rev().for_each(|entry| {
        before.add(entry.clone());
    });
    before.add_head(head(&right[3]));
    right.iter().rev().for_each(|entry| {
        before.add(entry.clone());
    });
    assert!(before.fork().is_some());

    let mut after = feed();
    let heads = [before.head(), before.second_head()];
    heads.into_iter().flatten().for_each(|head| {
        after.add_head(head.clone());
    });
    let mut entries: Vec<_> = before.entries().cloned().collect();
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.header().seq));
    entries.into_iter().for_each(|entry| after.restore(entry));
    assert!(after.fork().is_some());
    assert_eq!(after.entries().count(), before.entries().count());
    assert_eq!(
        after.head().unwrap().bytes(),
        before.head().unwrap().bytes()
    );
}

#[test]
fn an_admin_picks_a_branch_of_a_fork() {
    let (left, right) = (chain(3, 2, "left"), chain(3, 2, "right"));
    let mut feed = feed();
    feed.add_head(head(&left[2]));
    feed.add_head(head(&right[2]));
    let last = LastEntry {
        seq: 3,
        hash: right[2].hash(),
    };
    assert!(
        feed.gaps().is_empty(),
        "nothing of a forked feed is asked for"
    );
    feed.pick(Some(last));
    assert_eq!(feed.gaps(), [(1, 3)], "until a branch is picked");
    assert_eq!(feed.add(left[2].clone()), Added::Unwanted);
    for entry in right.iter().rev() {
        assert_eq!(feed.add(entry.clone()), Added::New);
    }
    assert_eq!(feed.counting_up_to(Some(last)).len(), 3);
    assert!(
        feed.counting_up_to(None).is_empty(),
        "a removal that names no entry leaves none"
    );
}

#[test]
fn a_flood_of_heads_takes_no_memory() {
    let mut feed = feed();
    for seq in (1..10_000).rev() {
        let claim = Head {
            seq,
            entry: EntryHash::of(&seq.to_le_bytes()),
        };
        feed.add_head(crate::signed::verify(&secret().sign(team(), &claim)).unwrap());
    }
    assert!(feed.gaps().len() < 16);
}

proptest! {
    /// Heads and entries of two branches in any order, each possibly repeated, as peers send them.
    #[test]
    fn forks_are_found_in_any_order(fork in 1_u64..5, left_len in 0_u64..3, right_len in 0_u64..3, order: u64) {
        let left = chain(fork + left_len, fork, "left");
        let right = chain(fork + right_len, fork, "right");
        let mut feed = feed();
        let mut heads = [head(left.last().unwrap()), head(right.last().unwrap())];
        if order % 2 == 1 {
            heads.reverse();
        }
        let mut entries: Vec<_> = left.iter().chain(&right).cloned().collect();
        let len = entries.len();
        entries.rotate_left(order as usize % len);
        feed.add_head(heads[0].clone());
        if order % 3 == 0 {
            for _ in 0..len {
                entries.iter().for_each(|entry| {
        feed.add(entry.clone());
    });
            }
            prop_assert!(feed.fork().is_none() && feed.is_complete());
        }
        feed.add_head(heads[1].clone());
        for _ in 0..len {
            entries.iter().for_each(|entry| {
        feed.add(entry.clone());
    });
        }
        prop_assert!(feed.is_quarantined());
        prop_assert!(feed.counting().is_empty());
    }
}

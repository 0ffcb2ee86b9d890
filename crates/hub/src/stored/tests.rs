//! Vectors, ways there and back, and broken copies.

use proptest::prelude::*;

use super::*;

fn device() -> DeviceId {
    podsync_core::keys::DeviceSecret::from_seed([7; 32]).id()
}

fn head() -> StoredHead {
    StoredHead {
        head: ByteBuf::from([1, 2, 3]),
        segments: Bounded::first([SegmentRef {
            first: 1,
            last: 3,
            hash: [9; 32],
            len: 300,
        }]),
        recent: Bounded::first([1u8, 2, 3].map(|n| EntryHash::from_bytes([n; 32]))),
    }
}

fn segment() -> Segment {
    Segment {
        entries: Bounded::first([StoredEntry {
            entry: ByteBuf::from([5; 3]),
            objects: Bounded::first([([6; 32], 0), ([7; 32], 300)]),
            outboards: Bounded::first([([8; 32], 1, 128)]),
        }]),
    }
}

#[test]
fn stored_formats_keep_their_bytes() {
    let hex = |bytes: Vec<u8>| HEXLOWER.encode(&bytes);
    let of = |byte: &str| byte.repeat(32);
    assert_eq!(
        hex(head().encode()),
        format!(
            "01030102030101 03{}ac0203{}{}{}",
            of("09"),
            of("01"),
            of("02"),
            of("03")
        )
        .replace(' ', "")
    );
    assert_eq!(
        hex(segment().encode()),
        format!(
            "010103050505 02{}00{}ac02 01{}018001",
            of("06"),
            of("07"),
            of("08")
        )
        .replace(' ', "")
    );
}

#[test]
fn keys_go_there_and_back() {
    let key = HeadKey {
        device: device(),
        seq: 255,
        entry: EntryHash::from_bytes([4; 32]),
    };
    let text = key.to_string();
    assert!(text.contains("/00000000000000ff."), "{text}");
    assert_eq!(text.parse(), Ok(key));
    for wrong in [
        text.replace("00ff", "00FF"),
        text.replace("/0000", "/000"),
        text.replace("heads/", "head/"),
        format!("{text}0"),
        String::new(),
    ] {
        assert_eq!(wrong.parse::<HeadKey>(), Err(ParseKeyError), "{wrong}");
    }
}

#[test]
fn a_head_knows_its_chain() {
    let stored = head();
    let hash = |n| EntryHash::from_bytes([n; 32]);
    assert_eq!(stored.hash_at(10, 10), Some(hash(3)));
    assert_eq!(stored.hash_at(10, 8), Some(hash(1)));
    assert_eq!(stored.hash_at(10, 7), None);
    assert_eq!(stored.hash_at(10, 11), None);
    let key = |seq, n| HeadKey {
        device: device(),
        seq,
        entry: hash(n),
    };
    assert!(stored.supersedes(&key(10, 3), &key(9, 2)));
    assert!(stored.supersedes(&key(10, 3), &key(2, 77)), "too long ago");
    assert!(!stored.supersedes(&key(10, 3), &key(9, 77)), "a fork stays");
    assert!(!stored.supersedes(&key(10, 3), &key(10, 4)), "a fork stays");
}

#[test]
fn another_segment_than_was_named_is_refused() {
    let bytes = segment().encode();
    let named = SegmentRef {
        first: 5,
        last: 5,
        hash: *blake3::hash(&bytes).as_bytes(),
        len: bytes.len() as u64,
    };
    assert_eq!(read_segment(&named, &bytes), Ok(segment()));
    assert!(read_segment(&SegmentRef { last: 6, ..named }, &bytes).is_err());
    for at in 0..bytes.len() {
        let mut bad = bytes.clone();
        bad[at] ^= 1;
        assert!(read_segment(&named, &bad).is_err(), "byte {at}");
        assert!(Segment::decode(&bytes[..at]).is_err(), "cut at {at}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_refused_or_are_the_format(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
        if let Ok(head) = StoredHead::decode(&bytes) {
            prop_assert_eq!(StoredHead::decode(&head.encode()), Ok(head));
        }
        if let Ok(segment) = Segment::decode(&bytes) {
            prop_assert_eq!(Segment::decode(&segment.encode()), Ok(segment));
        }
    }

    #[test]
    fn keys_sort_by_number(a in any::<u64>(), b in any::<u64>()) {
        let key = |seq| HeadKey { device: device(), seq, entry: EntryHash::from_bytes([0; 32]) }.to_string();
        prop_assert_eq!(a.cmp(&b), key(a).cmp(&key(b)));
    }
}

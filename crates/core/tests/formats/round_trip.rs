//! Every format's value survives a round trip, and no prefix of the bytes decodes.

use std::fmt::Debug;

use podsync_core::{
    VersionId,
    codec::{CodecError, Format},
    manifest::{ChunkLocation, MAX_MANIFEST_LEN, MAX_PACKS, Manifest, ManifestError},
};
use proptest::{prelude::*, test_runner::TestCaseError};

use crate::{arbitrary, samples};

/// A round trip. One byte less, one byte more and another version are refused.
fn there_and_back<T: Format + PartialEq + Debug>(value: &T) -> Result<(), TestCaseError> {
    let bytes = value.encode();
    let back = T::decode(&bytes);
    prop_assert!(back.as_ref() == Ok(value), "{back:?}");
    for len in 0..bytes.len() {
        prop_assert!(T::decode(&bytes[..len]).is_err(), "cut at {len}");
    }
    prop_assert!(T::decode(&[&bytes[..], &[0]].concat()).is_err());
    let newer = [&[T::VERSION + 1], &bytes[1..]].concat();
    prop_assert!(T::decode(&newer).is_err());
    Ok(())
}

macro_rules! round_trips {
    ($($name:ident),* $(,)?) => {
        proptest! {
            #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
            $(
                #[test]
                fn $name(value in arbitrary::$name()) {
                    there_and_back(&value)?;
                }
            )*
        }
    };
}

round_trips! {
    head, liveness, address_record, hub_moved, body, manifest, operation, invite_proof, membership_request,
    membership_response, gossip, heads_request, heads_response, entries_request, entries_response,
    have_request, have_response, private_version,
}

proptest! {
    #[test]
    fn chunk_rows(row in arbitrary::location()) {
        prop_assert_eq!(ChunkLocation::from_row(&row.to_row()), row);
    }

    /// Opening checks bounds too, so there is only one sample shape here.
    #[test]
    fn sealed_manifests(message in ".{0,200}", salt: [u8; 32]) {
        let manifest = Manifest { message, ..samples::manifest() };
        let (plain, version) = manifest.to_version();
        let sealed = Manifest::seal(&plain, &samples::key(), salt);
        prop_assert_eq!(Manifest::open(&sealed, &samples::key(), version), Ok(manifest));
        prop_assert!(Manifest::open(&sealed, &samples::key(), VersionId::of(b"another")).is_err());
    }
}

/// A value that no reader would accept is refused when it is written.
#[test]
fn a_manifest_beyond_its_bounds_is_not_written() {
    let sound = samples::manifest();
    assert_eq!(sound.to_sound_version(), Ok(sound.to_version()));

    let packs = vec![sound.packs[0].clone(); MAX_PACKS + 1];
    let many = Manifest {
        packs,
        ..samples::manifest()
    };
    let refused = many.to_sound_version();
    assert!(
        matches!(refused, Err(ManifestError::OutOfBounds(_))),
        "{refused:?}"
    );

    let mut large = samples::manifest();
    large.chunks.chunks = vec![large.chunks.chunks[0]; MAX_MANIFEST_LEN / 32];
    let refused = large.to_sound_version();
    assert!(
        matches!(
            refused,
            Err(ManifestError::Codec(CodecError::TooLarge { .. }))
        ),
        "{refused:?}"
    );
}

/// A length prefix beyond the data, at each place of a list.
#[test]
fn no_promise_of_length_is_believed() {
    for (name, bytes) in samples::all() {
        for at in 1..bytes.len().min(600) {
            let bad = [&bytes[..at], &[0xff; 9], &[0x01], &bytes[at..]].concat();
            for refused in decode_all(&bad) {
                assert!(refused, "{name}, at {at}");
            }
        }
    }
}

/// Whether each decoder of a message refuses these bytes or reads them within its bound.
fn decode_all(bytes: &[u8]) -> impl Iterator<Item = bool> {
    use podsync_core::wire::{Protocol, open_gossip, open_request, open_response};
    let opened = Protocol::ALL.into_iter().flat_map(|protocol| {
        [
            open_request(protocol, bytes).is_err(),
            open_response(protocol, bytes).is_err(),
        ]
    });
    let mut all: Vec<bool> = opened.collect();
    all.push(open_gossip(bytes).is_err());
    all.push(podsync_core::feed::Entry::decode(bytes).is_err());
    all.into_iter()
}

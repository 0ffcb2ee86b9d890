//! Golden vectors: `testdata/formats.txt` has the bytes of every sample.
//!
//! A failing test prints the current bytes; accept them only with a new format version and a note
//! on how old readers handle it.

use podsync_core::{
    VersionId,
    feed::{Body, Entry, Head},
    manifest::Manifest,
    moved::HubMoved,
    signed::verify,
    ticket::Ticket,
    wire::{AddressRecord, Liveness, Protocol, open_gossip, open_request, open_response},
};

use crate::samples;

/// Formats of older versions, which are only read now.
const NOT_WRITTEN: &str = "ticket-of-the-first-form ";
const VECTORS: &str = include_str!("../../testdata/formats.txt");

fn kept(name: &str) -> Vec<u8> {
    let line = VECTORS
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))
        .unwrap_or_else(|| panic!("no vector {name}"));
    data_encoding::HEXLOWER.decode(line.as_bytes()).unwrap()
}

#[test]
fn formats_keep_their_bytes() {
    let made: String = samples::all()
        .into_iter()
        .map(|(name, bytes)| format!("{name} {}\n", data_encoding::HEXLOWER.encode(&bytes)))
        .collect();
    let kept: String = VECTORS
        .lines()
        .filter(|line| !line.starts_with('#') && !line.starts_with(NOT_WRITTEN))
        .map(|line| format!("{line}\n"))
        .collect();
    assert!(made == kept, "the formats changed; made now:\n{made}");
}

/// All formats ever written are still read, to the last field.
#[test]
fn old_bytes_are_read() {
    let entry = Entry::decode(&kept("entry-publish")).unwrap();
    assert_eq!(
        entry.open(&samples::key()),
        Ok(Body::Publish(samples::publication()))
    );
    let head = verify::<Head>(&kept("head")).unwrap();
    assert_eq!(
        (head.signer(), *head.value()),
        (samples::signer(), samples::head())
    );
    let liveness = verify::<Liveness>(&kept("liveness")).unwrap();
    assert_eq!(*liveness.value(), samples::liveness());
    let record = verify::<AddressRecord>(&kept("address-record")).unwrap();
    assert_eq!(*record.value(), samples::address_record());
    let moved = verify::<HubMoved>(&kept("hub-moved")).unwrap();
    assert_eq!(*moved.value(), samples::hub_moved());
    let first = Ticket::decode(&kept("ticket-of-the-first-form")).unwrap();
    assert_eq!(first.addresses, ["/dns4/build.example/tcp/7637"]);
    assert_eq!(first.issuer, Some(samples::device().id()));
    assert_eq!(Ticket::decode(&kept("ticket")), Ok(samples::ticket()));
    let version = VersionId::of(&kept("manifest"));
    let manifest = Manifest::open(&kept("manifest-sealed"), &samples::key(), version);
    assert_eq!(manifest, Ok(samples::manifest()));
}

#[test]
fn every_message_of_the_wire_is_opened() {
    for name in ["gossip-announcement", "gossip-liveness", "gossip-addresses"] {
        open_gossip(&kept(name)).unwrap();
    }
    for (protocol, name) in [
        (Protocol::Heads, "heads-request"),
        (Protocol::Entries, "entries-request"),
        (Protocol::Have, "have-ask"),
        (Protocol::Have, "have-delta"),
        (Protocol::Have, "have-enough"),
    ] {
        open_request(protocol, &kept(name)).unwrap();
    }
    for (protocol, name) in [
        (Protocol::Heads, "heads-response"),
        (Protocol::Heads, "heads-refused"),
        (Protocol::Entries, "entries-response"),
        (Protocol::Entries, "entries-refused"),
        (Protocol::Have, "have-response"),
        (Protocol::Have, "have-noted"),
        (Protocol::Have, "have-refused"),
    ] {
        open_response(protocol, &kept(name)).unwrap();
    }
}

/// No byte under a signature or a seal can be changed.
#[test]
fn a_flipped_bit_is_noticed() {
    let flips = |bytes: Vec<u8>| {
        (0..bytes.len()).map(move |at| {
            let mut bad = bytes.clone();
            bad[at] ^= 1 << (at % 8);
            bad
        })
    };
    for bad in flips(kept("head")) {
        assert!(verify::<Head>(&bad).is_err());
    }
    for bad in flips(kept("liveness")) {
        assert!(verify::<Liveness>(&bad).is_err());
    }
    for bad in flips(kept("address-record")) {
        assert!(verify::<AddressRecord>(&bad).is_err());
    }
    for bad in flips(kept("hub-moved")) {
        assert!(verify::<HubMoved>(&bad).is_err());
    }
    let version = VersionId::of(&kept("manifest"));
    for bad in flips(kept("manifest-sealed")) {
        assert!(Manifest::open(&bad, &samples::key(), version).is_err());
    }
    for name in ["entry-publish", "entry-tag", "entry-drop", "entry-retire"] {
        let good = Entry::decode(&kept(name)).unwrap();
        for bad in flips(kept(name)) {
            if let Ok(bad) = Entry::decode(&bad) {
                assert_ne!(bad.hash(), good.hash());
                assert!(bad.open(&samples::key()).is_err());
            }
        }
    }
    for bad in flips(kept("gossip-announcement")) {
        // The entry in it isn't signed: it counts only under the hash that the head names.
        if let Ok(podsync_core::wire::GossipIn::Announcement { head, entry }) = open_gossip(&bad) {
            assert!(entry.is_none_or(|entry| entry.hash() != head.value().entry));
        }
    }
}

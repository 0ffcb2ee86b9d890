//! One value of each format, from fixed keys.

use podsync_core::{
    BlobId, ChunkId, ContentHash, DeviceId, EntryHash, EpochId, OpId, PodName, TagName, TeamId,
    VersionId,
    bounded::Bounded,
    catalog::PrivateVersion,
    codec::Format,
    feed::{BlobRef, Body, Entry, Head, Header, Kind, Publication, TagChange},
    keys::DeviceSecret,
    manifest::{ChunkLocation, Container, Emulator, Manifest, PackRef, Source, Table},
    moved::HubMoved,
    seal::SecretKey,
    ticket::{RecoveryKey, Ticket, TicketKind, TicketSecret},
    units::Units,
    wire::{
        AddressRecord, EntriesRequest, EntriesResponse, EntryRange, Gossip, Have, HaveRequest,
        HaveResponse, HeadsRequest, HeadsResponse, Liveness, Refusal,
    },
};
use serde_bytes::ByteBuf;

/// Unix milliseconds.
const CREATED_MS: u64 = 1_700_000_000_000;

pub(crate) fn device() -> DeviceSecret {
    DeviceSecret::from_seed([7; 32])
}

pub(crate) fn team() -> TeamId {
    TeamId::of(b"team")
}

pub(crate) fn key() -> SecretKey {
    SecretKey::from_bytes([9; 32])
}

fn blob(word: &str, len: u64) -> BlobRef {
    BlobRef {
        id: BlobId::of(word.as_bytes()),
        len,
    }
}

fn header(seq: u64, previous: Option<EntryHash>, kind: Kind, blobs: Vec<BlobRef>) -> Header {
    Header {
        team: team(),
        device: device().id(),
        seq,
        previous,
        membership: Bounded::first([OpId::of(b"operation")]),
        epoch: EpochId::of(b"epoch"),
        kind,
        blobs: Bounded::first(blobs),
    }
}

pub(crate) fn publication() -> Publication {
    Publication {
        pod: PodName::new("orders").unwrap(),
        number: 3,
        version: VersionId::of(b"version"),
        parents: Bounded::first([VersionId::of(b"parent")]),
        message: "dead letters pile up".into(),
        services: Bounded::first(["s3".to_owned(), "sqs".to_owned()]),
        emulator: Some(emulator()),
        created_ms: CREATED_MS,
        state_len: 0x0102_0304_0506,
        entry_count: 300,
        tags: Bounded::first([TagName::new("baseline").unwrap()]),
        supersedes: Bounded::first([EntryHash::of(b"earlier")]),
    }
}

fn emulator() -> Emulator {
    Emulator {
        name: "localstack".into(),
        version: "4.14.0".into(),
    }
}

/// A publication, a tag and a drop, on one chain.
pub(crate) fn entries() -> [Entry; 3] {
    let publish = Entry::write(
        &header(
            1,
            None,
            Kind::Publish,
            vec![blob("manifest", 500), blob("pack", 64 << 20)],
        ),
        &Body::Publish(publication()),
        &key(),
        [1; 32],
    )
    .unwrap();
    let tag = TagChange {
        pod: PodName::new("orders").unwrap(),
        tag: TagName::new("v1.2_rc-3").unwrap(),
        version: None,
        supersedes: Bounded::first([publish.hash()]),
    };
    let tag = Entry::write(
        &header(2, Some(publish.hash()), Kind::Tag, vec![]),
        &Body::Tag(tag),
        &key(),
        [2; 32],
    )
    .unwrap();
    let drop = Body::Drop {
        pod: PodName::new("orders").unwrap(),
        version: VersionId::of(b"version"),
    };
    let drop = Entry::write(
        &header(300, Some(tag.hash()), Kind::Drop, vec![]),
        &drop,
        &key(),
        [3; 32],
    )
    .unwrap();
    [publish, tag, drop]
}

/// A drop that names what it ends in the clear.
pub(crate) fn retire(ended: &Entry) -> Entry {
    let kind = Kind::Retire(Bounded::first([ended.hash()]));
    let drop = Body::Drop {
        pod: PodName::new("orders").unwrap(),
        version: VersionId::of(b"version"),
    };
    let header = header(301, Some(ended.hash()), kind, vec![]);
    Entry::write(&header, &drop, &key(), [5; 32]).unwrap()
}

pub(crate) fn head() -> Head {
    let [_, _, newest] = entries();
    Head {
        seq: newest.header().seq,
        entry: newest.hash(),
    }
}

pub(crate) fn liveness() -> Liveness {
    Liveness {
        time_ms: CREATED_MS,
        heads: [0xab; 32],
    }
}

pub(crate) fn address_record() -> AddressRecord {
    AddressRecord {
        time_ms: CREATED_MS,
        addresses: Bounded::first(["/ip4/192.168.1.5/tcp/7637".to_owned()]),
    }
}

pub(crate) fn hub_moved() -> HubMoved {
    HubMoved {
        to: "https://hub.example.com:8443".into(),
        nonce: [0xab; 16],
    }
}

pub(crate) fn manifest() -> Manifest {
    let location = |word: &str, frame, offset, plain_len| ChunkLocation {
        id: ChunkId::of(word.as_bytes()),
        pack: 0,
        frame,
        offset,
        sealed_len: 400,
        plain_len,
    };
    Manifest {
        pod: PodName::new("orders").unwrap(),
        parents: vec![VersionId::of(b"parent")],
        message: "dead letters pile up".into(),
        source: Source {
            emulator: Some(emulator()),
            services: vec!["s3".into(), "sqs".into()],
        },
        created_ms: CREATED_MS,
        container: Container::Zip,
        state_len: 70_000,
        entry_count: 2,
        content: ContentHash::of(b"content"),
        entries: Table {
            len: 90,
            chunks: vec![location("entries", 2, 800, 90)],
        },
        chunks: Table {
            len: 104,
            chunks: vec![location("chunks", 3, 1200, 104)],
        },
        packs: vec![PackRef {
            id: BlobId::of(b"pack"),
            sha256: Some([0xcd; 32]),
            len: 32 << 20,
            key: SecretKey::from_bytes([5; 32]),
        }],
    }
}

fn private_version() -> PrivateVersion {
    PrivateVersion {
        pod: PodName::new("orders").unwrap(),
        number: 1,
        version: VersionId::of(b"version"),
        manifest: blob("manifest", 500),
        message: "dead letters pile up".into(),
        services: vec!["s3".into()],
        emulator: Some(emulator()),
        created_ms: CREATED_MS,
        state_len: 70_000,
        entry_count: 2,
    }
}

pub(crate) fn ticket() -> Ticket {
    let addresses = ["/ip4/192.168.1.5/tcp/7637", "/dns4/build.lan/tcp/7637"];
    Ticket::new(
        TicketKind::Robot,
        TicketSecret::from_seed(&[7; 32]),
        team(),
        &OpId::of(b"head"),
        Some("https://hub.example"),
        &addresses.map(str::to_owned),
    )
}

/// Every sample's name and bytes, in the order of `testdata/formats.txt`.
pub(crate) fn all() -> Vec<(&'static str, Vec<u8>)> {
    let [publish, tag, drop] = entries();
    let retire = retire(&publish);
    let head = device().sign(team(), &head());
    let liveness = device().sign(team(), &liveness());
    let addresses = device().sign(team(), &address_record());
    let (plain, version) = manifest().to_version();
    assert_eq!(version, VersionId::of(&plain));
    let some = ByteBuf::from;
    vec![
        ("entry-publish", publish.bytes().to_vec()),
        ("entry-tag", tag.bytes().to_vec()),
        ("entry-drop", drop.bytes().to_vec()),
        ("entry-retire", retire.bytes().to_vec()),
        ("head", head.clone()),
        ("liveness", liveness.clone()),
        ("address-record", addresses.clone()),
        ("hub-moved", device().sign(team(), &hub_moved())),
        ("manifest", plain.clone()),
        ("manifest-sealed", Manifest::seal(&plain, &key(), [4; 32])),
        ("private-version", private_version().encode()),
        ("ticket", ticket().encode().to_vec()),
        ("recovery-key", RecoveryKey::from_seed([7; 32]).encode()),
        (
            "gossip-announcement",
            Gossip::Announcement {
                head: some(head.clone()),
                entry: Some(some(drop.bytes().to_vec())),
            }
            .encode(),
        ),
        (
            "gossip-operations",
            Gossip::Operations(Bounded::first([some(b"op".to_vec())])).encode(),
        ),
        (
            "gossip-liveness",
            Gossip::Liveness(some(liveness.clone())).encode(),
        ),
        (
            "gossip-addresses",
            Gossip::Addresses(some(addresses.clone())).encode(),
        ),
        (
            "heads-request",
            HeadsRequest {
                team: team(),
                membership: [0xab; 32],
                buckets: Bounded::first([0, 1, u64::MAX]),
            }
            .encode(),
        ),
        (
            "heads-response",
            HeadsResponse::Heads {
                membership: Bounded::first([OpId::of(b"operation")]),
                heads: Bounded::first([some(head)]),
                liveness: Some(some(liveness)),
                addresses: Bounded::first([some(addresses)]),
            }
            .encode(),
        ),
        (
            "heads-refused",
            HeadsResponse::Refused(Refusal::NotAMember).encode(),
        ),
        (
            "entries-request",
            EntriesRequest {
                team: team(),
                ranges: Bounded::first([EntryRange {
                    device: device().id(),
                    from: 1,
                    to: 300,
                }]),
            }
            .encode(),
        ),
        (
            "entries-response",
            EntriesResponse::Entries {
                entries: Bounded::first([some(tag.bytes().to_vec())]),
                more: true,
            }
            .encode(),
        ),
        (
            "entries-refused",
            EntriesResponse::Refused(Refusal::NotAMember).encode(),
        ),
        (
            "have-ask",
            HaveRequest::Ask {
                team: team(),
                blobs: Bounded::first([BlobId::of(b"pack")]),
            }
            .encode(),
        ),
        (
            "have-delta",
            HaveRequest::Delta {
                team: team(),
                news: Bounded::first([(
                    BlobId::of(b"pack"),
                    Have::Parts(Units::from_bits(1 << 63 | 5)),
                )]),
            }
            .encode(),
        ),
        ("have-enough", HaveRequest::Enough { team: team() }.encode()),
        (
            "have-response",
            HaveResponse::Haves(Bounded::first([
                Have::None,
                Have::All,
                Have::Parts(Units::from_bits(5)),
            ]))
            .encode(),
        ),
        ("have-noted", HaveResponse::Noted.encode()),
        (
            "have-refused",
            HaveResponse::Refused(Refusal::NotAMember).encode(),
        ),
    ]
}

/// The device that signed the samples.
pub(crate) fn signer() -> DeviceId {
    device().id()
}

//! Every decoder of bytes from outside, as a function of those bytes.
//!
//! A target fails if it panics, takes more memory than stated, or doesn't end. Its result doesn't
//! matter: almost all inputs are refused.
//!
//! `cargo xtask fuzz` runs them under libFuzzer; `tests/hostile.rs` runs them in every test run with
//! broken copies of the golden vectors. Two decoders are private to their crates and have properties
//! there instead: requests for blobs (net) and the lines that an emulator reports (instance).

mod seeds;
mod states;

use podsync_bucket::OutboardsIndex;
use podsync_core::{
    DeviceId, PodName, TagName, TeamId, VersionId,
    catalog::PrivateVersion,
    codec::Format,
    feed::{Body, Entry, Head},
    manifest::{ChunkLocation, Manifest},
    membership::{
        Operation,
        keyring::PreviousKeys,
        operation::InviteProof,
        wire::{MAX_MESSAGE_LEN, MembershipRequest, MembershipResponse},
    },
    moved::HubMoved,
    reference::Reference,
    seal::SecretKey,
    signed::{MAX_ENVELOPE_LEN, verify},
    ticket::{RecoveryKey, Ticket},
    wire::{self, AddressRecord, Liveness, MAX_GOSSIP_LEN, Protocol},
};
use podsync_hub::abilities::{self, Abilities};

/// A decoder and its limits.
pub struct Target {
    pub name: &'static str,
    pub run: fn(&[u8]),
    /// The longest input that it accepts, or that is worth trying.
    pub max_len: usize,
    /// The bytes of memory that it may use at a time, for any input.
    pub memory: usize,
    /// Golden vectors to start from, by the beginning of their names.
    seeds: &'static [&'static str],
}

impl Target {
    pub fn seeds(&self) -> Vec<Vec<u8>> {
        seeds::of(self.seeds)
    }

    pub fn find(name: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|target| target.name == name)
    }
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

pub const TARGETS: [Target; 27] = [
    Target {
        name: "operation",
        run: |bytes| drop(verify::<Operation>(bytes)),
        max_len: MAX_ENVELOPE_LEN,
        memory: 2 * MIB,
        seeds: &[
            "found", "add", "remove", "set-role", "robot", "invite", "join", "rotate", "settings",
        ],
    },
    Target {
        name: "operation-payload",
        run: |bytes| drop(Operation::decode(bytes)),
        max_len: MAX_ENVELOPE_LEN,
        memory: 16 * MIB,
        seeds: &["payload-of:"],
    },
    Target {
        name: "head",
        run: |bytes| drop(verify::<Head>(bytes)),
        max_len: KIB,
        memory: 64 * KIB,
        seeds: &["head"],
    },
    Target {
        name: "liveness",
        run: |bytes| drop(verify::<Liveness>(bytes)),
        max_len: KIB,
        memory: 64 * KIB,
        seeds: &["liveness"],
    },
    Target {
        name: "address-record",
        run: |bytes| drop(verify::<AddressRecord>(bytes)),
        max_len: KIB,
        memory: 64 * KIB,
        seeds: &["address-record"],
    },
    Target {
        name: "hub-moved",
        run: |bytes| drop(verify::<HubMoved>(bytes)),
        max_len: KIB,
        memory: 64 * KIB,
        seeds: &["hub-moved"],
    },
    Target {
        name: "join-request",
        run: |bytes| drop(verify::<InviteProof>(bytes)),
        max_len: 2 * KIB,
        memory: 64 * KIB,
        seeds: &["join-request"],
    },
    Target {
        name: "previous-keys",
        run: |bytes| drop(PreviousKeys::decode(bytes)),
        max_len: 4 * KIB,
        memory: 64 * KIB,
        seeds: &[],
    },
    Target {
        name: "gossip",
        run: |bytes| drop(wire::open_gossip(bytes)),
        max_len: MAX_GOSSIP_LEN,
        memory: MIB,
        seeds: &["gossip-"],
    },
    Target {
        name: "heads",
        run: |bytes| exchange(Protocol::Heads, bytes),
        max_len: MIB,
        memory: 4 * MIB,
        seeds: &["heads-"],
    },
    Target {
        name: "entries",
        run: |bytes| exchange(Protocol::Entries, bytes),
        max_len: 4 * MIB,
        memory: 16 * MIB,
        seeds: &["entries-"],
    },
    Target {
        name: "have",
        run: |bytes| exchange(Protocol::Have, bytes),
        max_len: MIB,
        memory: 2 * MIB,
        seeds: &["have-"],
    },
    Target {
        name: "membership",
        run: |bytes| {
            exchange(Protocol::Membership, bytes);
            drop(MembershipRequest::decode(bytes));
            drop(MembershipResponse::decode(bytes));
        },
        max_len: MAX_MESSAGE_LEN,
        memory: 4 * MIB,
        seeds: &["wire-"],
    },
    Target {
        name: "lane",
        run: |bytes| {
            podsync_net::decoders::lane_answer(bytes);
            podsync_net::decoders::blob_request(bytes);
        },
        max_len: 16 * KIB,
        memory: MIB,
        seeds: &["lane-", "blob-request"],
    },
    Target {
        name: "entry",
        run: |bytes| {
            if let Ok(entry) = Entry::decode(bytes) {
                drop(entry.open(&seeds::key()));
            }
        },
        max_len: MIB,
        memory: 8 * MIB,
        seeds: &["entry-"],
    },
    Target {
        name: "entry-body",
        run: |bytes| drop(Body::decode(bytes)),
        max_len: 64 * KIB,
        memory: MIB,
        seeds: &[],
    },
    Target {
        name: "manifest",
        run: manifest,
        max_len: MIB,
        memory: 8 * MIB,
        seeds: &["manifest"],
    },
    Target {
        name: "private-version",
        run: |bytes| drop(PrivateVersion::decode(bytes)),
        max_len: 64 * KIB,
        memory: 4 * MIB,
        seeds: &["private-version"],
    },
    Target {
        name: "ticket",
        run: |bytes| {
            drop(Ticket::decode(bytes));
            drop(RecoveryKey::decode(bytes));
            text(bytes, |text| {
                drop(Ticket::parse(text));
                drop(RecoveryKey::parse(text));
            });
        },
        max_len: 8 * KIB,
        memory: 256 * KIB,
        seeds: &["ticket", "recovery-key", "text-of:"],
    },
    Target {
        name: "names",
        run: |bytes| {
            text(bytes, |text| {
                drop(text.parse::<Reference>());
                drop(text.parse::<PodName>());
                drop(text.parse::<TagName>());
                drop(text.parse::<VersionId>());
                drop(text.parse::<TeamId>());
                drop(text.parse::<DeviceId>());
            });
            let _ = DeviceId::from_peer_id_bytes(bytes);
        },
        max_len: 8 * KIB,
        memory: 256 * KIB,
        seeds: &["reference:"],
    },
    Target {
        name: "entry-table",
        run: |bytes| drop(podsync_pack::decode_entry_table(bytes)),
        max_len: 64 * KIB,
        memory: 8 * MIB,
        seeds: &["entry-table"],
    },
    Target {
        name: "pack-trailer",
        run: states::trailer,
        max_len: 64 * KIB,
        memory: MIB,
        seeds: &["trailer"],
    },
    Target {
        name: "pack",
        run: states::pack,
        max_len: 64 * KIB,
        memory: 4 * MIB,
        seeds: &["trailer"],
    },
    Target {
        name: "outboards",
        run: outboards,
        max_len: 512 * KIB,
        memory: MIB,
        seeds: &["outboards"],
    },
    Target {
        name: "abilities",
        run: |bytes| drop(Abilities::decode(bytes).map(|seen| abilities::table(&seen))),
        max_len: abilities::MAX_RECORD_LEN,
        memory: 64 * KIB,
        seeds: &["abilities"],
    },
    Target {
        name: "zip-directory",
        run: states::zip_directory,
        max_len: 64 * KIB,
        memory: 8 * MIB,
        seeds: &["zip-"],
    },
    Target {
        name: "zip-state",
        run: states::save_zip,
        max_len: 64 * KIB,
        memory: 128 * MIB,
        seeds: &["zip-"],
    },
];

/// Both sides of an exchange.
fn exchange(protocol: Protocol, bytes: &[u8]) {
    drop(wire::open_request(protocol, bytes));
    drop(wire::open_response(protocol, bytes));
}

/// The fuzzer supplies the plain bytes: only a member could seal them.
fn manifest(bytes: &[u8]) {
    let key = SecretKey::from_bytes([9; 32]);
    drop(Manifest::open(bytes, &key, VersionId::of(bytes)));
    let sealed = Manifest::seal(bytes, &key, [4; 32]);
    if let Ok(manifest) = Manifest::open(&sealed, &key, VersionId::of(bytes)) {
        for row in bytes.as_chunks::<{ ChunkLocation::ROW_LEN }>().0 {
            drop(manifest.check_location(&ChunkLocation::from_row(row)));
        }
    }
}

/// The beginning of an object of any length.
fn outboards(bytes: &[u8]) {
    let _ = OutboardsIndex::len_of(bytes);
    for size in [bytes.len() as u64, u64::MAX] {
        if let Ok(index) = OutboardsIndex::decode(bytes, size) {
            for (pack, len) in index.packs() {
                assert!(
                    index
                        .find(*pack, *len)
                        .is_some_and(|place| place.end <= size)
                );
            }
        }
    }
}

fn text(bytes: &[u8], parse: impl Fn(&str)) {
    if let Ok(text) = std::str::from_utf8(bytes) {
        parse(text);
    }
}

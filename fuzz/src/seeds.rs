//! The initial inputs of each target: the golden vectors, and a few states that are made here.

use podsync_core::{bounded::Bounded, codec::Format, seal::SecretKey, signed};
use podsync_hub::abilities::{Abilities, Ability, Finding, Grade};
use podsync_pack::{Entry, EntryKind, EntryName, LinkTarget};
use podsync_tests::kit::{Member, zip};

const MEMBERSHIP: &str = include_str!("../../crates/core/testdata/membership.txt");
const FORMATS: &str = include_str!("../../crates/core/testdata/formats.txt");

/// The key that bodies and manifests of the vectors are sealed with.
pub(crate) fn key() -> SecretKey {
    SecretKey::from_bytes([9; 32])
}

/// All seeds whose names begin with one of `names`.
pub(crate) fn of(names: &[&str]) -> Vec<Vec<u8>> {
    let mut all = vectors();
    all.extend(made());
    all.into_iter()
        .filter(|(seed, _)| names.iter().any(|name| seed.starts_with(name)))
        .map(|(_, bytes)| bytes)
        .collect()
}

fn vectors() -> Vec<(String, Vec<u8>)> {
    let mut seeds = Vec::new();
    for (name, bytes) in lines(MEMBERSHIP) {
        if !name.starts_with("wire-")
            && let Some(payload) = payload(&bytes)
        {
            seeds.push((format!("payload-of:{name}"), payload.to_vec()));
        }
        seeds.push((name.to_owned(), bytes));
    }
    seeds.extend(lines(FORMATS).map(|(name, bytes)| (name.to_owned(), bytes)));
    seeds
}

fn lines(file: &str) -> impl Iterator<Item = (&str, Vec<u8>)> {
    let lines = file.lines().filter(|line| !line.starts_with('#'));
    lines
        .filter_map(|line| line.split_once(' '))
        .map(|(name, hex)| {
            let bytes = data_encoding::HEXLOWER.decode(hex.as_bytes());
            (name, bytes.expect("vectors are hex"))
        })
}

/// The payload of a signed operation's envelope: after version, domain, two ids and its length.
fn payload(envelope: &[u8]) -> Option<&[u8]> {
    let (head, rest) = envelope.split_at_checked(2 + 64)?;
    if head[..2] != [1, signed::Domain::Operation as u8] {
        return None;
    }
    let len_len = rest.iter().position(|byte| *byte < 0x80)? + 1;
    let end = rest.len().checked_sub(1 + 64)?;
    rest.get(len_len..end)
}

fn made() -> Vec<(String, Vec<u8>)> {
    let mut seeds: Vec<(String, Vec<u8>)> = Vec::new();
    let mut seed = |name: &str, bytes: Vec<u8>| seeds.push((name.to_owned(), bytes));
    for text in [
        "orders",
        "orders:3",
        "orders:3@alice",
        "orders@0f3a91",
        "orders:baseline",
        "orders:+1",
        "pod:orders:3",
        "./x.snapshot",
    ] {
        seed(&format!("reference:{text}"), text.into());
    }
    let recovery = podsync_core::ticket::RecoveryKey::from_seed([7; 32]).expose_text();
    seed("text-of:recovery", recovery.as_bytes().to_vec());
    for (name, bytes) in lines(FORMATS).filter(|(name, _)| name.starts_with("ticket")) {
        if let Ok(ticket) = podsync_core::ticket::Ticket::decode(&bytes) {
            let text = format!("{name}: \"{}\"", *ticket.expose_text());
            seed("text-of:ticket", text.into_bytes());
        }
    }
    seed("lane-offer", [&[0, 0x1d, 0xd6][..], &[0xab; 16]].concat());
    let ranges = [2, 0, 2, 0x10, 0x20, 1, 0];
    seed("blob-request", [&[0; 1][..], &[0xab; 32], &ranges].concat());
    seed("entry-table", entry_table());
    seed("outboards", outboards());
    seed("abilities", abilities());
    let row = [&[7; 32][..], &20_u32.to_le_bytes(), &5_u32.to_le_bytes()].concat();
    seed("trailer", [&40_u64.to_le_bytes()[..], &row, &row].concat());
    let folder = Member::stored("a/", b"");
    let file = Member::stored("a/file", b"hello");
    seed("zip-empty", zip(&[]));
    seed("zip-folder", zip(&[folder]));
    seed(
        "zip-members",
        zip(&[folder, file, Member::stored("b", &[0; 300])]),
    );
    seeds
}

/// A server's observed abilities: one grade of each.
fn abilities() -> Vec<u8> {
    let found = [
        Finding::new(Ability::Objects, Grade::Ok, 200, ""),
        Finding::new(Ability::OnlyNew, Grade::WorkedAround, 501, "NotImplemented"),
        Finding::new(Ability::Hardened, Grade::Missing, 400, "MalformedXML"),
    ];
    let seen = Abilities {
        probed_ms: 1_795_632_622_250,
        place: [7; 32],
        findings: Bounded::first(found),
    };
    seen.encode()
}

/// A folder, a file and a link in it.
fn entry_table() -> Vec<u8> {
    let name = |name: &str| EntryName::new(name).expect("the name is valid");
    let link = name("a/link");
    let target = LinkTarget::new(&link, "../b").expect("the target is valid");
    let file = EntryKind::File {
        len: 5,
        crc32: 0xdead_beef,
    };
    let mut rows = Vec::new();
    for (name, kind) in [
        (name("a"), EntryKind::Dir),
        (name("a/file"), file),
        (link, EntryKind::Symlink { target }),
    ] {
        let entry = Entry {
            name,
            kind,
            mode: 0o640,
            mtime_ns: -2,
        };
        entry.encode_into(&mut rows);
    }
    rows
}

/// An outboards object of two packs.
fn outboards() -> Vec<u8> {
    let mut object = vec![1, 2, 0, 0, 0];
    let mut trees = Vec::new();
    for len in [70_000_u64, 5] {
        let pack = vec![len as u8; len as usize];
        let (id, tree) = podsync_bucket::pack_outboard(&pack[..], len).expect("it is in memory");
        object.extend_from_slice(id.as_bytes());
        object.extend_from_slice(&len.to_le_bytes());
        trees.extend_from_slice(&tree);
    }
    object.extend_from_slice(&trees);
    object
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use podsync_core::{codec::Format, membership::Operation};
    use podsync_pack::{Directory, decode_entry_table};

    use super::of;
    use crate::TARGETS;

    #[test]
    fn what_is_made_here_is_sound() {
        for zip in of(&["zip-"]) {
            Directory::read(Cursor::new(zip)).expect("a zip that is opened");
        }
        assert_eq!(
            decode_entry_table(&of(&["entry-table"])[0])
                .expect("a table that is read")
                .len(),
            3
        );
        let payloads = of(&["payload-of:"]);
        assert_eq!(payloads.len(), 9);
        for payload in payloads {
            Operation::decode(&payload).expect("an operation");
        }
    }

    #[test]
    fn every_target_that_names_seeds_has_some() {
        for target in &TARGETS {
            assert!(
                target.seeds.is_empty() || !target.seeds().is_empty(),
                "{}",
                target.name
            );
        }
    }
}

//! The formats as bytes. A test here that fails means that podsync no longer reads what it wrote.

use std::fs;

use podsync_core::{BlobId, ChunkId, manifest::ChunkLocation};
use podsync_pack::{Entry, EntryKind, EntryName, LinkTarget, decode_entry_table};

use crate::support::{Home, noise};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn entry_rows() {
    let name = |name: &str| EntryName::new(name).unwrap();
    let link = name("a/link");
    let entries = [
        Entry {
            name: name("a"),
            kind: EntryKind::Dir,
            mode: 0o755,
            mtime_ns: 0,
        },
        Entry {
            name: name("a/file"),
            kind: EntryKind::File {
                len: 0x0102_0304_0506,
                crc32: 0xdead_beef,
            },
            mode: 0o640,
            mtime_ns: -2,
        },
        Entry {
            kind: EntryKind::Symlink {
                target: LinkTarget::new(&link, "../b").unwrap(),
            },
            name: link,
            mode: 0o777,
            mtime_ns: 1,
        },
    ];
    let mut bytes = Vec::new();
    entries
        .iter()
        .for_each(|entry| entry.encode_into(&mut bytes));
    assert_eq!(
        hex(&bytes),
        concat!(
            "0100",
            "0000",
            "01",
            "ed01",
            "0000000000000000",
            "00000000",
            "0000000000000000",
            "61",
            "0600",
            "0000",
            "00",
            "a001",
            "feffffffffffffff",
            "efbeadde",
            "0605040302010000",
            "612f66696c65",
            "0600",
            "0400",
            "02",
            "ff01",
            "0100000000000000",
            "00000000",
            "0000000000000000",
            "612f6c696e6b",
            "2e2e2f62",
        )
    );
    assert_eq!(decode_entry_table(&bytes).unwrap(), entries);
    for len in 0..bytes.len() {
        let cut = decode_entry_table(&bytes[..len]);
        assert!(cut.is_err() || cut.unwrap().len() < entries.len());
    }
}

#[test]
fn chunk_row() {
    let row = ChunkLocation {
        id: ChunkId::from_bytes([7; 32]),
        pack: 1,
        frame: 2,
        offset: 3,
        sealed_len: 4,
        plain_len: 0x0102_0304,
    };
    assert_eq!(
        hex(&row.to_row()),
        format!(
            "{}{}",
            "07".repeat(32),
            "0100000002000000030000000400000004030201"
        )
    );
    assert_eq!(ChunkLocation::from_row(&row.to_row()), row);
}

#[test]
fn a_pack_under_a_known_key() {
    let state = tempfile::tempdir().unwrap();
    fs::write(state.path().join("state"), noise(1, 20_000)).unwrap();
    let mut home = Home::new();
    // Keys in tests are a counter: the first is 01 32 times.
    let (_, saved) = home.save(&state.path().join("state"), &[]);
    let pack = fs::read(home.pack_path(&saved.packs[0])).unwrap();
    // The state's chunk does not depend on its entry's time; the tables that follow it do.
    let frame = &pack[..20_016];
    assert_eq!(
        BlobId::of(frame).to_string(),
        "db86785fe616aad6ea64c6116ddc7b6979be7b198c5889f682572c99b775e2e2"
    );
}

#[test]
fn boundaries() {
    let state = tempfile::tempdir().unwrap();
    fs::write(state.path().join("state"), noise(1, 1_000_000)).unwrap();
    let mut home = Home::new();
    let (manifest, _) = home.save(&state.path().join("state"), &[]);
    let packs = home.packs();
    let rows = podsync_pack::Version::new(&manifest, &packs)
        .chunks()
        .unwrap();
    let lens: Vec<u32> = rows.map(|row| row.unwrap().plain_len).collect();
    assert_eq!(
        lens,
        [
            76660, 159933, 188476, 66903, 40565, 71991, 79179, 82490, 17420, 84111, 66478, 65794
        ]
    );
}

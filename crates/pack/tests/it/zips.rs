//! Reading and writing zips: the same state, the same bytes, and hostile zips refused.

use std::{
    fs::{self, File},
    io::{Cursor, Read, Write},
};

use podsync_core::manifest::Container;
use podsync_pack::{
    DirectoryError, Entry, EntryKind, SaveError, Saved, Source, SourceError, Version,
};
use zip::{CompressionMethod, ZipArchive, ZipWriter, write::SimpleFileOptions};

use crate::support::{Home, SaveChoice, manifest, noise};

const DEFLATED: CompressionMethod = CompressionMethod::Deflated;
const STORED: CompressionMethod = CompressionMethod::Stored;

fn zip_of(members: &[(&str, &[u8], CompressionMethod)]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content, method) in members {
        let options = SimpleFileOptions::default()
            .compression_method(*method)
            .unix_permissions(0o640);
        if name.ends_with('/') {
            writer.add_directory(*name, options).unwrap();
        } else {
            writer.start_file(*name, options).unwrap();
            writer.write_all(content).unwrap();
        }
    }
    writer.finish().unwrap().into_inner()
}

fn file_of(bytes: &[u8]) -> File {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn from_instance(bytes: &[u8]) -> Result<Saved, SaveError> {
    Home::new().try_save(
        Source::from_instance(file_of(bytes))?,
        &[],
        SaveChoice::default(),
    )
}

fn from_file(bytes: &[u8]) -> Result<Saved, SaveError> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.snapshot");
    fs::write(&path, bytes).unwrap();
    Home::new().try_save(Source::open(&path)?, &[], SaveChoice::default())
}

fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    assert_eq!(from.len(), to.len());
    let mut bytes = bytes.to_vec();
    let places: Vec<usize> = (0..bytes.len())
        .filter(|at| bytes[*at..].starts_with(from))
        .collect();
    assert!(!places.is_empty());
    for at in places {
        bytes[at..][..to.len()].copy_from_slice(to);
    }
    bytes
}

/// Where the directory begins, in a zip without comment and zip64.
fn directory_at(bytes: &[u8]) -> usize {
    let at = bytes.len() - 6;
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

fn sample() -> Vec<u8> {
    let text = "state ".repeat(60_000);
    let random = noise(3, 700_000);
    zip_of(&[
        ("metadata.yaml", b"version: 1", STORED),
        ("api_states/", b"", STORED),
        ("api_states/sqs/store.state", text.as_bytes(), DEFLATED),
        ("api_states/s3/b.state", &random, DEFLATED),
        ("assets/\u{e9}\u{65e5}", &random[..1000], STORED),
        ("assets/empty", b"", DEFLATED),
    ])
}

#[test]
fn a_zip_is_rebuilt_the_same_every_time() {
    let original = sample();
    let mut home = Home::new();
    let saved = home.try_save(
        Source::from_instance(file_of(&original)).unwrap(),
        &[],
        SaveChoice::default(),
    );
    let Saved::Version(saved) = saved.unwrap() else {
        panic!("it is new")
    };
    assert_eq!(saved.container, Container::Zip);
    let manifest = manifest(&saved);
    let packs = home.packs();
    let version = Version::new(&manifest, &packs);
    let [mut once, mut twice] = [Vec::new(), Vec::new()];
    version.to_zip(&mut once, &()).unwrap();
    version.to_zip(&mut twice, &()).unwrap();
    assert!(once == twice);
    assert_eq!(version.zip_len().unwrap(), once.len() as u64);

    // Read by another implementation.
    let mut before = ZipArchive::new(Cursor::new(&original)).unwrap();
    let mut after = ZipArchive::new(Cursor::new(&once)).unwrap();
    assert_eq!(before.len(), after.len());
    for index in 0..before.len() {
        let mut old = before.by_index(index).unwrap();
        let mut new = after.by_name(&old.name().unwrap()).unwrap();
        assert_eq!(
            (old.crc32(), old.size(), old.unix_mode()),
            (new.crc32(), new.size(), new.unix_mode())
        );
        assert_eq!(old.last_modified(), new.last_modified());
        let [mut old_bytes, mut new_bytes] = [Vec::new(), Vec::new()];
        old.read_to_end(&mut old_bytes).unwrap();
        new.read_to_end(&mut new_bytes).unwrap();
        assert!(old_bytes == new_bytes);
    }

    // What was rebuilt is the same state.
    let unless = Some(saved.content);
    let again = home.try_save(
        Source::from_instance(file_of(&once)).unwrap(),
        &[&manifest],
        SaveChoice {
            unless,
            ..SaveChoice::default()
        },
    );
    assert!(matches!(again.unwrap(), Saved::Unchanged(_)));
}

#[test]
fn many_members_need_zip64() {
    let names: Vec<String> = (0..70_000).map(|index| format!("m{index:05}")).collect();
    let dir = tempfile::tempdir().unwrap();
    for name in &names {
        File::create(dir.path().join(name)).unwrap();
    }
    let mut home = Home::new();
    let (manifest, _) = home.save(dir.path(), &[]);
    let packs = home.packs();
    let version = Version::new(&manifest, &packs);
    let mut rebuilt = Vec::new();
    version.to_zip(&mut rebuilt, &()).unwrap();
    assert_eq!(version.zip_len().unwrap(), rebuilt.len() as u64);
    assert_eq!(
        ZipArchive::new(Cursor::new(&rebuilt)).unwrap().len(),
        names.len()
    );
    let Saved::Version(again) = from_instance(&rebuilt).unwrap() else {
        panic!("it is new")
    };
    assert_eq!(again.entry_count, names.len() as u64);
}

#[test]
fn what_members_cannot_rebuild_stays_a_file() {
    let plain = zip_of(&[("aaaa", b"one", STORED), ("aaab", b"two", STORED)]);
    let directory = directory_at(&plain);
    let flagged = |at: usize, value: u8| {
        let mut bytes = plain.clone();
        bytes[directory + at] = value;
        bytes
    };
    for (what, bytes) in [
        ("duplicate names", replace(&plain, b"aaab", b"aaaa")),
        (
            "a member below a file",
            replace(
                &zip_of(&[("aa", b"", STORED), ("aa-b", b"", STORED)]),
                b"aa-b",
                b"aa/b",
            ),
        ),
        ("encryption", flagged(8, 1)),
        ("unknown method", flagged(10, 12)),
        ("a prefix", [b"#!/bin/sh\n", &plain[..]].concat()),
        ("a symlink", {
            let mut bytes = plain.clone();
            bytes[directory + 38..][..4].copy_from_slice(&(0o120_777_u32 << 16).to_le_bytes());
            bytes
        }),
    ] {
        let Ok(Saved::Version(saved)) = from_file(&bytes) else {
            panic!("{what}: a file can be saved")
        };
        assert_eq!(
            (saved.container, saved.state_len),
            (Container::File, bytes.len() as u64),
            "{what}"
        );
        let refused = from_instance(&bytes);
        assert!(
            matches!(
                refused,
                Err(SaveError::Source(SourceError::Zip(
                    DirectoryError::Unsupported(_)
                )))
            ),
            "{what}: {refused:?}"
        );
    }
    assert!(matches!(
        from_instance(b"{}"),
        Err(SaveError::Source(SourceError::NotAState))
    ));
    assert!(matches!(
        from_instance(b""),
        Err(SaveError::Source(SourceError::NotAState))
    ));
}

#[test]
fn climbing_members_are_refused() {
    let plain = zip_of(&[("ab/cd", b"x", STORED)]);
    for bad in [
        b"../cd", b"/b/cd", b"ab/..", b"a//cd", b"a\0/cd", b"a\\..d", b"C:/cd", b"./bcd",
    ] {
        let bytes = replace(&plain, b"ab/cd", bad);
        for result in [from_file(&bytes), from_instance(&bytes)] {
            assert!(
                matches!(
                    result,
                    Err(SaveError::Source(SourceError::Zip(DirectoryError::Name(_))))
                ),
                "{:?}: {result:?}",
                String::from_utf8_lossy(bad)
            );
        }
    }
}

#[test]
fn bombs_are_refused() {
    let packed = noise(1, 3 << 20);
    let plain = zip_of(&[("bomb", &packed, STORED)]);
    let directory = directory_at(&plain);
    let mut declared = plain.clone();
    declared[directory + 10] = 8;
    declared[directory + 24..][..4].copy_from_slice(&(2_u32 << 30).to_le_bytes());
    assert!(matches!(
        from_file(&declared),
        Err(SaveError::Source(SourceError::Zip(DirectoryError::Bomb { len, .. }))) if len == 2 << 30
    ));
    declared[directory + 24..][..4].copy_from_slice(&0xFFFF_0000_u32.to_le_bytes());
    assert!(matches!(
        from_file(&declared),
        Err(SaveError::Source(SourceError::Zip(
            DirectoryError::Malformed(_)
        )))
    ));

    // One that inflates to more than it says is caught when it does.
    let mut lying = zip_of(&[("liar", &vec![0; 5_000_000], DEFLATED)]);
    let directory = directory_at(&lying);
    lying[directory + 24..][..4].copy_from_slice(&1000_u32.to_le_bytes());
    assert!(matches!(
        from_file(&lying),
        Err(SaveError::Source(SourceError::Member { .. }))
    ));

    // Two members that share their data.
    let mut overlapping = zip_of(&[("a", b"data", STORED), ("b", b"data", STORED)]);
    let directory = directory_at(&overlapping);
    overlapping[directory + 47 + 42..][..4].copy_from_slice(&0_u32.to_le_bytes());
    assert!(matches!(
        from_file(&overlapping),
        Err(SaveError::Source(SourceError::Zip(
            DirectoryError::Malformed(_)
        )))
    ));
}

#[test]
fn no_cut_and_no_flipped_byte_is_taken_for_the_state() {
    let good = zip_of(&[
        ("a", b"content of a", STORED),
        ("d/", b"", STORED),
        ("d/b", b"bbbbbbbbbbbbbbbbb", DEFLATED),
    ]);
    let truth = contents(&good).unwrap();
    assert_eq!(truth.len(), 2);
    for len in 0..good.len() {
        assert!(from_instance(&good[..len]).is_err(), "cut to {len}");
        if len >= 4 {
            assert!(from_file(&good[..len]).is_err(), "cut to {len}");
        }
    }
    for at in 0..good.len() {
        let mut bad = good.clone();
        bad[at] ^= 0x20;
        // A zip has no checksum for names, modes and times, only for content.
        if let Ok(contents) = contents(&bad) {
            assert_eq!(contents, truth, "byte {at}");
        }
    }
}

/// Checksums and lengths of what the zip's members hold. They were compared with the bytes.
fn contents(zip: &[u8]) -> Result<Vec<(u32, u64)>, SaveError> {
    let mut home = Home::new();
    let source = Source::from_instance(file_of(zip))?;
    let Saved::Version(saved) = home.try_save(source, &[], SaveChoice::default())? else {
        panic!("it is new")
    };
    let manifest = manifest(&saved);
    let packs = home.packs();
    let version = Version::new(&manifest, &packs);
    version.verify(&()).unwrap();
    let file = |entry: Entry| match entry.kind {
        EntryKind::File { len, crc32 } => Some((crc32, len)),
        _ => None,
    };
    let mut found: Vec<_> = version
        .entries()
        .unwrap()
        .filter_map(|entry| file(entry.unwrap()))
        .collect();
    found.sort_unstable();
    Ok(found)
}

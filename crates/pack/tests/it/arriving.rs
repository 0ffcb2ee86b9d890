//! Saving a zip while it arrives gives the same version as saving the whole file.

use std::{
    fs::File,
    io::{self, Cursor, Read, Write},
};

use podsync_core::ContentHash;
use podsync_pack::{SaveError, Saved, SavedState, Source, SourceError};
use zip::{CompressionMethod, ZipWriter, write::SimpleFileOptions};

use crate::support::{Home, SaveChoice, noise};

const STORED: CompressionMethod = CompressionMethod::Stored;
const DEFLATED: CompressionMethod = CompressionMethod::Deflated;

/// As an instance writes it: the lengths stand in front.
fn zip_of(members: &[(&str, &[u8], CompressionMethod)]) -> Vec<u8> {
    let mut writer = ZipWriter::new(Cursor::new(Vec::new()));
    for (name, content, method) in members {
        let options = SimpleFileOptions::default()
            .compression_method(*method)
            .large_file(content.len() > 500_000)
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

fn canonical() -> Vec<u8> {
    let random = noise(3, 3_000_000);
    zip_of(&[
        ("api_states/", b"", STORED),
        ("api_states/s3/b.state", &random[..70_000], STORED),
        ("api_states/sqs/store.state", &random, STORED),
        ("assets/empty", b"", STORED),
        ("assets/s3/x", &random[1000..900_000], STORED),
        ("assets/s3/\u{e9}\u{65e5}", &random[..1000], STORED),
    ])
}

/// How a state arrives: in steps, and to its end or not.
#[derive(Clone, Copy)]
struct Pace {
    step: usize,
    whole: bool,
}

/// A zip that comes in steps.
struct Coming {
    zip: Cursor<Vec<u8>>,
    pace: Pace,
}

impl Read for Coming {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let len = into.len().min(self.pace.step);
        match self.zip.read(&mut into[..len])? {
            0 if !self.pace.whole && len > 0 => Err(io::ErrorKind::UnexpectedEof.into()),
            got => Ok(got),
        }
    }
}

/// Saves `zip` as it comes, in a home of its own.
fn while_it_comes(zip: &[u8], pace: Pace) -> Result<SavedState, SaveError> {
    let zip = Cursor::new(zip.to_vec());
    let folder = tempfile::tempdir().unwrap();
    let source = Source::arriving(Coming { zip, pace }, folder.path());
    match Home::new().try_save(source, &[], SaveChoice::default())? {
        Saved::Version(saved) => Ok(saved),
        Saved::Unchanged(_) => panic!("it is new"),
    }
}

fn only_whole(saved: &Result<SavedState, SaveError>) -> bool {
    matches!(saved, Err(SaveError::Source(SourceError::NotAsItCame)))
}

fn when_whole(zip: &[u8]) -> Result<SavedState, SaveError> {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(zip).unwrap();
    whole_file(file)
}

fn whole_file(file: File) -> Result<SavedState, SaveError> {
    let source = Source::from_instance(file)?;
    match Home::new().try_save(source, &[], SaveChoice::default())? {
        Saved::Version(saved) => Ok(saved),
        Saved::Unchanged(_) => panic!("it is new"),
    }
}

/// The figures that describe a version's content and chunks.
fn shape(saved: &SavedState) -> (ContentHash, u64, u64, u64) {
    (
        saved.content,
        saved.state_len,
        saved.entry_count,
        saved.stats.plain,
    )
}

#[test]
fn a_version_is_the_same_either_way() {
    let zip = canonical();
    let expected = when_whole(&zip).unwrap();
    for step in [1_000_000, 65_536, 777] {
        let saved = while_it_comes(&zip, Pace { step, whole: true }).unwrap();
        assert_eq!(shape(&saved), shape(&expected), "in steps of {step}");
        assert_eq!(saved.stats, expected.stats);
    }
    let empty = zip_of(&[]);
    let whole = true;
    let saved = while_it_comes(&empty, Pace { step: 9, whole }).unwrap();
    assert_eq!(shape(&saved), shape(&when_whole(&empty).unwrap()));
}

#[test]
fn what_cannot_be_read_as_it_comes_is_asked_for_whole() {
    let random = noise(4, 400_000);
    let text = "state ".repeat(60_000);
    let [x, y] = [&random[..], text.as_bytes()];
    let mut lying = canonical();
    // The local header of the second member tells of a byte less than the directory.
    let at = lying
        .windows(21)
        .position(|bytes| bytes == b"api_states/s3/b.state")
        .unwrap();
    let len = 69_999_u32.to_le_bytes();
    lying[at - 12..][..4].copy_from_slice(&len);
    lying[at - 8..][..4].copy_from_slice(&len);
    for (what, zip) in [
        (
            "out of order",
            zip_of(&[("b", x, STORED), ("a", y, STORED)]),
        ),
        ("deflated", zip_of(&[("a", x, STORED), ("b", y, DEFLATED)])),
        ("a header that lies", lying),
    ] {
        let pace = Pace {
            step: 50_000,
            whole: true,
        };
        let saved = while_it_comes(&zip, pace);
        assert!(only_whole(&saved), "{what}: {saved:?}");
        when_whole(&zip).unwrap();
    }
}

#[test]
fn what_breaks_off_is_never_a_version() {
    let zip = canonical();
    for len in [
        0,
        1,
        3,
        4,
        40,
        100_000,
        zip.len() - 30,
        zip.len() - 1,
        zip.len(),
    ] {
        let pace = Pace {
            step: 9999,
            whole: false,
        };
        let saved = while_it_comes(&zip[..len], pace);
        assert!(
            matches!(saved, Err(SaveError::Source(SourceError::Broken(_)))),
            "{len}: {saved:?}"
        );
        // Cut, and said to be whole.
        if len < zip.len() {
            let pace = Pace {
                step: 9999,
                whole: true,
            };
            assert!(while_it_comes(&zip[..len], pace).is_err(), "{len}");
        }
    }
}

/// Each byte of a small zip changed: an accepted arriving zip equals the whole one.
#[test]
fn a_changed_byte_means_the_same_either_way() {
    let good = zip_of(&[
        ("a", b"content of a", STORED),
        ("d/", b"", STORED),
        ("d/b", b"bbbbbbbbbbbbbbbbb", STORED),
    ]);
    for at in 0..good.len() {
        for flip in [0x01, 0x20, 0xFF] {
            let mut bad = good.clone();
            bad[at] ^= flip;
            let pace = Pace {
                step: 10,
                whole: true,
            };
            let coming = while_it_comes(&bad, pace);
            if only_whole(&coming) {
                continue;
            }
            let (whole, coming) = (when_whole(&bad).unwrap(), coming.unwrap());
            assert_eq!(shape(&whole), shape(&coming), "byte {at} by {flip}");
        }
    }
}

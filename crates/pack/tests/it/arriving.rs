//! A zip that is saved while it comes: the version is that of the whole file, whatever it is.

use std::{
    fs::File,
    io::{self, Cursor, Write},
    sync::mpsc,
    thread,
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
        ("assets/s3/\u{e9}\u{65e5}", &random[..1000], STORED),
        ("assets/s3/x", &random[1000..900_000], STORED),
    ])
}

/// How a state arrives: in steps, and to its end or not.
#[derive(Clone, Copy)]
struct Pace {
    step: usize,
    whole: bool,
}

/// Saves `zip` while another thread writes it, in a home of its own.
fn while_it_comes(zip: &[u8], pace: Pace) -> Result<(SavedState, Vec<u64>), SaveError> {
    let mut file = tempfile::tempfile().unwrap();
    let reader = file.try_clone().unwrap();
    let (told, so_far) = mpsc::sync_channel::<u64>(1);
    let (asked, asks) = mpsc::sync_channel::<u64>(1);
    let zip = zip.to_vec();
    let writer = thread::spawn(move || {
        let mut written = 0;
        // Nothing is written that nobody waits for: a save that waits for the end first shows.
        while let Ok(wanted) = asks.recv() {
            while written < zip.len() && (written as u64) < wanted {
                let next = &zip[written..(written + pace.step).min(zip.len())];
                file.write_all(next).unwrap();
                written += next.len();
            }
            if written == zip.len() && !pace.whole && wanted > zip.len() as u64 {
                break;
            }
            if told.send(written as u64).is_err() {
                break;
            }
        }
    });
    let waits = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let seen = std::sync::Arc::clone(&waits);
    let arrival = move |len: u64| {
        seen.lock().unwrap().push(len);
        let broken = || io::Error::from(io::ErrorKind::UnexpectedEof);
        asked.send(len).map_err(|_| broken())?;
        so_far.recv().map_err(|_| broken())
    };
    let mut home = Home::new();
    let source = Source::arriving(reader, Box::new(arrival));
    let saved = home.try_save(source, &[], SaveChoice::default());
    writer.join().unwrap();
    let Saved::Version(saved) = saved? else {
        panic!("it is new")
    };
    let waits = waits.lock().unwrap().clone();
    Ok((saved, waits))
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

/// All that says what is in a version, and how it was cut.
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
        let (saved, waits) = while_it_comes(&zip, Pace { step, whole: true }).unwrap();
        assert_eq!(shape(&saved), shape(&expected), "in steps of {step}");
        assert_eq!(saved.stats, expected.stats, "nothing was read twice");
        // The end was asked for once all members were read.
        assert_eq!(
            waits
                .iter()
                .filter(|len| **len > zip.len() as u64 * 2)
                .count(),
            1
        );
    }
}

#[test]
fn what_cannot_be_read_as_it_comes_is_read_when_it_is_whole() {
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
        ("no member", zip_of(&[])),
    ] {
        let pace = Pace {
            step: 50_000,
            whole: true,
        };
        let (saved, _) = while_it_comes(&zip, pace).unwrap();
        assert_eq!(shape(&saved), shape(&when_whole(&zip).unwrap()), "{what}");
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

/// Every byte of a small zip, changed: the way it is read never decides what it is.
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
            match (when_whole(&bad), while_it_comes(&bad, pace)) {
                (Ok(whole), Ok((coming, _))) => {
                    assert_eq!(shape(&whole), shape(&coming), "byte {at} by {flip}");
                }
                (Err(whole), Err(coming)) => {
                    assert_eq!(whole.to_string(), coming.to_string(), "byte {at} by {flip}");
                }
                (whole, coming) => panic!("byte {at} by {flip}: {whole:?} and {coming:?}"),
            }
        }
    }
}

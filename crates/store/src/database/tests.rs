use std::os::unix::fs::FileExt;

use podsync_core::{OpId, TeamId};

use super::*;
use crate::{Home, Key, Log, Record};

/// Enough records for a tree of several levels.
fn filled(home: &Home) -> PathBuf {
    let log = Log::open(home).unwrap();
    let team = TeamId::of(b"team");
    let records: Vec<_> = (0_u32..400)
        .map(|n| {
            let id = OpId::of(&n.to_le_bytes());
            Record::put(Key::Operation { team, id }, vec![n as u8; 300])
        })
        .collect();
    log.commit(&records).unwrap();
    home.root().join("log.redb")
}

/// Reads all of it, as a start does.
fn read_all(home: &Home) -> Result<usize, StoreError> {
    let log = Log::open(home)?;
    let mut read = 0;
    for team in log.teams()? {
        for row in log.operations(team)? {
            row?;
            read += 1;
        }
    }
    Ok(read)
}

fn is_damage(error: &StoreError) -> bool {
    matches!(
        error,
        StoreError::Damaged {
            remedy: Remedy::Log,
            ..
        }
    )
}

#[test]
fn a_file_that_is_no_database_is_damaged_and_left_as_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path(), "a test").unwrap();
    let path = filled(&home);
    let whole = fs::read(&path).unwrap();
    let cut = [0, 1, 100, 4096, whole.len() / 2].map(|len| whole[..len].to_vec());
    let zeros = vec![0; whole.len()];
    let other = b"SQLite format 3\0".repeat(1000);
    for bytes in cut.into_iter().chain([zeros, other]) {
        fs::write(&path, &bytes).unwrap();
        let error = read_all(&home).unwrap_err();
        assert!(is_damage(&error), "{} bytes: {error}", bytes.len());
        let hint = error.hint().unwrap_or_default();
        assert!(
            hint.contains("log.redb.damaged") && hint.contains("podsync team join"),
            "{error}; {hint}"
        );
        assert!(Log::examine(&home).is_err());
        assert!(fs::read(&path).unwrap() == bytes, "for who may mend it");
    }
}

/// A changed byte is detected or harmless. It never ends the process and never looks like another error.
#[test]
fn a_changed_byte_anywhere_is_damage_or_does_no_harm() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path(), "a test").unwrap();
    let path = filled(&home);
    assert_eq!(read_all(&home).unwrap(), 400);
    Log::examine(&home).unwrap();
    let whole = fs::read(&path).unwrap();
    let mut found = 0;
    for at in (0..whole.len()).step_by(whole.len() / 97) {
        let file = File::options().write(true).open(&path).unwrap();
        file.write_all_at(&[whole[at] ^ 0x55], at as u64).unwrap();
        let changed = fs::read(&path).unwrap();
        match read_all(&home) {
            Ok(read) => assert_eq!(read, 400, "at {at}"),
            Err(error) => {
                assert!(is_damage(&error), "at {at}: {error}");
                assert!(fs::read(&path).unwrap() == changed, "for who may mend it");
                found += 1;
            }
        }
        fs::write(&path, &whole).unwrap();
    }
    assert!(found > 0, "some bytes hold the tree together");
}

#[test]
fn a_value_that_was_changed_is_damage_at_the_next_start() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path(), "a test").unwrap();
    let path = filled(&home);
    let whole = fs::read(&path).unwrap();
    let value = [7_u8; 300];
    let at = whole.windows(300).position(|bytes| bytes == value).unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    file.write_all_at(&[8], at as u64 + 100).unwrap();
    for found in [Log::open(&home).map(drop), Log::examine(&home)] {
        let error = found.unwrap_err();
        assert!(is_damage(&error), "{error}");
    }
}

#[test]
fn a_file_that_a_crash_left_half_made_is_made_anew() {
    let folder = tempfile::tempdir().unwrap();
    let home = Home::open(folder.path(), "a test").unwrap();
    fs::write(folder.path().join(".unfinished-log.redb.new"), "half").unwrap();
    assert_eq!(read_all(&home).unwrap(), 0);
    drop(home);
    let home = Home::open(folder.path(), "a test").unwrap();
    assert_eq!(read_all(&home).unwrap(), 0);
    let left = folder.path().join(".unfinished-log.redb.new");
    assert!(!left.exists());
}

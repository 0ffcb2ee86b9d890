//! The key that the hub witnesses joins with, in a file that only the hub may read.

use std::{
    fs::{self, OpenOptions},
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER;
use podsync_core::keys::DeviceSecret;

/// A seed in hex, and a line's end.
const MAX_FILE_LEN: u64 = 80;

/// What the system said is part of the words and no `source`: who prints a chain of causes would say it twice.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    #[error("{}: {error}; `podsync-hub key {}` makes one", .path.display(), shell_word(.path))]
    Unreadable {
        path: PathBuf,
        error: std::io::Error,
    },
    #[error("{path} is not a key that `podsync-hub key` made: put it back from a backup, or make another", path = .0.display())]
    Damaged(PathBuf),
    #[error("{path} can't be written: {error}; a key that is there is never overwritten", path = .path.display())]
    Unwritable {
        path: PathBuf,
        error: std::io::Error,
    },
}

/// The path as one word of a shell's command line.
fn shell_word(path: &Path) -> String {
    let text = path.to_string_lossy();
    shlex::try_quote(&text).map_or_else(|_| text.to_string(), |word| word.into_owned())
}

/// Reads a key.
pub fn read(path: &Path) -> Result<DeviceSecret, WitnessError> {
    let unreadable = |error| WitnessError::Unreadable {
        path: path.to_owned(),
        error,
    };
    let long = fs::metadata(path).map_err(unreadable)?.len() > MAX_FILE_LEN;
    let damaged = || WitnessError::Damaged(path.to_owned());
    if long {
        return Err(damaged());
    }
    let text = fs::read_to_string(path).map_err(unreadable)?;
    let seed = HEXLOWER.decode(text.trim().as_bytes()).ok();
    seed.and_then(|seed| seed.try_into().ok())
        .map(DeviceSecret::from_seed)
        .ok_or_else(damaged)
}

/// Makes a key. One that is there stays.
pub fn create(path: &Path) -> Result<DeviceSecret, WitnessError> {
    let seed: [u8; 32] = rand::random();
    let write = || {
        let mut file = OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(path)?;
        writeln!(file, "{}", HEXLOWER.encode(&seed))?;
        file.sync_all()
    };
    write().map_err(|error| WitnessError::Unwritable {
        path: path.to_owned(),
        error,
    })?;
    Ok(DeviceSecret::from_seed(seed))
}

/// Reads a key, or makes one if there is none.
pub fn open(path: &Path) -> Result<DeviceSecret, WitnessError> {
    match read(path) {
        Err(WitnessError::Unreadable { error, .. }) if error.kind() == ErrorKind::NotFound => {
            create(path)
        }
        result => result,
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_key_is_made_once_for_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("witness.key");
        let missing = read(Path::new("/no such/witness.key")).unwrap_err();
        assert!(matches!(missing, WitnessError::Unreadable { .. }));
        let command = "`podsync-hub key '/no such/witness.key'`";
        assert!(missing.to_string().contains(command), "{missing}");
        let made = open(&path).unwrap();
        assert_eq!(open(&path).unwrap().id(), made.id());
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert!(matches!(
            create(&path),
            Err(WitnessError::Unwritable { .. })
        ));
        for damaged in ["", "abc", &"ab".repeat(60)] {
            fs::write(&path, damaged).unwrap();
            assert!(matches!(read(&path), Err(WitnessError::Damaged(_))));
        }
    }
}

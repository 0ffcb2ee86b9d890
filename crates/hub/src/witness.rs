//! The key that the hub witnesses joins with, in a file that only the hub may read.

use std::{
    fs::OpenOptions,
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
};

use data_encoding::HEXLOWER;
use podsync_core::keys::DeviceSecret;

use crate::regular;

/// A seed in hex, and a line's end.
const MAX_FILE_LEN: u64 = 80;

/// What the system said is part of the words and no `source`: who prints a chain of causes would say it twice.
#[derive(Debug, thiserror::Error)]
pub enum WitnessError {
    #[error("{}: {error}{}", .path.display(), advice(.path, .error))]
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

/// A key is made only where nothing is.
fn advice(path: &Path, error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => format!("; `podsync-hub key {}` makes one", shell_word(path)),
        _ => String::new(),
    }
}

/// The path as one word of a shell's command line.
fn shell_word(path: &Path) -> String {
    let text = path.to_string_lossy();
    shlex::try_quote(&text).map_or_else(|_| text.to_string(), |word| word.into_owned())
}

/// Reads a key.
pub fn read(path: &Path) -> Result<DeviceSecret, WitnessError> {
    let damaged = || WitnessError::Damaged(path.to_owned());
    let bytes = regular::read(path, MAX_FILE_LEN).map_err(|error| match error.kind() {
        ErrorKind::FileTooLarge => damaged(),
        _ => WitnessError::Unreadable {
            path: path.to_owned(),
            error,
        },
    })?;
    let seed = HEXLOWER.decode(bytes.trim_ascii()).ok();
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
    use std::{fs, os::unix::fs::PermissionsExt};

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
        // Nobody is told to write a key over a device.
        let device = read(Path::new("/dev/zero")).unwrap_err().to_string();
        assert!(
            device.contains("a device") && !device.contains("podsync-hub key"),
            "{device}"
        );
    }
}

//! The device's key on disk: a seed of 32 bytes, readable by its owner only, and beside it the device's id.
//!
//! A flipped bit would make another key, which no team knows. The file `device` detects that. Homes of an older
//! podsync get it when their key is next read; an older podsync ignores it.

use std::{
    fs,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use podsync_core::{DeviceId, keys::DeviceSecret, seal::SecretKey};
use zeroize::Zeroizing;

use super::HomeError;
use crate::{
    StoreError, atomic,
    error::Remedy,
    regular::{open_regular, read_regular},
};

const SEED_LEN: usize = 32;
const SEED: &str = "identity";
const DEVICE: &str = "device";
/// More bytes than a device's id has.
const MAX_NOTED_LEN: u64 = 80;

/// Whether the home has a device's key, or had one.
pub(crate) fn is_initialised(root: &Path) -> bool {
    root.join(SEED).exists() || root.join(DEVICE).exists()
}

pub(super) fn load(root: &Path) -> Result<Option<SecretKey>, HomeError> {
    let (path, noted) = (root.join(DEVICE), noted_device(root)?);
    match (load_seed(&root.join(SEED))?, noted) {
        (Some(seed), None) => {
            atomic::write_atomic(&path, device(&seed).as_bytes(), 0o600)?;
            Ok(Some(seed))
        }
        (Some(seed), Some(noted)) if noted == device(&seed).trim_end() => Ok(Some(seed)),
        (_, Some(noted)) if noted.parse::<DeviceId>().is_err() => {
            let what = format!("it says {noted:?} instead of a device");
            Err(damaged(&path, what, Remedy::Note))
        }
        (Some(seed), Some(noted)) => {
            let own = device(&seed);
            let own = own.trim_end();
            if is_nearly(&noted, own) {
                let what = format!(
                    "it names device {noted}, and the key in `{SEED}` beside it belongs to {own}"
                );
                return Err(damaged(&path, what, Remedy::Note));
            }
            let what = format!(
                "its key belongs to device {own}, and the file `{DEVICE}` beside it names {noted}"
            );
            Err(damaged(&root.join(SEED), what, Remedy::KeyOrNote))
        }
        (None, Some(noted)) => {
            let what = format!("it is gone, and it was the key of the device {noted}");
            Err(damaged(&root.join(SEED), what, Remedy::Identity))
        }
        (None, None) => Ok(None),
    }
}

/// Whether two ids have most of their characters in common. A flipped bit in a key changes nearly all of its device's
/// id, and a flipped bit in a note one character.
fn is_nearly(noted: &str, own: &str) -> bool {
    let alike = noted.bytes().zip(own.bytes()).filter(|(a, b)| a == b);
    noted.len() == own.len() && alike.count() > own.len() / 2
}

/// The device id in the file beside the key: at most one line of it.
fn noted_device(root: &Path) -> Result<Option<String>, HomeError> {
    let path = root.join(DEVICE);
    match read_regular(&path, MAX_NOTED_LEN) {
        Ok(bytes) => {
            let noted = String::from_utf8_lossy(&bytes);
            Ok(Some(noted.trim().to_owned()))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            Err(damaged(&path, error.to_string(), Remedy::Note))
        }
        Err(error) => Err(StoreError::read(&path)(error).into()),
    }
}

pub(super) fn create(root: &Path, seed: &SecretKey) -> Result<(), HomeError> {
    let path = root.join(SEED);
    if path.symlink_metadata().is_ok() {
        return Err(HomeError::IdentityExists { path });
    }
    // Remove a note of an earlier key first: after a crash between the two writes it would make the new
    // key look damaged.
    let device_path = root.join(DEVICE);
    match fs::remove_file(&device_path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(StoreError::io("replace", &device_path, 0, error).into());
        }
        _ => {}
    }
    atomic::write_new(&path, seed.expose(), 0o600).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => HomeError::IdentityExists { path: path.clone() },
        _ => StoreError::io("write", &path, SEED_LEN as u64, error).into(),
    })?;
    Ok(atomic::write_atomic(
        &device_path,
        device(seed).as_bytes(),
        0o600,
    )?)
}

fn device(seed: &SecretKey) -> String {
    format!("{}\n", DeviceSecret::from_seed(*seed.expose()).id())
}

fn load_seed(path: &Path) -> Result<Option<SecretKey>, HomeError> {
    let file = match open_regular(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) if error.kind() == io::ErrorKind::InvalidInput => {
            return Err(damaged(path, error.to_string(), Remedy::Identity));
        }
        Err(error) => return Err(StoreError::read(path)(error).into()),
    };
    let metadata = file.metadata().map_err(StoreError::read(path))?;
    let mode = metadata.permissions().mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(HomeError::Exposed {
            path: path.to_owned(),
            risk: "read",
            mode,
            fix: "600",
        });
    }
    // One byte more than a seed, so that a longer file is noticed.
    let mut bytes = Zeroizing::new(Vec::with_capacity(SEED_LEN + 1));
    file.take(SEED_LEN as u64 + 1)
        .read_to_end(&mut bytes)
        .map_err(StoreError::read(path))?;
    match <&[u8; SEED_LEN]>::try_from(bytes.as_slice()) {
        Ok(seed) => Ok(Some(SecretKey::from_bytes(*seed))),
        Err(_) => {
            let what = format!("a key has {SEED_LEN} bytes, and this file has another length");
            Err(damaged(path, what, Remedy::Identity))
        }
    }
}

fn damaged(path: &Path, what: String, remedy: Remedy) -> HomeError {
    StoreError::Damaged {
        path: path.to_owned(),
        what,
        remedy,
    }
    .into()
}

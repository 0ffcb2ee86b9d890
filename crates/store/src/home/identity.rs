//! The device's key on disk: 32 bytes of seed, readable by its owner only.

use std::{
    fs::File,
    io::{self, Read},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use podsync_core::seal::SecretKey;
use zeroize::Zeroizing;

use super::HomeError;
use crate::{StoreError, atomic};

const SEED_LEN: usize = 32;

pub(super) fn load(path: &Path) -> Result<Option<SecretKey>, HomeError> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StoreError::read(path)(error).into()),
    };
    let mode = file
        .metadata()
        .map_err(StoreError::read(path))?
        .permissions()
        .mode()
        & 0o777;
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
    let seed: Zeroizing<[u8; SEED_LEN]> = match bytes.as_slice().try_into() {
        Ok(seed) => Zeroizing::new(seed),
        Err(_) => {
            let what = format!("a key has {SEED_LEN} bytes, this file has not");
            return Err(StoreError::Damaged {
                path: path.to_owned(),
                what,
            }
            .into());
        }
    };
    Ok(Some(SecretKey::from_bytes(*seed)))
}

pub(super) fn create(path: &Path, seed: &SecretKey) -> Result<(), HomeError> {
    atomic::write_new(path, seed.expose(), 0o600).map_err(|error| match error.kind() {
        io::ErrorKind::AlreadyExists => HomeError::IdentityExists {
            path: path.to_owned(),
        },
        _ => StoreError::io("write", path, SEED_LEN as u64, error).into(),
    })
}

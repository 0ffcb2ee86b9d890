//! Paths of those files in a home that other processes look for.

use std::path::{Path, PathBuf};

use podsync_api::ApiError;

use crate::error::Failure;

/// The longest path of a socket that every platform takes (macOS: 104 bytes with the NUL).
const MAX_SOCKET_PATH: usize = 100;

/// Whether `init` was run for this home. If only the key is missing, a file beside it still says so: that is
/// damage, not a new home.
pub fn is_initialised(home: &Path) -> bool {
    home.join("identity").exists() || home.join("device").exists()
}

/// Fails if the folder is neither a home nor may become one, as making the home would.
pub fn check_may_be_home(home: &Path) -> Result<(), ApiError> {
    Ok(podsync_store::check_may_be_home(home).map_err(Failure::from)?)
}

/// Where the daemon of `home` listens: in the home, or where that path is too long for a socket, in
/// a folder of this user's that is named by the home's hash.
pub fn socket_path(home: &Path) -> PathBuf {
    let inside = home.join("run/podsync.sock");
    if inside.as_os_str().len() <= MAX_SOCKET_PATH {
        return inside;
    }
    let name = podsync_core::BlobId::of(home.as_os_str().as_encoded_bytes()).short();
    let base =
        std::env::var_os("XDG_RUNTIME_DIR").map_or_else(|| PathBuf::from("/tmp"), PathBuf::from);
    base.join(format!("podsync-{name}")).join("podsync.sock")
}

//! Files that this machine's user owns: read up to a bound, and written whole or not at all. The daemon reads its
//! settings in the same way, so the reading is its.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

pub(crate) use podsync_daemon::read_text;

/// Writes a file aside, brings it to the disk and gives it its name. The folder is made if it isn't there; a
/// file that is replaced keeps its mode.
pub(crate) fn write_whole(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("/"));
    std::fs::create_dir_all(folder)?;
    let mode = path
        .metadata()
        .map_or(0o600, |metadata| metadata.permissions().mode());
    let mut aside = tempfile::Builder::new()
        .prefix(".podsync-")
        .permissions(PermissionsExt::from_mode(mode))
        .tempfile_in(folder)?;
    aside.write_all(bytes)?;
    aside.as_file().sync_all()?;
    aside.persist(path).map_err(|error| error.error)?;
    File::open(folder)?.sync_all()
}

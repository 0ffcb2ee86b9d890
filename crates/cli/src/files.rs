//! Files that this machine's user owns: read up to a bound, written whole or not at all, and in temporary folders
//! that nobody else can enter.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

pub(crate) use podsync_daemon::{MEND_LINK, read_text, refuse_dangling};
use tempfile::TempDir;

/// More than a path has that somebody made on purpose.
const MAX_LINKS: usize = 40;

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

/// The file that a path leads to, also if it isn't there yet. To replace a link would leave the file behind it as it
/// was, which may be the one that somebody keeps.
pub(crate) fn behind_links(path: &Path) -> io::Result<PathBuf> {
    let mut path = std::path::absolute(path)?;
    for _ in 0..MAX_LINKS {
        match path.read_link() {
            Ok(target) => path = path.parent().unwrap_or(Path::new("/")).join(target),
            // It is no link, or nothing is there.
            Err(_) => return Ok(path),
        }
    }
    let what = "its links lead nowhere";
    Err(io::Error::new(io::ErrorKind::InvalidInput, what))
}

/// Makes a folder in the system's temporary folder. Only its owner can enter it, whatever the umask.
pub(crate) fn temporary_folder(prefix: &str) -> io::Result<TempDir> {
    tempfile::Builder::new()
        .prefix(prefix)
        .permissions(PermissionsExt::from_mode(0o700))
        .tempdir()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_stays_and_its_file_is_written() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::create_dir(at("dotfiles")).unwrap();
        let link = |to: &str, from: &str| std::os::unix::fs::symlink(to, at(from)).unwrap();
        link("dotfiles/real", "first");
        link("first", "second");
        for text in ["made", "changed"] {
            write_whole(&behind_links(&at("second")).unwrap(), text.as_bytes()).unwrap();
            let written = std::fs::read_to_string(at("dotfiles/real")).unwrap();
            assert_eq!(written, text);
            assert!(at("first").is_symlink() && at("second").is_symlink());
        }
        link("circle", "circle");
        assert!(behind_links(&at("circle")).is_err());
        assert_eq!(behind_links(&at("none")).unwrap(), at("none"));
    }

    #[test]
    fn only_its_owner_can_enter_a_temporary_folder() {
        let folder = temporary_folder("podsync-").unwrap();
        let mode = folder.path().metadata().unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o700);
    }
}

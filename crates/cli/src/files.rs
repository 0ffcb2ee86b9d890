//! Files that this machine's user owns: read up to a bound, written whole or not at all, and in temporary folders
//! that nobody else can enter.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use podsync_daemon::read_regular;
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
    Err(unfit("its links lead nowhere"))
}

/// Makes a folder in the system's temporary folder. Only its owner can enter it, whatever the umask.
pub(crate) fn temporary_folder(prefix: &str) -> io::Result<TempDir> {
    tempfile::Builder::new()
        .prefix(prefix)
        .permissions(PermissionsExt::from_mode(0o700))
        .tempdir()
}

/// Reads a file whose path a user may have mistyped. A device or a pipe may have no end, or never begin.
pub(crate) fn read_text(path: &Path, max_len: u64) -> io::Result<String> {
    let bytes = read_regular(path, max_len + 1)?;
    if bytes.len() as u64 > max_len {
        return Err(unfit(&format!("it is larger than {max_len} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| unfit("it is not UTF-8 text"))
}

fn unfit(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_end_or_is_no_file_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for (path, why) in [
            (Path::new("/dev/null"), "no file"),
            (Path::new("/dev/zero"), "no file"),
            (socket.as_path(), "no file"),
            (folder.path(), "a folder"),
        ] {
            let error = read_text(path, 4).unwrap_err().to_string();
            assert!(error.contains(why), "{}: {error}", path.display());
        }
    }

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

    #[test]
    fn a_file_is_read_up_to_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        assert_eq!(
            read_text(&path, 4).unwrap_err().kind(),
            io::ErrorKind::NotFound
        );
        std::fs::write(&path, "four").unwrap();
        assert_eq!(read_text(&path, 4).unwrap(), "four");
        let error = read_text(&path, 3).unwrap_err().to_string();
        assert!(error.contains("larger than 3 bytes"), "{error}");
        std::fs::write(&path, b"\xff").unwrap();
        let error = read_text(&path, 4).unwrap_err().to_string();
        assert!(error.contains("UTF-8"), "{error}");
    }
}

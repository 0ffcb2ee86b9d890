//! Files that this machine's user owns: read up to a bound, and written whole or not at all.

use std::{
    fs::File,
    io::{self, Write},
    os::unix::fs::PermissionsExt,
    path::Path,
};

use podsync_daemon::read_regular;

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

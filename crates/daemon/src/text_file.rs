//! Text files of this machine's user, read up to a bound.

use std::{
    fs::File,
    io::{self, Read},
    path::Path,
};

/// Reads a file whose path a user may have mistyped. A device or a pipe may have no end, or never begin.
pub fn read_text(path: &Path, max_len: u64) -> io::Result<String> {
    // Looked at before it is opened: opening a pipe waits for somebody who writes to it.
    let metadata = path.metadata()?;
    if metadata.is_dir() {
        return Err(unfit("it is a folder"));
    }
    if !metadata.is_file() {
        return Err(unfit("it is a device, a pipe or a socket, and no file"));
    }
    let too_long = || unfit(&format!("it is larger than {max_len} bytes"));
    if metadata.len() > max_len {
        return Err(too_long());
    }
    // Some files of /proc have no length, and others grow.
    let mut bytes = Vec::new();
    File::open(path)?
        .take(max_len + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_len {
        return Err(too_long());
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

//! Opens and reads regular files alone, and refuses links to nothing.
//!
//! Whatever a file of the home is replaced by, a caller must not hang: opening a pipe waits until somebody writes to it,
//! and a device may have no end.

use std::{
    fs::{File, Metadata, OpenOptions},
    io::{self, Read},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

/// Opens a regular file to read it. Never waits, and refuses anything else with `InvalidInput`.
pub fn open_regular(path: &Path) -> io::Result<File> {
    // Opening a device may already do something.
    refuse_other(&path.metadata()?)?;
    // What stands there may be replaced by a pipe in between.
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    refuse_other(&file.metadata()?)?;
    Ok(file)
}

/// Reads a regular file, and no more than its first `max_len` bytes.
pub fn read_regular(path: &Path, max_len: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open_regular(path)?.take(max_len).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Reads a text file whole, or refuses it with `InvalidInput` if it has more than `max_len` bytes or isn't UTF-8.
pub fn read_text(path: &Path, max_len: u64) -> io::Result<String> {
    let bytes = read_regular(path, max_len + 1)?;
    if bytes.len() as u64 > max_len {
        return Err(unfit(&format!("it is larger than {max_len} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| unfit("it is not UTF-8 text"))
}

/// What to do about a link that leads nowhere.
pub const MEND_LINK: &str = "make the file that the link names, or remove the link";

/// Refuses a symbolic link to nothing with `NotFound`. Who writes through it makes a file at a place that nobody may
/// know of any more.
pub fn refuse_dangling(path: &Path) -> io::Result<()> {
    let Ok(target) = path.read_link() else {
        return Ok(());
    };
    match path.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(io::Error::new(
            io::ErrorKind::NotFound,
            format!(
                "it is a symbolic link to {}, which is not there",
                target.display()
            ),
        )),
        _ => Ok(()),
    }
}

fn refuse_other(metadata: &Metadata) -> io::Result<()> {
    let what = match (metadata.is_file(), metadata.is_dir()) {
        (true, _) => return Ok(()),
        (false, true) => "it is a folder",
        (false, false) => "it is a device, a pipe or a socket, and no file",
    };
    Err(unfit(what))
}

fn unfit(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, what)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_bound() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let gone = read_regular(&path, 4).unwrap_err();
        assert_eq!(gone.kind(), io::ErrorKind::NotFound);
        std::fs::write(&path, "four").unwrap();
        assert_eq!(read_regular(&path, 9).unwrap(), b"four");
        assert_eq!(read_regular(&path, 3).unwrap(), b"fou");

        assert_eq!(read_text(&path, 4).unwrap(), "four");
        let error = read_text(&path, 3).unwrap_err().to_string();
        assert!(error.contains("larger than 3 bytes"), "{error}");
        std::fs::write(&path, b"\xff").unwrap();
        let error = read_text(&path, 4).unwrap_err().to_string();
        assert!(error.contains("UTF-8"), "{error}");
    }

    #[test]
    fn a_link_to_nothing_is_refused_with_what_it_names() {
        let folder = tempfile::tempdir().unwrap();
        let (link, file) = (folder.path().join("link"), folder.path().join("file"));
        refuse_dangling(&link).unwrap();
        std::os::unix::fs::symlink(&file, &link).unwrap();
        let error = refuse_dangling(&link).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
        let named = file.display().to_string();
        assert!(error.to_string().contains(&named), "{error}");
        std::fs::write(&file, "").unwrap();
        refuse_dangling(&link).unwrap();
        refuse_dangling(&file).unwrap();
    }

    #[test]
    fn what_is_no_regular_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let (pipe, socket) = (folder.path().join("pipe"), folder.path().join("socket"));
        let made = Command::new("mkfifo").arg(&pipe).status().unwrap();
        assert!(made.success());
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        for (path, why) in [
            (pipe.as_path(), "a pipe"),
            (socket.as_path(), "a socket"),
            (Path::new("/dev/zero"), "a device"),
            (folder.path(), "a folder"),
        ] {
            let error = open_regular(path).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
            let path = path.display();
            assert!(error.to_string().contains(why), "{path}: {error}");
        }
    }
}

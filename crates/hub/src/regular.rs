//! Reads the files that settings name: regular ones alone, also behind a symbolic link, and no more than a bound.
//!
//! Whatever a file is replaced by, the hub must not hang: opening a pipe waits until somebody writes to it, and a
//! device may have no end.

use std::{
    fs::{File, Metadata},
    io::{Error, ErrorKind, Read, Result},
    path::Path,
};

/// Opens a regular file to read it, and refuses anything else with `InvalidInput`.
pub(crate) fn open(path: &Path) -> Result<File> {
    // Opening a device may already do something.
    refuse_other(&path.metadata()?)?;
    let file = File::open(path)?;
    refuse_other(&file.metadata()?)?;
    Ok(file)
}

/// Reads a regular file whole, or refuses it with `FileTooLarge` if it has more than `max_len` bytes.
pub(crate) fn read(path: &Path, max_len: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(max_len + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > max_len {
        let what = format!("it is larger than {max_len} bytes");
        return Err(Error::new(ErrorKind::FileTooLarge, what));
    }
    Ok(bytes)
}

/// The same for a text, which is refused with `InvalidData` if it isn't UTF-8.
pub(crate) fn read_text(path: &Path, max_len: u64) -> Result<String> {
    let text = String::from_utf8(read(path, max_len)?);
    text.map_err(|_| Error::new(ErrorKind::InvalidData, "it is not UTF-8 text"))
}

fn refuse_other(metadata: &Metadata) -> Result<()> {
    let what = match (metadata.is_file(), metadata.is_dir()) {
        (true, _) => return Ok(()),
        (false, true) => "it is a folder",
        (false, false) => "it is a device, a pipe or a socket, and no file",
    };
    Err(Error::new(ErrorKind::InvalidInput, what))
}

#[cfg(test)]
mod tests {
    use std::{fs, os::unix::fs::symlink, process::Command};

    use super::*;

    #[test]
    fn a_file_is_read_up_to_its_bound_also_behind_a_link() {
        let folder = tempfile::tempdir().unwrap();
        let [file, link] = ["file", "link"].map(|name| folder.path().join(name));
        assert_eq!(read(&file, 4).unwrap_err().kind(), ErrorKind::NotFound);
        fs::write(&file, "four").unwrap();
        symlink(&file, &link).unwrap();
        for path in [&file, &link] {
            assert_eq!(read_text(path, 4).unwrap(), "four");
            assert_eq!(read(path, 3).unwrap_err().kind(), ErrorKind::FileTooLarge);
        }
        fs::write(&file, b"\xff").unwrap();
        let odd = read_text(&file, 4).unwrap_err();
        assert_eq!(odd.kind(), ErrorKind::InvalidData);
    }

    #[test]
    fn what_is_no_regular_file_is_refused_at_once() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        let made = Command::new("mkfifo").arg(&pipe).status();
        assert!(made.unwrap().success());
        for (path, why) in [
            (pipe.as_path(), "a pipe"),
            (Path::new("/dev/zero"), "a device"),
            (folder.path(), "a folder"),
        ] {
            let error = read(path, 4).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidInput);
            assert!(error.to_string().contains(why), "{error}");
        }
    }
}

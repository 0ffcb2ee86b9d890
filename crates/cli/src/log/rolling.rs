//! `daemon.log` and its predecessors: `daemon.log.1` is the one before, the highest number the oldest.
//!
//! Only the daemon that writes the log rotates it: no file moves under a writer that doesn't know of it.

use std::{
    fs::{File, OpenOptions, Permissions},
    io::{self, Write},
    os::unix::fs::{OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
    time::SystemTime,
};

use crate::files::refuse_dangling;

/// A file is full with this many bytes: some weeks of a quiet daemon, an hour of one that traces.
const MAX_LEN: u64 = 8 << 20;
/// Files that are kept, the newest included.
const MAX_FILES: usize = 4;

/// Where a home's log lies.
pub(crate) fn path(home: &Path) -> PathBuf {
    home.join("daemon.log")
}

/// The log's files, the oldest first, whether or not they are there.
pub(crate) fn files(log: &Path) -> Vec<PathBuf> {
    let older = (1..MAX_FILES).rev().map(|age| aged(log, age));
    older.chain([log.to_owned()]).collect()
}

/// When a line was written: it begins with that, or is JSON that says it.
pub(crate) fn time_of(line: &str) -> Option<SystemTime> {
    let text = match line.strip_prefix('{') {
        Some(json) => json.split_once("\"timestamp\":\"")?.1.split('"').next()?,
        None => line.split(' ').next()?,
    };
    humantime::parse_rfc3339(text).ok()
}

fn aged(log: &Path, age: usize) -> PathBuf {
    let mut name = log.as_os_str().to_owned();
    name.push(format!(".{age}"));
    name.into()
}

/// Writes the log, and begins a new file when one is full.
pub(crate) struct Rolling {
    path: PathBuf,
    max_len: u64,
    /// The file and its length. `None` before the first line, and after a failure.
    open: Option<(File, u64)>,
}

impl Rolling {
    pub(crate) fn new(path: PathBuf) -> Self {
        Self {
            path,
            max_len: MAX_LEN,
            open: None,
        }
    }

    fn append(&mut self, line: &[u8]) -> io::Result<()> {
        let (mut file, mut len) = match self.open.take() {
            Some(open) => open,
            None => open(&self.path)?,
        };
        if len > 0 && len + line.len() as u64 > self.max_len {
            self.rotate()?;
            (file, len) = open(&self.path)?;
        }
        file.write_all(line)?;
        self.open = Some((file, len + line.len() as u64));
        Ok(())
    }

    fn rotate(&self) -> io::Result<()> {
        for age in (1..MAX_FILES).rev() {
            let newer = match age {
                1 => self.path.clone(),
                _ => aged(&self.path, age - 1),
            };
            match std::fs::rename(newer, aged(&self.path, age)) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Opens a log to write to its end, without waiting where it is a pipe that nobody reads. It is its owner's alone,
/// also where something else made the file.
pub(crate) fn open_file(path: &Path) -> io::Result<File> {
    refuse_dangling(path)?;
    let file = OpenOptions::new()
        .create(true)
        .append(true)
        .mode(0o600)
        .custom_flags(rustix::fs::OFlags::NONBLOCK.bits().cast_signed())
        .open(path)?;
    if file.metadata()?.permissions().mode() & 0o077 != 0 {
        file.set_permissions(Permissions::from_mode(0o600))?;
    }
    Ok(file)
}

fn open(path: &Path) -> io::Result<(File, u64)> {
    let file = open_file(path)?;
    let len = file.metadata()?.len();
    Ok((file, len))
}

/// Takes whole lines. If the disk refuses a line, the line goes to stderr: logging must not end a daemon.
impl Write for Rolling {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.append(line).is_err() {
            let _ = io::stderr().write_all(line);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_file_makes_room_and_the_oldest_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(folder.path());
        let mut log = Rolling {
            max_len: 20,
            ..Rolling::new(path.clone())
        };
        for number in 0..20 {
            log.write_all(format!("line {number:03}\n").as_bytes())
                .unwrap();
        }
        let kept: Vec<_> = files(&path)
            .iter()
            .map(|file| std::fs::read_to_string(file).unwrap())
            .collect();
        assert_eq!(kept.len(), MAX_FILES);
        assert!(kept.iter().all(|text| text.len() <= 20), "{kept:?}");
        let text = kept.concat();
        assert!(
            text.starts_with("line 012\n") && text.ends_with("line 019\n"),
            "{text}"
        );
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), MAX_FILES);
    }

    #[test]
    fn a_log_that_is_there_is_gone_on_with() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(folder.path());
        for text in ["before\n", "after\n"] {
            Rolling::new(path.clone())
                .write_all(text.as_bytes())
                .unwrap();
        }
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "before\nafter\n");
    }

    #[test]
    fn no_file_of_the_log_is_open_to_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = path(folder.path());
        std::fs::write(&path, "made by something else\n").unwrap();
        std::fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        let mut log = Rolling {
            max_len: 20,
            ..Rolling::new(path.clone())
        };
        for _ in 0..3 {
            log.write_all(b"twelve bytes").unwrap();
        }
        for file in files(&path).iter().filter(|file| file.exists()) {
            let mode = file.metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{}", file.display());
        }
    }

    #[test]
    fn a_link_to_nothing_is_not_followed() {
        let folder = tempfile::tempdir().unwrap();
        let (path, elsewhere) = (path(folder.path()), folder.path().join("elsewhere"));
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        let error = open_file(&path).unwrap_err();
        assert!(error.to_string().contains("elsewhere"), "{error}");
        Rolling::new(path.clone())
            .write_all(b"a line on stderr\n")
            .unwrap();
        assert!(!elsewhere.exists());
        std::fs::write(&elsewhere, "").unwrap();
        Rolling::new(path).write_all(b"a line\n").unwrap();
        assert_eq!(std::fs::read_to_string(&elsewhere).unwrap(), "a line\n");
    }

    #[test]
    fn a_log_that_can_not_be_written_ends_nothing() {
        let mut log = Rolling::new("/dev/null/daemon.log".into());
        log.write_all(b"a line on stderr\n").unwrap();
    }
}

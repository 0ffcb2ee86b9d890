//! The program file that this process was started from, and whether it was replaced since.
//!
//! Its path is read at the daemon's start: once the file is replaced, the system no longer gives it.

use std::{
    io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
};

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Program {
    path: PathBuf,
    mark: Mark,
}

/// Identifies a file, to notice a replacement of the same name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Mark {
    device: u64,
    inode: u64,
    len: u64,
    modified_ns: i128,
}

impl Program {
    /// `None` if the system doesn't say.
    pub(crate) fn of_this_process() -> Option<Self> {
        Self::at(std::env::current_exe().ok()?).ok()
    }

    fn at(path: PathBuf) -> io::Result<Self> {
        let mark = Mark::of(&path)?;
        Ok(Self { path, mark })
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether another file is at the path now. False if no file is there.
    pub(crate) fn was_replaced(&self) -> bool {
        Mark::of(&self.path).is_ok_and(|mark| mark != self.mark)
    }
}

impl Mark {
    fn of(path: &Path) -> io::Result<Self> {
        let metadata = path.metadata()?;
        Ok(Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            len: metadata.len(),
            modified_ns: i128::from(metadata.mtime()) * 1_000_000_000
                + i128::from(metadata.mtime_nsec()),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_was_replaced_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("podsync");
        std::fs::write(&path, "old").unwrap();
        let program = Program::at(path.clone()).unwrap();
        assert!(!program.was_replaced());
        std::fs::remove_file(&path).unwrap();
        assert!(!program.was_replaced(), "half an upgrade is none");
        std::fs::write(&path, "newer").unwrap();
        assert!(program.was_replaced());
    }
}

//! A disk with little room: a tmpfs, taken away when dropped.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::Result;

pub(super) struct SmallDisk {
    at: PathBuf,
}

impl SmallDisk {
    /// `Ok(None)` with the reason printed where nothing can be mounted.
    pub(super) fn mount(at: &Path, len: u64) -> Result<Option<Self>> {
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o"])
            .arg(format!("size={len},mode=700"))
            .arg("podsync-test")
            .arg(at)
            .output();
        match mounted {
            Ok(output) if output.status.success() => Ok(Some(Self { at: at.to_owned() })),
            Ok(output) => {
                let reason = String::from_utf8_lossy(&output.stderr);
                eprintln!("NOT RUN: no tmpfs here (it needs root): {}", reason.trim());
                Ok(None)
            }
            Err(error) => {
                eprintln!("NOT RUN: no `mount` here: {error}");
                Ok(None)
            }
        }
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(&self.at).output();
    }
}

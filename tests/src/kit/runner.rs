//! A CI runner: the `podsync` program with a token in its environment, and with no home, no daemon and
//! no settings.

use std::{
    fs,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::Result;
use tempfile::TempDir;

use super::home::{Answer, binary, cleared, finish};

pub struct Runner {
    token: String,
    folder: TempDir,
}

impl Runner {
    pub fn new(token: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("podsync-ci-").tempdir()?;
        for name in ["home", "tmp", "work"] {
            fs::create_dir(folder.path().join(name))?;
        }
        Ok(Self {
            token: token.to_owned(),
            folder,
        })
    }

    /// Where the job's files lie; commands run there.
    pub fn work(&self) -> PathBuf {
        self.folder.path().join("work")
    }

    pub fn command(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = Command::new(binary()?);
        cleared(&mut command);
        command
            .env("CI", "true")
            .env("HOME", self.folder.path().join("home"))
            .env("TMPDIR", self.folder.path().join("tmp"))
            .env("PODSYNC_TOKEN", &self.token)
            .env("PODSYNC_MDNS", "false")
            .env_remove("XDG_DATA_HOME")
            .env_remove("XDG_RUNTIME_DIR")
            .current_dir(self.work())
            .args(arguments)
            .arg("--json")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        Ok(command)
    }

    pub fn run(&self, arguments: &[&str]) -> Result<Answer> {
        Ok(finish(self.spawn(arguments)?)?.of(arguments))
    }

    pub fn spawn(&self, arguments: &[&str]) -> Result<Child> {
        Ok(self.command(arguments)?.spawn()?)
    }

    /// What is left of its commands outside of the job's own files.
    pub fn leftovers(&self) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        for name in ["home", "tmp"] {
            for entry in fs::read_dir(self.folder.path().join(name))? {
                found.push(entry?.path());
            }
        }
        Ok(found)
    }
}

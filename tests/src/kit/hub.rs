//! A real hub over a bucket on the local disk, as `podsync-hub dev` runs it.

use std::{
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use super::home::program;

/// Its bucket and its address stay while it is stopped and started.
pub struct Hub {
    data: TempDir,
    address: String,
    s3: String,
    process: Option<Child>,
}

impl Hub {
    pub fn start() -> Result<Self> {
        let mut hub = Self {
            data: tempfile::Builder::new().prefix("podsync-hub-").tempdir()?,
            address: "127.0.0.1:0".to_owned(),
            s3: free_address()?,
            process: None,
        };
        hub.run()?;
        Ok(hub)
    }

    /// Starts it again where it was.
    pub fn run(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "the hub runs already");
        let mut child = Command::new(program("podsync-hub")?)
            .args(["dev", "--listen", &self.address, "--s3-listen", &self.s3])
            .arg("--data")
            .arg(self.data.path())
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let mut out = BufReader::new(child.stdout.take().context("no stdout")?);
        let mut line = String::new();
        out.read_line(&mut line)?;
        let Some((_, address)) = line.trim().split_once("http://") else {
            let _ = child.kill();
            bail!("the hub ended at its start: {line}");
        };
        self.address = address.to_owned();
        self.process = Some(child);
        Ok(())
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// `kill -9`.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            process.wait()?;
        }
        Ok(())
    }

    /// The files of the bucket's objects below a folder of its keys: `packs`, say.
    pub fn objects(&self, folder: &str) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        below(&self.data.path().join("buckets"), &mut found)?;
        let is_within = |path: &PathBuf| {
            let mut parents = path.ancestors().skip(1);
            parents.any(|parent| parent.file_name().is_some_and(|name| name == folder))
        };
        found.retain(is_within);
        Ok(found)
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// An address that nobody listens at now.
fn free_address() -> Result<String> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?.to_string())
}

fn below(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            below(&path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

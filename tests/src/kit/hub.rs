//! A real hub over a bucket on the local disk, as `podsync-hub dev` runs it.

use std::{
    io::{BufRead, BufReader},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, bail, ensure};
use tempfile::TempDir;

use super::{disk::SmallDisk, home::program, proxy::Proxy};

/// Its bucket and its address stay while it is stopped and started.
pub struct Hub {
    /// Goes before the folder that it is mounted in.
    disk: Option<SmallDisk>,
    data: TempDir,
    address: String,
    s3: SocketAddr,
    /// The bucket's address for devices, if it isn't its own.
    s3_public: Option<String>,
    process: Option<Child>,
}

/// A hub and a bucket, each reached through a proxy of its own.
pub struct FaultyHub {
    pub hub: Hub,
    pub to_hub: Proxy,
    pub to_bucket: Proxy,
}

impl FaultyHub {
    pub fn start() -> Result<Self> {
        let (to_hub, to_bucket) = (Proxy::start()?, Proxy::start()?);
        let mut hub = Hub::new()?;
        to_bucket.lead_to(&[hub.s3]);
        hub.s3_public = Some(to_bucket.url());
        hub.run()?;
        to_hub.lead_to(&[hub.address.parse()?]);
        Ok(Self {
            hub,
            to_hub,
            to_bucket,
        })
    }
}

impl Hub {
    pub fn start() -> Result<Self> {
        let mut hub = Self::new()?;
        hub.run()?;
        Ok(hub)
    }

    /// A hub with so many bytes for its bucket. None, with the reason printed, if that isn't
    /// possible.
    pub fn on_small_disk(len: u64) -> Result<Option<Self>> {
        let mut hub = Self::new()?;
        let buckets = hub.buckets();
        std::fs::create_dir(&buckets)?;
        hub.disk = SmallDisk::mount(&buckets, len)?;
        if hub.disk.is_none() {
            return Ok(None);
        }
        hub.run()?;
        Ok(Some(hub))
    }

    fn new() -> Result<Self> {
        Ok(Self {
            disk: None,
            data: tempfile::Builder::new().prefix("podsync-hub-").tempdir()?,
            address: "127.0.0.1:0".to_owned(),
            s3: free_address()?,
            s3_public: None,
            process: None,
        })
    }

    /// Starts it again where it was.
    pub fn run(&mut self) -> Result<()> {
        ensure!(self.process.is_none(), "the hub runs already");
        let mut child = Command::new(program("podsync-hub")?)
            .args(["dev", "--listen", &self.address])
            .args(["--s3-listen", &self.s3.to_string()])
            .args(
                self.s3_public
                    .iter()
                    .flat_map(|url| ["--s3-public", url.as_str()]),
            )
            .arg("--data")
            .arg(self.data.path())
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        self.address = listens_at(&mut child)?;
        self.process = Some(child);
        Ok(())
    }

    /// Where its bucket listens.
    pub(super) fn s3(&self) -> SocketAddr {
        self.s3
    }

    /// The folder of its buckets.
    pub(super) fn buckets(&self) -> PathBuf {
        self.data.path().join("buckets")
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

    /// The files of all that is in the bucket.
    pub fn everything(&self) -> Result<Vec<PathBuf>> {
        let mut found = Vec::new();
        below(&self.buckets(), &mut found)?;
        Ok(found)
    }

    /// The files of the bucket's objects below a folder of its keys: `packs`, say.
    pub fn objects(&self, folder: &str) -> Result<Vec<PathBuf>> {
        objects(&self.buckets(), folder)
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// The files below the folders of this name.
fn objects(buckets: &Path, folder: &str) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    below(buckets, &mut found)?;
    let is_within = |path: &PathBuf| {
        let mut parents = path.ancestors().skip(1);
        parents.any(|parent| parent.file_name().is_some_and(|name| name == folder))
    };
    found.retain(is_within);
    Ok(found)
}

/// An address that nobody listens at now.
fn free_address() -> Result<SocketAddr> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    Ok(listener.local_addr()?)
}

/// The address that a starting hub prints.
pub(super) fn listens_at(hub: &mut Child) -> Result<String> {
    let mut out = BufReader::new(hub.stdout.take().context("no stdout")?);
    let mut line = String::new();
    out.read_line(&mut line)?;
    let address = line.trim().rsplit([' ', '/']).next().unwrap_or_default();
    if address.parse::<SocketAddr>().is_err() {
        let _ = hub.kill();
        bail!("the hub ended at its start: {line}");
    }
    Ok(address.to_owned())
}

fn below(folder: &Path, found: &mut Vec<PathBuf>) -> Result<()> {
    let entries = match std::fs::read_dir(folder) {
        // Folders may vanish during the walk.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        let path = entry?.path();
        if path.is_dir() {
            below(&path, found)?;
        } else {
            found.push(path);
        }
    }
    Ok(())
}

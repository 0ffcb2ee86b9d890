//! S3 servers with a hub before them, and the bucket that podsync and the programs beside it meet in.
//!
//! A server is one team's, and its folder goes with it: no turn meets what another one left.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use xtask::garage;

use super::{
    Setup,
    measure::Process,
    ports::{free_port, wait_until_it_listens},
};

const GARAGE_REGION: &str = "garage";
const GARAGE_ACCESS_KEY: &str = "GK0123456789abcdef01234567";
const GARAGE_SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// `podsync-hub dev`
    Embedded,
    Garage,
}

/// How programs reach the team's bucket.
pub(super) struct Bucket {
    pub(super) endpoint: String,
    pub(super) region: &'static str,
    pub(super) name: String,
    pub(super) access_key: String,
    pub(super) secret_key: String,
}

pub(super) struct Server {
    pub(super) bucket: Bucket,
    /// The hub's.
    pub(super) url: String,
    hub: Running,
    garage: Option<Running>,
    folder: TempDir,
}

impl Kind {
    pub(super) const ALL: [Self; 2] = [Self::Embedded, Self::Garage];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Embedded => "the embedded server",
            Self::Garage => "Garage",
        }
    }

    pub(super) fn is_here(self) -> bool {
        match self {
            Self::Embedded => true,
            Self::Garage => garage::program().is_some(),
        }
    }

    pub(super) fn start(self, setup: &Setup, team: &str) -> Result<Server> {
        let folder = tempfile::tempdir_in(setup.folder.path())?;
        match self {
            Self::Embedded => embedded(&setup.hub, team, folder),
            Self::Garage => garage(&setup.hub, team, folder),
        }
    }
}

impl Server {
    /// The process that serves the bucket.
    pub(super) fn process(&self) -> Process {
        Process(self.garage.as_ref().unwrap_or(&self.hub).0.id())
    }

    /// How many objects of the embedded server's bucket lie in a folder of their keys, and their bytes.
    pub(super) fn objects(&self, folder: &str) -> Result<(u64, u64)> {
        let buckets = self.folder.path().join("buckets/buckets");
        let folder = buckets.join(&self.bucket.name).join(folder);
        if !folder.is_dir() {
            return Ok((0, 0));
        }
        let (mut count, mut bytes) = (0, 0);
        for object in fs::read_dir(&folder)? {
            count += 1;
            bytes += object?.metadata()?.len();
        }
        Ok((count, bytes))
    }
}

fn embedded(hub: &Path, team: &str, folder: TempDir) -> Result<Server> {
    let port = free_port()?;
    let mut command = Command::new(hub);
    command
        .args(["dev", "--listen", "127.0.0.1:0", "--s3-listen"])
        .arg(format!("127.0.0.1:{port}"))
        .arg("--data")
        .arg(folder.path());
    let (running, url) = Running::hub(&mut command, folder.path())?;
    let keys = Command::new(hub)
        .arg("dev-keys")
        .arg("--data")
        .arg(folder.path())
        .arg(team)
        .output()?;
    ensure!(
        keys.status.success(),
        "podsync-hub dev-keys failed: {}",
        String::from_utf8_lossy(&keys.stderr).trim()
    );
    let keys = String::from_utf8(keys.stdout)?;
    let key = |name: &str| -> Result<String> {
        let mut lines = keys.lines().filter_map(|line| line.split_once('='));
        let found = lines.find(|(variable, _)| *variable == name);
        let (_, value) = found.with_context(|| format!("podsync-hub dev-keys says no {name}"))?;
        Ok(value.to_owned())
    };
    let bucket = Bucket {
        endpoint: format!("http://127.0.0.1:{port}"),
        region: "us-east-1",
        name: key("BUCKET")?,
        access_key: key("AWS_ACCESS_KEY_ID")?,
        secret_key: key("AWS_SECRET_ACCESS_KEY")?,
    };
    Ok(Server {
        bucket,
        url,
        hub: running,
        garage: None,
        folder,
    })
}

/// Garage as its quick start has it, and a hub as an operator runs it.
fn garage(hub: &Path, team: &str, folder: TempDir) -> Result<Server> {
    let program = garage::program().context("`cargo xtask garage` builds Garage")?;
    let (rpc, api, own) = (free_port()?, free_port()?, free_port()?);
    let endpoint = format!("http://127.0.0.1:{api}");
    let bucket = Bucket {
        endpoint: endpoint.clone(),
        region: GARAGE_REGION,
        name: "bench".to_owned(),
        access_key: GARAGE_ACCESS_KEY.to_owned(),
        secret_key: GARAGE_SECRET.to_owned(),
    };
    let config = folder.path().join("garage.toml");
    fs::write(&config, garage_configuration(folder.path(), rpc, api))?;
    let log = folder.path().join("garage.log");
    let mut garage = Running::quiet(
        Command::new(&program)
            .arg("-c")
            .arg(&config)
            .args(["server", "--single-node", "--default-bucket"])
            .env("GARAGE_DEFAULT_ACCESS_KEY", GARAGE_ACCESS_KEY)
            .env("GARAGE_DEFAULT_SECRET_KEY", GARAGE_SECRET)
            .env("GARAGE_DEFAULT_BUCKET", &bucket.name),
        &log,
    )?;
    wait_until_it_listens(&mut garage.0, api, &log).context("Garage")?;

    let config = folder.path().join("hub.toml");
    let (name, url) = (&bucket.name, format!("http://127.0.0.1:{own}"));
    let text = format!(
        "listen = \"127.0.0.1:{own}\"\npublic_urls = [\"{url}\"]\n\
         [[teams]]\nteam = \"{team}\"\nbucket = \"{name}\"\nregion = \"{GARAGE_REGION}\"\nendpoint = \"{endpoint}\"\n"
    );
    fs::write(&config, text)?;
    let mut command = Command::new(hub);
    command
        .args(["serve", "--config"])
        .arg(config)
        .env("AWS_ACCESS_KEY_ID", GARAGE_ACCESS_KEY)
        .env("AWS_SECRET_ACCESS_KEY", GARAGE_SECRET);
    let (running, _) = Running::hub(&mut command, folder.path())?;
    Ok(Server {
        bucket,
        url,
        hub: running,
        garage: Some(garage),
        folder,
    })
}

fn garage_configuration(folder: &Path, rpc: u16, api: u16) -> String {
    let folder = folder.display();
    format!(
        "metadata_dir = \"{folder}/meta\"\ndata_dir = \"{folder}/data\"\ndb_engine = \"sqlite\"\n\
         metadata_fsync = true\ndata_fsync = true\nreplication_factor = 1\n\
         rpc_bind_addr = \"127.0.0.1:{rpc}\"\nrpc_public_addr = \"127.0.0.1:{rpc}\"\nrpc_secret = \"{GARAGE_SECRET}\"\n\
         [s3_api]\ns3_region = \"{GARAGE_REGION}\"\napi_bind_addr = \"127.0.0.1:{api}\"\nroot_domain = \".s3.garage.localhost\"\n"
    )
}

/// A server that never outlives its handle.
struct Running(Child);

impl Running {
    /// Waits for the line that says where it listens.
    fn hub(command: &mut Command, folder: &Path) -> Result<(Self, String)> {
        let log = folder.join("hub.log");
        command.env_remove("RUST_LOG").stdout(Stdio::piped());
        let mut hub = Self::quiet_but_for_stdout(command, &log)?;
        let mut said = BufReader::new(hub.0.stdout.take().context("the hub has no stdout")?);
        let mut line = String::new();
        said.read_line(&mut line)?;
        let Some((_, url)) = line.trim().split_once("listens at ") else {
            let log = fs::read_to_string(&log).unwrap_or_default();
            anyhow::bail!("the hub ended at its start: {}", log.trim());
        };
        Ok((hub, url.to_owned()))
    }

    fn quiet(command: &mut Command, log: &Path) -> Result<Self> {
        Self::quiet_but_for_stdout(command.stdout(Stdio::null()), log)
    }

    fn quiet_but_for_stdout(command: &mut Command, log: &Path) -> Result<Self> {
        let program = PathBuf::from(command.get_program());
        let child = command
            .stdin(Stdio::null())
            .stderr(File::create(log)?)
            .spawn()
            .with_context(|| format!("cannot run {}", program.display()))?;
        Ok(Self(child))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

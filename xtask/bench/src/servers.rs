//! S3 servers with a hub before them, and the bucket that podsync and the programs beside it meet in.
//!
//! A server is one team's, and its folder goes with it: no turn meets what another one left.

use std::{
    fs::{self, File},
    io::{BufRead, BufReader},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;
use xtask::{S3_VARIABLE, garage};

use super::{
    Setup,
    measure::Process,
    ports::{free_port, wait_until_it_listens},
};

/// An upload has begun by then, or it doesn't begin.
const FIRST_UPLOAD: Duration = Duration::from_secs(60);
const LOOK_OUT: Duration = Duration::from_millis(2);
const GARAGE_REGION: &str = "garage";
const GARAGE_ACCESS_KEY: &str = "GK0123456789abcdef01234567";
const GARAGE_SECRET: &str = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

#[derive(Clone, Copy)]
pub(super) enum Kind {
    /// `podsync-hub dev`
    Embedded,
    Garage,
    /// The one that `cargo xtask s3 SERVER --serve` describes
    Described,
}

/// How programs reach the team's bucket.
pub(super) struct Bucket {
    pub(super) endpoint: String,
    pub(super) region: String,
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

/// A look-out for what begins to arrive.
pub(super) struct Arriving(JoinHandle<Option<Instant>>);

impl Arriving {
    pub(super) fn seen(self) -> Option<Instant> {
        self.0.join().ok().flatten()
    }
}

impl Kind {
    pub(super) const ALL: [Self; 3] = [Self::Embedded, Self::Garage, Self::Described];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Embedded => "the embedded server",
            Self::Garage => "Garage",
            Self::Described => "the described server",
        }
    }

    pub(super) fn is_embedded(self) -> bool {
        matches!(self, Self::Embedded)
    }

    pub(super) fn is_here(self) -> bool {
        match self {
            Self::Embedded => true,
            Self::Garage => garage::program().is_some(),
            Self::Described => std::env::var_os(S3_VARIABLE).is_some(),
        }
    }

    /// What brings it here.
    pub(super) fn hint(self) -> &'static str {
        match self {
            Self::Embedded => "it is always here",
            Self::Garage => "`cargo xtask garage` builds it",
            Self::Described => "set the variable that `cargo xtask s3 rgw --serve` prints",
        }
    }

    pub(super) fn start(self, setup: &Setup, team: &str) -> Result<Server> {
        let folder = tempfile::tempdir_in(setup.folder.path())?;
        match self {
            Self::Embedded => embedded(&setup.hub, team, folder),
            Self::Garage => garage(&setup.hub, team, folder),
            Self::Described => described(&setup.hub, team, folder),
        }
    }
}

impl Server {
    /// The process that serves the bucket.
    pub(super) fn process(&self) -> Process {
        Process(self.garage.as_ref().unwrap_or(&self.hub).0.id())
    }

    /// Looks out for the first object that begins to arrive at the embedded server.
    pub(super) fn first_upload(&self) -> Option<Arriving> {
        let folder = self.folder.path().join("buckets/unfinished");
        let deadline = Instant::now() + FIRST_UPLOAD;
        folder.is_dir().then(|| {
            Arriving(thread::spawn(move || {
                while Instant::now() < deadline {
                    let now = Instant::now();
                    if fs::read_dir(&folder).is_ok_and(|mut files| files.next().is_some()) {
                        return Some(now);
                    }
                    thread::sleep(LOOK_OUT);
                }
                None
            }))
        })
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

/// A hub as an operator runs it, on one core, over a bucket of a process beside it.
pub(super) struct Replica {
    pub(super) url: String,
    hub: Running,
    token: String,
}

impl Server {
    /// One for the team whose bucket this is.
    pub(super) fn replica(&self, setup: &Setup, team: &str) -> Result<Replica> {
        let folder = self.folder.path().join("replica");
        fs::create_dir(&folder)?;
        let (own, token) = (free_port()?, format!("{:032x}", rand::random::<u128>()));
        let (config, secret) = (folder.join("hub.toml"), folder.join("token"));
        fs::write(&secret, &token)?;
        let Bucket {
            endpoint,
            region,
            name,
            ..
        } = &self.bucket;
        let text = format!(
            "listen = \"127.0.0.1:{own}\"\npublic_urls = [\"http://127.0.0.1:{own}\"]\nmetrics_token = \"{}\"\n\
             [[teams]]\nteam = \"{team}\"\nbucket = \"{name}\"\nregion = \"{region}\"\nendpoint = \"{endpoint}\"\n",
            secret.display()
        );
        fs::write(&config, text)?;
        let mut command = Command::new("taskset");
        command
            .args(["--cpu-list", "0"])
            .arg(&setup.hub)
            .args(["serve", "--config"])
            .arg(config)
            .env("AWS_ACCESS_KEY_ID", &self.bucket.access_key)
            .env("AWS_SECRET_ACCESS_KEY", &self.bucket.secret_key);
        let (hub, url) = Running::hub(&mut command, &folder)?;
        let url = format!("http://{}", url.trim_start_matches("http://"));
        Ok(Replica { url, hub, token })
    }
}

impl Replica {
    pub(super) fn process(&self) -> Process {
        Process(self.hub.0.id())
    }

    /// Bytes.
    pub(super) fn resident(&self) -> Result<f64> {
        let resident = self.process().resident();
        Ok(resident.context("the replica ended")? as f64)
    }

    /// What it asked of its bucket since it began, by its own count.
    pub(super) fn bucket_requests(&self) -> Result<f64> {
        let told = Command::new("curl")
            .args(["--silent", "--fail", "--header"])
            .arg(format!("authorization: Bearer {}", self.token))
            .arg(format!("{}/metrics", self.url))
            .output()?;
        ensure!(told.status.success(), "the replica shows no metrics");
        let text = String::from_utf8(told.stdout)?;
        let counts = text.lines().filter_map(|line| {
            let counted = line.strip_prefix("podsync_hub_bucket_requests_total{")?;
            counted.rsplit(' ').next()?.parse::<f64>().ok()
        });
        Ok(counts.sum())
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
        region: "us-east-1".to_owned(),
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
    let (rpc, api) = (free_port()?, free_port()?);
    let bucket = Bucket {
        endpoint: format!("http://127.0.0.1:{api}"),
        region: GARAGE_REGION.to_owned(),
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

    let (running, url) = before(&bucket, hub, team, folder.path())?;
    Ok(Server {
        bucket,
        url,
        hub: running,
        garage: Some(garage),
        folder,
    })
}

/// A bucket of its own at a server that somebody else started.
fn described(hub: &Path, team: &str, folder: TempDir) -> Result<Server> {
    let file = std::env::var_os(S3_VARIABLE).context("no server is described")?;
    let described: serde_json::Value = serde_json::from_slice(&fs::read(file)?)?;
    let word = |name: &str| {
        let word = described[name].as_str().map(str::to_owned);
        word.with_context(|| format!("the description of the server has no {name}"))
    };
    let bucket = Bucket {
        endpoint: word("endpoint")?,
        region: word("region")?,
        name: format!("podsync-bench-{:016x}", rand::random::<u64>()),
        access_key: word("access_key")?,
        secret_key: word("secret_key")?,
    };
    let (running, url) = before(&bucket, hub, team, folder.path())?;
    Ok(Server {
        bucket,
        url,
        hub: running,
        garage: None,
        folder,
    })
}

/// A hub for one team before a bucket, as an operator runs it.
fn before(bucket: &Bucket, hub: &Path, team: &str, folder: &Path) -> Result<(Running, String)> {
    let (own, config) = (free_port()?, folder.join("hub.toml"));
    let url = format!("http://127.0.0.1:{own}");
    let Bucket {
        endpoint,
        region,
        name,
        ..
    } = bucket;
    let text = format!(
        "listen = \"127.0.0.1:{own}\"\npublic_urls = [\"{url}\"]\n\
         [[teams]]\nteam = \"{team}\"\nbucket = \"{name}\"\nregion = \"{region}\"\nendpoint = \"{endpoint}\"\n"
    );
    fs::write(&config, text)?;
    let mut command = Command::new(hub);
    command
        .args(["serve", "--config"])
        .arg(config)
        .env("AWS_ACCESS_KEY_ID", &bucket.access_key)
        .env("AWS_SECRET_ACCESS_KEY", &bucket.secret_key);
    let (running, _) = Running::hub(&mut command, folder)?;
    Ok((running, url))
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

//! Several hubs with one settings file over one bucket, behind one address.

use std::{
    net::SocketAddr,
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use podsync_hub::{embedded::Embedded, s3::Credentials};
use tempfile::TempDir;

use super::{
    home::program,
    hub::{listens_at, objects},
    proxy::Proxy,
};

const BUCKET: &str = "payments";

pub struct Replicas {
    folder: TempDir,
    /// The bucket's server runs in it.
    runtime: tokio::runtime::Runtime,
    bucket: Option<Embedded>,
    public: Proxy,
    hubs: Vec<Option<(Child, SocketAddr)>>,
}

impl Replicas {
    /// Starts so many for one team.
    pub fn start(team: &str, count: usize) -> Result<Self> {
        Self::start_with(team, count, "")
    }

    /// The same, with more lines for the team's settings.
    pub fn start_with(team: &str, count: usize, settings: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("podsync-hubs-").tempdir()?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()?;
        let buckets = folder.path().join("buckets");
        let bucket = runtime.block_on(Embedded::start(
            &buckets,
            SocketAddr::from(([127, 0, 0, 1], 0)),
        ))?;
        let public = Proxy::start()?;
        let mut replicas = Self {
            folder,
            runtime,
            bucket: Some(bucket),
            public,
            hubs: Vec::new(),
        };
        replicas.write_settings(team, settings)?;
        replicas.hubs.resize_with(count, || None);
        replicas.revive()?;
        Ok(replicas)
    }

    pub fn url(&self) -> String {
        self.public.url()
    }

    /// `kill -9`; the others go on.
    pub fn kill(&mut self, number: usize) -> Result<()> {
        if let Some((mut hub, _)) = self.hubs[number].take() {
            hub.kill()?;
            hub.wait()?;
        }
        Ok(())
    }

    /// Starts the ones that were killed again.
    pub fn revive(&mut self) -> Result<()> {
        self.revive_with(&self.keys()?)
    }

    /// All of them again, with keys that the bucket doesn't know.
    pub fn lose_keys(&mut self) -> Result<()> {
        for number in 0..self.hubs.len() {
            self.kill(number)?;
        }
        let (access_key, _) = self.keys()?;
        self.revive_with(&(access_key, "0".repeat(64)))
    }

    fn revive_with(&mut self, keys: &(String, String)) -> Result<()> {
        for number in 0..self.hubs.len() {
            if self.hubs[number].is_none() {
                self.hubs[number] = Some(self.run(keys)?);
            }
        }
        self.lead();
        Ok(())
    }

    /// How many connections to a hub there were so far.
    pub fn connections(&self) -> u64 {
        self.public.connections()
    }

    /// The files of the bucket's objects below a folder of its keys.
    pub fn objects(&self, folder: &str) -> Result<Vec<PathBuf>> {
        objects(&self.folder.path().join("buckets"), folder)
    }

    fn lead(&self) {
        // One that was killed stays in the list, as it does in a balancer that hasn't noticed yet.
        let hubs = self.hubs.iter().flatten();
        let addresses: Vec<_> = hubs.map(|(_, address)| *address).collect();
        self.public.lead_to(&addresses);
    }

    fn settings(&self) -> PathBuf {
        self.folder.path().join("hub.toml")
    }

    fn write_settings(&self, team: &str, more: &str) -> Result<()> {
        let key = self.folder.path().join("witness.key");
        let made = Command::new(program("podsync-hub")?)
            .arg("key")
            .arg(&key)
            .stdout(Stdio::null())
            .status()?;
        ensure!(made.success(), "no witness key");
        let bucket = self.bucket.as_ref().context("the bucket is gone")?;
        let text = format!(
            "listen = '127.0.0.1:0'\npublic_urls = ['{}']\nwitness_key = '{}'\n\
             [[teams]]\nteam = '{team}'\nbucket = '{BUCKET}'\nregion = '{}'\nendpoint = 'http://{}'\n\
             {more}",
            self.public.url(),
            key.display(),
            podsync_hub::embedded::REGION,
            bucket.address(),
        );
        Ok(std::fs::write(self.settings(), text)?)
    }

    fn keys(&self) -> Result<(String, String)> {
        let bucket = self.bucket.as_ref().context("the bucket is gone")?;
        match bucket.bucket(BUCKET).credentials {
            Credentials::Static {
                access_key,
                secret_key,
            } => Ok((access_key, secret_key)),
            Credentials::Chain => anyhow::bail!("the bucket has no keys"),
        }
    }

    fn run(&self, (access_key, secret_key): &(String, String)) -> Result<(Child, SocketAddr)> {
        let mut hub = Command::new(program("podsync-hub")?)
            .args(["serve", "--config"])
            .arg(self.settings())
            .env("AWS_ACCESS_KEY_ID", access_key)
            .env("AWS_SECRET_ACCESS_KEY", secret_key)
            .env_remove("AWS_SESSION_TOKEN")
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()?;
        let address = listens_at(&mut hub)?.parse()?;
        Ok((hub, address))
    }
}

impl Drop for Replicas {
    fn drop(&mut self) {
        for (mut hub, _) in self.hubs.drain(..).flatten() {
            let _ = hub.kill();
            let _ = hub.wait();
        }
        if let Some(bucket) = self.bucket.take() {
            self.runtime.block_on(bucket.stop());
        }
    }
}

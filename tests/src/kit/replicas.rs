//! Several hubs with one settings file over one bucket, behind one address.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
};

use anyhow::{Result, ensure};
use podsync_hub::embedded;
use tempfile::TempDir;

use super::{
    home::program,
    hub::{Hub, listens_at},
    proxy::Proxy,
};

const BUCKET: &str = "payments";

pub struct Replicas {
    folder: TempDir,
    /// The bucket's server is a process of its own; the hub that it brings along is asked by nobody.
    bucket: Hub,
    public: Proxy,
    hubs: Vec<Option<(Child, SocketAddr)>>,
    /// What is at the address from which they moved.
    left: Option<(Child, Proxy)>,
}

impl Replicas {
    /// Starts so many for one team.
    pub fn start(team: &str, count: usize) -> Result<Self> {
        Self::start_with(team, count, "")
    }

    /// The same, with more lines for the team's settings.
    pub fn start_with(team: &str, count: usize, settings: &str) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("podsync-hubs-").tempdir()?;
        let mut replicas = Self {
            folder,
            bucket: Hub::start()?,
            public: Proxy::start()?,
            hubs: Vec::new(),
            left: None,
        };
        replicas.make_key()?;
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

    /// They are at another address from now on. What is at the old one has no bucket, and says where they are.
    pub fn move_away(&mut self, team: &str) -> Result<()> {
        let before = std::mem::replace(&mut self.public, Proxy::start()?);
        for number in 0..self.hubs.len() {
            self.kill(number)?;
        }
        self.write_settings(team, "")?;
        self.revive()?;
        let settings = self.folder.path().join("left.toml");
        let text = format!(
            "listen = '127.0.0.1:0'\npublic_urls = ['{}']\nwitness_key = '{}'\n[[moved]]\nto = '{}'\n",
            before.url(),
            self.key().display(),
            self.public.url(),
        );
        std::fs::write(&settings, text)?;
        let (hub, address) = self.run(&settings, &self.keys()?)?;
        before.lead_to(&[address]);
        self.left = Some((hub, before));
        Ok(())
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
                self.hubs[number] = Some(self.run(&self.settings(), keys)?);
            }
        }
        self.lead();
        Ok(())
    }

    /// `kill -9` of the bucket's server.
    pub fn kill_bucket(&mut self) -> Result<()> {
        self.bucket.kill()
    }

    /// Starts it again where it was.
    pub fn revive_bucket(&mut self) -> Result<()> {
        self.bucket.run()
    }

    /// How many connections to a hub there were so far.
    pub fn connections(&self) -> u64 {
        self.public.connections()
    }

    /// The files of the bucket's objects below a folder of its keys.
    pub fn objects(&self, folder: &str) -> Result<Vec<PathBuf>> {
        self.bucket.objects(folder)
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

    fn key(&self) -> PathBuf {
        self.folder.path().join("witness.key")
    }

    fn make_key(&self) -> Result<()> {
        let made = Command::new(program("podsync-hub")?)
            .arg("key")
            .arg(self.key())
            .stdout(Stdio::null())
            .status()?;
        ensure!(made.success(), "no witness key");
        Ok(())
    }

    fn write_settings(&self, team: &str, more: &str) -> Result<()> {
        let text = format!(
            "listen = '127.0.0.1:0'\npublic_urls = ['{}']\nwitness_key = '{}'\n\
             [[teams]]\nteam = '{team}'\nbucket = '{BUCKET}'\nregion = '{}'\nendpoint = 'http://{}'\n\
             {more}",
            self.public.url(),
            self.key().display(),
            podsync_hub::embedded::REGION,
            self.bucket.s3(),
        );
        Ok(std::fs::write(self.settings(), text)?)
    }

    fn keys(&self) -> Result<(String, String)> {
        Ok(embedded::keys(&self.bucket.buckets(), BUCKET)?)
    }

    fn run(
        &self,
        settings: &Path,
        (access_key, secret_key): &(String, String),
    ) -> Result<(Child, SocketAddr)> {
        let mut hub = Command::new(program("podsync-hub")?)
            .args(["serve", "--config"])
            .arg(settings)
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
        let left = self.left.take().map(|(hub, _)| hub);
        let hubs = self.hubs.drain(..).flatten().map(|(hub, _)| hub);
        for mut hub in hubs.chain(left) {
            let _ = hub.kill();
            let _ = hub.wait();
        }
    }
}

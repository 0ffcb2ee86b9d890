//! A hub over a bucket on an external S3 server, with separate access to that bucket.

use std::{
    path::PathBuf,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use podsync_hub::{
    s3::{Addressing, Credentials, S3Bucket, S3Settings},
    storage::{Storage, list_all},
};
use tempfile::TempDir;

use super::{home::program, hub::listens_at};

/// Names a file that describes the server: name, endpoint, region, access_key, secret_key.
const VARIABLE: &str = "PODSYNC_TEST_S3";

pub struct AnyBucket {
    settings: S3Settings,
    bucket: S3Bucket,
    runtime: tokio::runtime::Runtime,
    /// Settings and the witness key.
    folder: TempDir,
    hub: Option<(Child, String)>,
}

impl AnyBucket {
    /// None, with the reason printed, if no server is described.
    pub fn described() -> Result<Option<Self>> {
        let Some(file) = std::env::var_os(VARIABLE) else {
            eprintln!(
                "NOT RUN: no S3 server is described (`cargo xtask s3 rclone` sets {VARIABLE})"
            );
            return Ok(None);
        };
        let text = std::fs::read_to_string(PathBuf::from(file))?;
        let described: serde_json::Value = serde_json::from_str(&text)?;
        let word = |name: &str| {
            let word = described[name].as_str().map(str::to_owned);
            word.with_context(|| format!("the description of the server has no {name}"))
        };
        let number: u64 = rand::random();
        let settings = S3Settings {
            endpoint: Some(word("endpoint")?.parse()?),
            public_endpoint: None,
            region: word("region")?,
            bucket: format!("podsync-{number:016x}"),
            addressing: Addressing::Path,
            known: false,
            credentials: Credentials::Static {
                access_key: word("access_key")?,
                secret_key: word("secret_key")?,
            },
        };
        podsync_hub::serve::install_tls();
        Ok(Some(Self {
            bucket: S3Bucket::new(settings.clone())?,
            settings,
            runtime: tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()?,
            folder: tempfile::Builder::new().prefix("podsync-any-").tempdir()?,
            hub: None,
        }))
    }

    /// Starts a hub for a team; its address.
    pub fn serve(&mut self, team: &str) -> Result<String> {
        let key = self.folder.path().join("witness.key");
        let made = Command::new(program("podsync-hub")?)
            .arg("key")
            .arg(&key)
            .stdout(Stdio::null())
            .status()?;
        ensure!(made.success(), "no witness key");
        // The port is only known once it listens, and its address has to be in the settings before.
        let port = std::net::TcpListener::bind("127.0.0.1:0")?
            .local_addr()?
            .port();
        let endpoint = self.settings.endpoint.as_ref().context("no endpoint")?;
        let text = format!(
            "listen = '127.0.0.1:{port}'\npublic_urls = ['http://127.0.0.1:{port}']\nwitness_key = '{}'\n\
             [[teams]]\nteam = '{team}'\nbucket = '{}'\nregion = '{}'\nendpoint = '{endpoint}'\n",
            key.display(),
            self.settings.bucket,
            self.settings.region,
        );
        let settings = self.folder.path().join("hub.toml");
        std::fs::write(&settings, text)?;
        let Credentials::Static {
            access_key,
            secret_key,
        } = &self.settings.credentials
        else {
            anyhow::bail!("the bucket has no keys");
        };
        let mut hub = Command::new(program("podsync-hub")?)
            .args(["serve", "--config"])
            .arg(&settings)
            .env("AWS_ACCESS_KEY_ID", access_key)
            .env("AWS_SECRET_ACCESS_KEY", secret_key)
            .env_remove("AWS_SESSION_TOKEN")
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()?;
        let address = listens_at(&mut hub)?;
        let url = format!("http://{address}");
        self.hub = Some((hub, address));
        Ok(url)
    }

    /// The keys of the bucket's objects below a folder.
    pub fn keys(&self, folder: &str) -> Result<Vec<String>> {
        let listed = self.runtime.block_on(list_all(&self.bucket, folder))?;
        Ok(listed.into_iter().map(|object| object.key).collect())
    }

    pub fn delete(&self, key: &str) -> Result<()> {
        Ok(self.runtime.block_on(self.bucket.delete(key))?)
    }

    /// Replaces an object with the result of `change`.
    pub fn change(&self, key: &str, change: impl FnOnce(&mut Vec<u8>)) -> Result<()> {
        self.runtime.block_on(async {
            let bytes = self.bucket.get(key, 64 << 20).await?;
            let mut bytes = bytes.context("it isn't there")?.to_vec();
            change(&mut bytes);
            Ok(self.bucket.put(key, bytes.into()).await?)
        })
    }
}

impl Drop for AnyBucket {
    fn drop(&mut self) {
        if let Some((mut hub, _)) = self.hub.take() {
            let _ = hub.kill();
            let _ = hub.wait();
        }
    }
}

//! A headless Chromium. chromedriver tells it where to go and which scripts to run.

use std::{
    fs::File,
    process::{Child, Command, Stdio},
};

use anyhow::{Context, Result};
use serde_json::{Value, json};
use tempfile::TempDir;

use super::{
    http::Server,
    ports::{free_port, wait_until_it_listens},
};

const ARGUMENTS: [&str; 7] = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--no-first-run",
    "--window-size=1280,900",
];

/// Ends when it is dropped.
pub(super) struct Chromium {
    driver: Child,
    server: Server,
    /// The path of its session.
    session: String,
    _log: TempDir,
}

impl Chromium {
    pub(super) fn start() -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let log = folder.path().join("log");
        let (port, file) = (free_port()?, File::create(&log)?);
        let driver = Command::new("chromedriver")
            .arg(format!("--port={port}"))
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .spawn()
            .context("cannot run chromedriver: install it, and Chromium")?;
        let mut chromium = Self {
            driver,
            server: Server {
                host: format!("127.0.0.1:{port}"),
                more: String::new(),
            },
            session: String::new(),
            _log: folder,
        };
        wait_until_it_listens(&mut chromium.driver, port, &log)?;
        let options = json!({ "goog:chromeOptions": { "args": ARGUMENTS } });
        let wanted = json!({ "capabilities": { "alwaysMatch": options } });
        let begun = chromium.tell("/session", &wanted)?;
        let id = begun["sessionId"].as_str().context("no session")?;
        chromium.session = format!("/session/{id}");
        Ok(chromium)
    }

    /// Returns once the page has loaded.
    pub(super) fn go(&self, url: &str) -> Result<()> {
        let path = format!("{}/url", self.session);
        self.tell(&path, &json!({ "url": url }))?;
        Ok(())
    }

    /// Runs a script; what it calls its only argument with.
    pub(super) fn run(&self, script: &str) -> Result<Value> {
        let path = format!("{}/execute/async", self.session);
        self.tell(&path, &json!({ "script": script, "args": [] }))
    }

    fn tell(&self, path: &str, what: &Value) -> Result<Value> {
        let (_, said) = self.server.whole("POST", path, Some(what))?;
        let mut said: Value = serde_json::from_str(&said)?;
        Ok(said["value"].take())
    }
}

impl Drop for Chromium {
    fn drop(&mut self) {
        if !self.session.is_empty() {
            // The browser ends with its session, and not with chromedriver.
            let _ = self.server.whole("DELETE", &self.session, None);
        }
        let _ = self.driver.kill();
        let _ = self.driver.wait();
    }
}

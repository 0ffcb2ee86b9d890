//! Homes with real daemons on loopback, driven through the `podsync` program as its user does.
//!
//! A daemon is never stopped for a measurement alone: its peak memory counts from its start, so Call
//! [`Home::restart`] before the work whose peak you measure.

use std::{
    fs::File,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread::{self, JoinHandle},
};

use anyhow::{Context, Result, ensure};
use podsync_api::{Client, TeamChoice, node, page, pods, team};
use serde::de::DeserializeOwned;
use tempfile::TempDir;

use super::{
    Setup,
    measure::{Peak, Process},
    watch::Watch,
};

/// Settings of the person who measures must not leak in.
const CLEARED: [&str; 7] = [
    "PODSYNC_HOME",
    "PODSYNC_LISTEN",
    "PODSYNC_PEERS",
    "PODSYNC_MDNS",
    "PODSYNC_TEAM",
    "PODSYNC_LOG",
    "AWS_ENDPOINT_URL",
];

/// A team of one: its founder's daemon runs.
pub(super) fn found(setup: &Setup) -> Result<Home> {
    let mut alice = Home::new(setup, "alice")?;
    alice.run::<team::TeamCreated>(&["team", "create", "bench", "--as", "alice"])?;
    alice.start(&[])?;
    Ok(alice)
}

/// A newcomer in the first peer's team, whose daemon knows where all `peers` are.
pub(super) fn join(setup: &Setup, name: &str, peers: &[&Home]) -> Result<Home> {
    let inviter = peers.first().context("somebody has to invite")?;
    let invited: team::Invited = inviter.run(&["team", "invite"])?.answer;
    let mut home = Home::new(setup, name)?;
    home.start(peers)?;
    let joining = ["team", "join", "-", "--as", name];
    home.run_with::<team::Joined>(&joining, Some(&invited.ticket))?;
    Ok(home)
}

/// What a command answered, and the peak memory of its own process.
pub(super) struct Ran<T> {
    pub(super) answer: T,
    pub(super) peak: Peak,
}

/// A home and its daemon; both end with it.
pub(super) struct Home {
    name: String,
    program: PathBuf,
    daemon: Option<Daemon>,
    folder: TempDir,
}

impl Home {
    fn new(setup: &Setup, name: &str) -> Result<Self> {
        let folder = tempfile::tempdir_in(setup.folder.path())?;
        let home = Self {
            name: name.to_owned(),
            program: setup.program.clone(),
            daemon: None,
            folder,
        };
        home.run::<serde_json::Value>(&["init"])?;
        Ok(home)
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    /// A path beside the home that ends with it.
    pub(super) fn beside(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(super) fn save(&self, pod: &str, from: &Path) -> Result<Ran<pods::Saved>> {
        self.run(&["save", pod, "--from", &text(from)?])
    }

    pub(super) fn save_from(&self, pod: &str, endpoint: &str) -> Result<Ran<pods::Saved>> {
        self.run(&["save", pod, "--endpoint", endpoint])
    }

    /// In place of all that is in the emulator.
    pub(super) fn load_into(&self, reference: &str, endpoint: &str) -> Result<Ran<pods::Loaded>> {
        let merge = ["--merge", "overwrite"];
        self.run(&[&["load", reference, "--endpoint", endpoint], &merge[..]].concat())
    }

    pub(super) fn save_and_share(&self, pod: &str, from: &Path) -> Result<Ran<pods::Saved>> {
        self.run(&["save", pod, "--share", "--from", &text(from)?])
    }

    pub(super) fn share(&self, reference: &str) -> Result<Ran<pods::Shared>> {
        self.run(&["share", reference])
    }

    /// Names the team's hub.
    pub(super) fn set_hub(&self, url: &str) -> Result<Ran<team::HubSet>> {
        self.run(&["team", "set-hub", url])
    }

    /// Shares it, and waits until the bucket has all of it.
    pub(super) fn share_durably(&self, reference: &str) -> Result<Ran<pods::Shared>> {
        self.run(&["share", reference, "--wait"])
    }

    pub(super) fn pull_from_bucket(&self, reference: &str) -> Result<Ran<pods::Pulled>> {
        self.run(&["pull", reference, "--source", "bucket"])
    }

    /// The only team that it is in.
    pub(super) fn team(&self) -> Result<String> {
        let status: node::Status = self.run(&["status"])?.answer;
        let team = status.teams.first();
        Ok(team
            .with_context(|| format!("{} is in no team", self.name))?
            .id
            .to_string())
    }

    pub(super) fn pull(&self, reference: &str) -> Result<Ran<pods::Pulled>> {
        self.run(&["pull", reference])
    }

    pub(super) fn export(&self, reference: &str, to: &Path) -> Result<Ran<pods::Exported>> {
        self.run(&["export", reference, &text(to)?])
    }

    /// A client of the daemon, without a process for each call.
    pub(super) fn client(&self) -> Result<Client> {
        let socket = self.path().join("run/podsync.sock");
        ensure!(
            socket.exists(),
            "no socket at {}: set TMPDIR to a shorter path",
            socket.display()
        );
        Ok(Client::new(&socket, TeamChoice::Only)?)
    }

    /// What is shared, as `podsync watch` prints it.
    pub(super) fn watch(&self) -> Result<Watch> {
        Watch::start(self.command(&["watch", "--json", "--kinds", "shared"]))
    }

    /// The URL at which one browser may open the page.
    pub(super) fn page(&self) -> Result<String> {
        let opened: page::PageOpened = self.run(&["ui", "--print-url", "--port", "0"])?.answer;
        Ok(opened.url)
    }

    pub(super) fn daemon(&self) -> Result<Process> {
        let daemon = self.daemon.as_ref();
        let daemon = daemon.with_context(|| format!("{}'s daemon doesn't run", self.name))?;
        Ok(Process(daemon.child.id()))
    }

    /// The most memory that the daemon had resident since its start.
    pub(super) fn peak(&self) -> Result<u64> {
        self.daemon()?
            .peak()
            .with_context(|| format!("{}'s daemon ended", self.name))
    }

    /// Ends the daemon in good order and starts a new one, whose peak memory begins anew.
    pub(super) fn restart(&mut self) -> Result<()> {
        if let Some(mut daemon) = self.daemon.take() {
            let status = Command::new("kill")
                .arg(daemon.child.id().to_string())
                .status()?;
            ensure!(
                status.success(),
                "SIGTERM could not be sent to {}'s daemon",
                self.name
            );
            daemon.child.wait()?;
        }
        self.start(&[])
    }

    fn start(&mut self, peers: &[&Self]) -> Result<()> {
        let mut command = self.command(&["daemon", "--listen", "127.0.0.1:0", "--no-mdns"]);
        for peer in peers {
            command.args(["--peer", &peer.address()?]);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        self.daemon = Some(Daemon::new(child, &self.beside("daemon.log"))?);
        Ok(())
    }

    /// A multiaddress that reaches the daemon.
    fn address(&self) -> Result<String> {
        let status: node::Status = self.run(&["status"])?.answer;
        let found = status
            .listening
            .into_iter()
            .find(|address| address.contains("/tcp/"));
        found.with_context(|| format!("{}'s daemon listens nowhere", self.name))
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(&self.program);
        for variable in CLEARED {
            command.env_remove(variable);
        }
        // With `CI` set no command starts a daemon that would outlive the run.
        command
            .env("CI", "true")
            .args(arguments)
            .arg("--home")
            .arg(self.path());
        command
    }

    fn run<T: DeserializeOwned>(&self, arguments: &[&str]) -> Result<Ran<T>> {
        self.run_with(arguments, None)
    }

    fn run_with<T: DeserializeOwned>(
        &self,
        arguments: &[&str],
        stdin: Option<&str>,
    ) -> Result<Ran<T>> {
        let said = || format!("{}: podsync {}", self.name, arguments.join(" "));
        let mut child = self
            .command(arguments)
            .arg("--json")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {}", self.program.display()))?;
        let peak = Process(child.id()).follow();
        if let (Some(mut pipe), Some(text)) = (child.stdin.take(), stdin) {
            pipe.write_all(text.as_bytes()).with_context(said)?;
        }
        let output = child.wait_with_output()?;
        let (stdout, stderr) = (&output.stdout, String::from_utf8_lossy(&output.stderr));
        ensure!(
            output.status.success(),
            "{} failed: {} {}",
            said(),
            String::from_utf8_lossy(stdout).trim(),
            stderr.trim()
        );
        let answer = serde_json::from_slice(stdout).with_context(said)?;
        Ok(Ran { answer, peak })
    }
}

/// A daemon that never outlives its handle, and the thread that takes its log.
struct Daemon {
    child: Child,
    log: Option<JoinHandle<std::io::Result<u64>>>,
}

impl Daemon {
    /// Waits until it serves.
    fn new(mut child: Child, log: &Path) -> Result<Self> {
        let mut said = BufReader::new(child.stderr.take().context("the daemon has no stderr")?);
        let mut daemon = Self { child, log: None };
        let mut seen = String::new();
        while !seen.contains(" serves ") {
            let more = said.read_line(&mut seen)?;
            ensure!(more > 0, "the daemon ended at its start: {}", seen.trim());
        }
        // Taken to its end, or the daemon would block on a full pipe.
        let mut log = File::create(log)?;
        daemon.log = Some(thread::spawn(move || std::io::copy(&mut said, &mut log)));
        Ok(daemon)
    }
}

impl Drop for Daemon {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if let Some(log) = self.log.take() {
            let _ = log.join();
        }
    }
}

fn text(path: &Path) -> Result<String> {
    let text = path
        .to_str()
        .with_context(|| format!("{} is no UTF-8", path.display()))?;
    Ok(text.to_owned())
}

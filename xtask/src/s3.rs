//! `cargo xtask s3`: servers that speak S3 and that we didn't write, each set up on loopback and put to the test.
//!
//! A server lives as long as its [`Running`], and all that it writes lies in a temporary folder.

mod garage;
mod rclone;
mod rgw;
mod swift;

use std::{
    fs::File,
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};
use clap::{Args, ValueEnum};
use serde_json::json;
use tempfile::TempDir;

use xtask::{
    S3_VARIABLE,
    tools::{command, ensure_nextest, has, step, target},
};

const ACCESS_KEY: &str = "AKPODSYNC";
const SECRET_KEY: &str = "secretpodsync";
/// A loaded machine gets more than the seconds that a start takes.
const START_PATIENCE: Duration = Duration::from_secs(180);

#[derive(Args)]
pub(crate) struct S3 {
    server: Server,
    /// Only start it, and say how it is reached, until the task is interrupted
    #[arg(long)]
    serve: bool,
}

#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Server {
    /// Ceph's RGW over one OSD in memory, from Debian's packages
    Rgw,
    /// OpenStack's Swift with s3api, from Debian's packages
    Swift,
    /// `rclone serve s3`, from PyPI
    Rclone,
    /// Garage, once `cargo xtask garage` has built it
    Garage,
}

impl S3 {
    /// Runs the suite and the end-to-end test on it, and prints its row for docs/hub.md.
    pub(crate) fn run(self) -> Result<()> {
        let running = self.server.start()?;
        let description = running.describe()?;
        if self.serve {
            println!("{S3_VARIABLE}={}", description.display());
            println!("{}", std::fs::read_to_string(&description)?);
            loop {
                std::thread::park();
            }
        }
        ensure_nextest()?;
        step(&format!("the suite of buckets on {}", running.name));
        let suite = nextest(
            &description,
            "binary(buckets) & test(a_described_server_is_a_bucket)",
        );
        step(&format!("the whole way over {}", running.name));
        let way = nextest(&description, "binary(end_to_end) & test(/^any_bucket::/)");
        step("its row for docs/hub.md");
        let lacks = running.check()?;
        println!(
            "| {} | {} | {} | {lacks} |",
            running.version,
            passed(&suite),
            passed(&way)
        );
        suite.and(way)
    }
}

impl Server {
    pub(crate) fn start(self) -> Result<Running> {
        match self {
            Self::Rgw => rgw::start(),
            Self::Swift => swift::start(),
            Self::Rclone => rclone::start(),
            Self::Garage => garage::start(),
        }
    }
}

/// With the features that every test is built with: nothing is compiled for this alone.
fn nextest(description: &Path, tests: &str) -> Result<()> {
    let arguments = [
        "nextest",
        "run",
        "--workspace",
        "--features",
        "podsync/failpoints",
        "--no-capture",
        "-E",
        tests,
    ];
    let tests = command("cargo", &arguments).env(S3_VARIABLE, description);
    tests.run().context("a test failed")?;
    Ok(())
}

fn passed(outcome: &Result<()>) -> &'static str {
    if outcome.is_ok() { "passes" } else { "fails" }
}

/// A server that runs.
pub(crate) struct Running {
    /// As the tests know it.
    name: &'static str,
    /// As its package calls itself.
    version: String,
    port: u16,
    region: &'static str,
    keys: (String, String),
    children: Vec<Child>,
    folder: TempDir,
}

impl Running {
    fn new(name: &'static str) -> Result<Self> {
        Ok(Self {
            name,
            version: name.to_owned(),
            port: free_port()?,
            region: "us-east-1",
            keys: (ACCESS_KEY.to_owned(), SECRET_KEY.to_owned()),
            children: Vec::new(),
            folder: tempfile::Builder::new().prefix("podsync-s3-").tempdir()?,
        })
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Starts a program that belongs to the server; what it says goes to a log of its own.
    fn spawn(&mut self, command: &mut Command) -> Result<()> {
        let program = PathBuf::from(command.get_program());
        let program = program.file_name().unwrap_or_default().to_string_lossy();
        let log = File::create(self.path(&format!("{program}-{}.log", self.children.len())))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("{program} can't be started"))?;
        self.children.push(child);
        Ok(())
    }

    /// Until it answers HTTP at all.
    fn wait(&mut self) -> Result<()> {
        let begun = Instant::now();
        while begun.elapsed() < START_PATIENCE {
            for child in &mut self.children {
                if let Some(status) = child.try_wait()? {
                    bail!(
                        "{} ended at its start ({status}); its logs are in {}",
                        self.name,
                        self.folder.path().display()
                    );
                }
            }
            if answers(self.port) {
                return Ok(());
            }
            // A process that doesn't listen yet offers nothing to wait for.
            std::thread::sleep(Duration::from_millis(100));
        }
        bail!("{} doesn't answer", self.name)
    }

    /// Writes the file that the tests read.
    pub(crate) fn describe(&self) -> Result<PathBuf> {
        let file = self.path("server.json");
        let description = json!({
            "name": self.name,
            "endpoint": format!("http://127.0.0.1:{}", self.port),
            "region": self.region,
            "access_key": self.keys.0,
            "secret_key": self.keys.1,
        });
        std::fs::write(&file, description.to_string())?;
        Ok(file)
    }

    /// What `podsync-hub check` finds it to lack, in words.
    fn check(&self) -> Result<String> {
        let settings = self.path("hub.toml");
        std::fs::write(
            &settings,
            format!(
                "public_urls = ['http://127.0.0.1:7640']\n[[teams]]\nteam = '{}'\nbucket = 'podsync-check'\nregion = '{}'\nendpoint = 'http://127.0.0.1:{}'\n",
                "01".repeat(32),
                self.region,
                self.port
            ),
        )?;
        let program = target().join("debug/podsync-hub");
        let checked = Command::new(program)
            .args(["check", "--config"])
            .arg(&settings)
            .env("AWS_ACCESS_KEY_ID", &self.keys.0)
            .env("AWS_SECRET_ACCESS_KEY", &self.keys.1)
            .env("RUST_LOG", "error")
            .output()?;
        let table = String::from_utf8_lossy(&checked.stdout).into_owned();
        eprint!("{table}");
        let lacks: Vec<_> = table
            .lines()
            .filter_map(|line| {
                let (what, rest) = line.split_once("  ")?;
                let rest = rest.trim_start();
                let grade = ["worked around", "missing"]
                    .into_iter()
                    .find(|grade| rest.starts_with(grade))?;
                Some(format!("{} ({grade})", what.trim_end()))
            })
            .collect();
        Ok(lacks.join(", "))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        for child in self.children.iter_mut().rev() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Given back at once: the server binds it itself.
fn free_port() -> Result<u16> {
    Ok(TcpListener::bind(("127.0.0.1", 0))?.local_addr()?.port())
}

fn answers(port: u16) -> bool {
    use std::io::{Read, Write};
    let Ok(mut stream) = std::net::TcpStream::connect(("127.0.0.1", port)) else {
        return false;
    };
    let asked = stream.write_all(b"GET / HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n");
    let mut answer = [0; 5];
    asked.is_ok() && stream.read_exact(&mut answer).is_ok() && answer == *b"HTTP/"
}

/// Whether Debian's packages are there; they are installed where this may.
fn ensure_debian(packages: &[&str], program: &str) -> Result<()> {
    if has(program, &["--version"]) || has("which", &[program]) {
        return Ok(());
    }
    let install = format!(
        "apt-get install --no-install-recommends {}",
        packages.join(" ")
    );
    if !has("apt-get", &["--version"]) || !is_root() {
        bail!("{program} isn't here: install it (`{install}` on Debian 12)");
    }
    step(&install);
    let arguments = [&["install", "--yes", "--no-install-recommends"], packages].concat();
    let installed = Command::new("apt-get")
        .args(arguments)
        .env("DEBIAN_FRONTEND", "noninteractive")
        .status()?;
    anyhow::ensure!(installed.success(), "`{install}` failed");
    Ok(())
}

fn is_root() -> bool {
    let id = duct::cmd!("id", "-u").read();
    id.is_ok_and(|id| id.trim() == "0")
}

/// What a program says of its version: the first line.
fn version(program: &str, arguments: &[&str]) -> String {
    let said = duct::cmd(program, arguments).unchecked().read();
    let said = said.unwrap_or_default();
    said.lines().next().unwrap_or(program).trim().to_owned()
}

fn succeed(command: &mut Command) -> Result<()> {
    let out = command.output()?;
    anyhow::ensure!(
        out.status.success(),
        "{:?} failed: {}",
        command.get_program(),
        String::from_utf8_lossy(&out.stderr)
    );
    Ok(())
}

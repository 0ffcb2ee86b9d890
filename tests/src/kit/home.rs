//! A home driven through the `podsync` program, as its user drives it.

use std::{
    io::{BufRead, BufReader, Read, Write},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tempfile::TempDir;

use super::disk::SmallDisk;

/// Settings of the person who runs the tests must not leak into them.
const CLEARED: [&str; 21] = [
    "PODSYNC_HOME",
    "PODSYNC_LISTEN",
    "PODSYNC_PEERS",
    "PODSYNC_MDNS",
    "PODSYNC_AUTO_SHARE",
    "PODSYNC_AUTO_RESTORE",
    "PODSYNC_NOTIFY",
    "PODSYNC_TEAM",
    "PODSYNC_LOG",
    "AWS_ENDPOINT_URL",
    "FAILPOINTS",
    "PODSYNC_TOKEN",
    "PODSYNC_DISK_BUDGET",
    "PODSYNC_MIN_FREE",
    "PODSYNC_LIMIT_UP",
    "PODSYNC_LIMIT_DOWN",
    "PODSYNC_TICKET",
    "PODSYNC_LOAD",
    "PODSYNC_INIT_PODS",
    "PODSYNC_MERGE",
    "PODSYNC_TEST_CLOCK_S",
];

/// Removes those settings from a program's environment.
pub(super) fn cleared(command: &mut Command) {
    for variable in CLEARED {
        command.env_remove(variable);
    }
}

/// The `podsync` program that `cargo build -p podsync` left beside the tests.
pub fn binary() -> Result<PathBuf> {
    program("podsync")
}

/// A program of this workspace.
pub(super) fn program(name: &str) -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let folder = test
        .parent()
        .and_then(Path::parent)
        .context("the test has no target folder")?;
    let program = folder.join(format!("{name}{}", std::env::consts::EXE_SUFFIX));
    ensure!(
        program.is_file(),
        "{} isn't there: run `cargo build -p {name}` first",
        program.display()
    );
    Ok(program)
}

/// The output of a command.
#[derive(Debug)]
pub struct Answer {
    /// The subcommand.
    command: Vec<String>,
    pub code: Option<i32>,
    /// The JSON on stdout; null where there was none.
    pub json: Value,
    pub stderr: String,
}

impl Answer {
    /// The JSON of a command that succeeded.
    pub fn ok(self) -> Result<Value> {
        ensure!(
            self.code == Some(0),
            "exit code {:?}: {} {}",
            self.code,
            self.json,
            self.stderr
        );
        Ok(self.json)
    }

    /// The message of a command that failed with `code`. Every failure says what to do next.
    pub fn failed(self, code: i32) -> Result<String> {
        ensure!(
            self.code == Some(code),
            "exit code {:?}, not {code}: {} {}",
            self.code,
            self.json,
            self.stderr
        );
        let error = &self.json["error"];
        let Some(message) = error["message"].as_str() else {
            // The command line itself was wrong: clap's words.
            ensure!(
                code == 2 && self.stderr.contains("error:"),
                "no message: {self:?}"
            );
            return Ok(self.stderr);
        };
        let hint = error["hint"].as_str().unwrap_or_default();
        ensure!(!hint.is_empty(), "it doesn't say what to do next: {error}");
        self.takes_the_flags_of(hint)?;
        Ok(format!("{message}\n{hint}"))
    }
}

impl Answer {
    /// The same, with the command that it is of: then its hints are looked at.
    pub(super) fn of(self, arguments: &[&str]) -> Self {
        let command = subcommand(arguments);
        Self { command, ..self }
    }

    /// A flag in a hint, outside a whole command, must be a flag of the failed command.
    fn takes_the_flags_of(&self, hint: &str) -> Result<()> {
        let bare: String = hint.split('`').step_by(2).collect();
        let words = bare.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'));
        let flags: Vec<_> = words.filter(|word| word.starts_with("--")).collect();
        if flags.is_empty() || self.command.is_empty() {
            return Ok(());
        }
        let help = Command::new(binary()?)
            .args(&self.command)
            .arg("--help")
            .output()?;
        // A command that doesn't exist has no help.
        if !help.status.success() {
            return Ok(());
        }
        let help = String::from_utf8_lossy(&help.stdout);
        for flag in flags {
            ensure!(
                help.split([' ', '=', '\n', ',']).any(|word| word == flag),
                "{:?} doesn't take {flag}: {hint}",
                self.command
            );
        }
        Ok(())
    }
}

/// The subcommand among what is typed: `team invite list`.
fn subcommand(arguments: &[&str]) -> Vec<String> {
    let groups = ["team", "retention", "service", "config", "plugin"];
    let words = arguments.iter().take_while(|word| !word.starts_with('-'));
    let depth = match arguments {
        [first, "invite", "list" | "revoke", ..] if groups.contains(first) => 3,
        [first, ..] if groups.contains(first) => 2,
        _ => 1,
    };
    words.take(depth).map(|word| (*word).to_owned()).collect()
}

pub struct Home {
    pub name: String,
    /// Dropped before the folder that it is mounted in.
    disk: Option<SmallDisk>,
    folder: TempDir,
    daemon: Option<Child>,
    /// The log of its daemons.
    log: Arc<Mutex<String>>,
    /// A prefix that runs programs in a network namespace.
    prefix: Vec<String>,
}

impl Home {
    /// A home with a key and no daemon.
    pub fn new(name: &str) -> Result<Self> {
        Self::within(name, Vec::new())
    }

    /// A home whose every program is run behind `prefix`.
    pub fn within(name: &str, prefix: Vec<String>) -> Result<Self> {
        let mut home = Self::uninitialised(name)?;
        home.prefix = prefix;
        home.run(&["init"])?.ok()?;
        Ok(home)
    }

    /// A home with `len` bytes of disk. None, with the reason printed, if that isn't possible.
    pub fn on_small_disk(name: &str, len: u64) -> Result<Option<Self>> {
        let mut home = Self::uninitialised(name)?;
        std::fs::create_dir(home.path())?;
        home.disk = SmallDisk::mount(&home.path(), len)?;
        if home.disk.is_none() {
            return Ok(None);
        }
        home.run(&["init"])?.ok()?;
        Ok(Some(home))
    }

    /// A home without a key, as a new machine has it.
    pub fn uninitialised(name: &str) -> Result<Self> {
        Ok(Self {
            name: name.to_owned(),
            disk: None,
            folder: tempfile::Builder::new().prefix("podsync-test-").tempdir()?,
            daemon: None,
            log: Arc::default(),
            prefix: Vec::new(),
        })
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("home")
    }

    fn command(&self, arguments: &[&str]) -> Result<Command> {
        let program = binary()?;
        let mut command = match self.prefix.split_first() {
            Some((first, rest)) => {
                let mut command = Command::new(first);
                command.args(rest).arg(program);
                command
            }
            None => Command::new(program),
        };
        cleared(&mut command);
        command
            .env("CI", "true")
            .args(arguments)
            .arg("--home")
            .arg(self.path());
        Ok(command)
    }

    /// Runs a command to its end.
    pub fn run(&self, arguments: &[&str]) -> Result<Answer> {
        self.run_with(arguments, &[], None)
    }

    /// Runs a command with variables, and with text on its stdin.
    pub fn run_with(
        &self,
        arguments: &[&str],
        variables: &[(&str, &str)],
        stdin: Option<&str>,
    ) -> Result<Answer> {
        let mut child = self
            .command(arguments)?
            .arg("--json")
            .envs(variables.iter().copied())
            .stdin(if stdin.is_some() {
                Stdio::piped()
            } else {
                Stdio::null()
            })
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?;
        if let (Some(text), Some(mut pipe)) = (stdin, child.stdin.take()) {
            pipe.write_all(text.as_bytes())?;
        }
        let output = child.wait_with_output()?;
        Ok(Answer {
            command: subcommand(arguments),
            code: output.status.code(),
            json: serde_json::from_slice(&output.stdout).unwrap_or(Value::Null),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        })
    }

    /// A command as somebody types it, with its text as it is.
    pub fn typed(&self, arguments: &[&str]) -> Result<Command> {
        let mut command = self.command(arguments)?;
        command.stdin(Stdio::null());
        Ok(command)
    }

    /// Starts a command and leaves it running.
    pub fn spawn(&self, arguments: &[&str], variables: &[(&str, &str)]) -> Result<Child> {
        Ok(self
            .command(arguments)?
            .arg("--json")
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()?)
    }

    /// Posts a call to the daemon's socket, like an independent client.
    pub fn post(&self, path: &str, call: &Value) -> Result<(u16, Value)> {
        let mut socket = UnixStream::connect(self.path().join("run/podsync.sock"))?;
        let body = call.to_string();
        write!(
            socket,
            "POST /v1/{path} HTTP/1.1\r\nhost: podsync\r\ncontent-type: application/json\r\n\
             content-length: {}\r\nconnection: close\r\n\r\n{body}",
            body.len()
        )?;
        let mut answer = String::new();
        socket.read_to_string(&mut answer)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("no answer")?;
        let status = head.split(' ').nth(1).context("no status")?.parse()?;
        Ok((status, serde_json::from_str(body).unwrap_or(Value::Null)))
    }

    /// Starts the daemon on loopback and waits until it serves.
    pub fn start(&mut self, peers: &[&Self]) -> Result<()> {
        let addresses = peers
            .iter()
            .map(|peer| peer.address())
            .collect::<Result<Vec<_>>>()?;
        let mut arguments = vec!["daemon", "--listen", "127.0.0.1:0", "--no-mdns"];
        for address in &addresses {
            arguments.extend(["--peer", address]);
        }
        self.start_with(&arguments, &[])
    }

    /// Starts the daemon as told and waits until it serves.
    pub fn start_with(&mut self, arguments: &[&str], variables: &[(&str, &str)]) -> Result<()> {
        ensure!(self.daemon.is_none(), "{}'s daemon runs already", self.name);
        let mut child = self
            .command(arguments)?
            .envs(variables.iter().copied())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()?;
        let mut log = BufReader::new(child.stderr.take().context("no stderr")?);
        let mut seen = String::new();
        while !seen.contains(" serves ") {
            let before = seen.len();
            if log.read_line(&mut seen)? == 0 || seen.len() == before {
                let _ = child.kill();
                bail!("{}'s daemon ended at its start: {seen}", self.name);
            }
        }
        // The pipe is drained to its end, or the daemon would block on a full one.
        let (name, kept) = (self.name.clone(), Arc::clone(&self.log));
        std::thread::spawn(move || {
            let mut rest = String::new();
            while log.read_line(&mut rest).is_ok_and(|len| len > 0) {
                eprint!("[{name}] {rest}");
                if let Ok(mut kept) = kept.lock() {
                    kept.push_str(&rest);
                }
                rest.clear();
            }
        });
        self.daemon = Some(child);
        Ok(())
    }

    /// A multiaddress that reaches the daemon.
    pub fn address(&self) -> Result<String> {
        let status = self.run(&["status"])?.ok()?;
        let listening = status["listening"].as_array().context("no addresses")?;
        listening
            .iter()
            .filter_map(Value::as_str)
            .find(|address| address.contains("/tcp/"))
            .map(str::to_owned)
            .with_context(|| format!("{} listens nowhere: {status}", self.name))
    }

    /// The log of its daemons since their start.
    pub fn log(&self) -> String {
        self.log.lock().map(|log| log.clone()).unwrap_or_default()
    }

    /// Sends the daemon a signal, by its name.
    pub fn signal(&self, name: &str) -> Result<()> {
        let id = self.daemon_id().context("no daemon runs")?;
        let sent = Command::new("kill")
            .args([&format!("-{name}"), &id.to_string()])
            .status()?;
        ensure!(sent.success(), "kill failed");
        Ok(())
    }

    pub fn daemon_id(&self) -> Option<u32> {
        self.daemon.as_ref().map(Child::id)
    }

    /// `kill -9`, or waiting for a daemon that a failpoint ended.
    pub fn kill(&mut self) -> Result<()> {
        if let Some(mut daemon) = self.daemon.take() {
            let _ = daemon.kill();
            daemon.wait()?;
        }
        Ok(())
    }

    /// The exit code of a daemon that something else stopped.
    pub fn stopped(&mut self) -> Result<Option<i32>> {
        let mut daemon = self.daemon.take().context("no daemon runs")?;
        Ok(daemon.wait()?.code())
    }

    /// SIGTERM; the exit code.
    pub fn stop(&mut self) -> Result<Option<i32>> {
        let Some(mut daemon) = self.daemon.take() else {
            return Ok(None);
        };
        let signal = Command::new("kill")
            .args(["-TERM", &daemon.id().to_string()])
            .status()?;
        ensure!(signal.success(), "kill failed");
        Ok(daemon.wait()?.code())
    }

    /// Founds a team with this home's device as its admin.
    pub fn found(&self, team: &str) -> Result<()> {
        self.run(&["team", "create", team, "--as", &self.name])?
            .ok()
            .map(drop)
    }

    /// A ticket as text.
    pub fn invite(&self, arguments: &[&str]) -> Result<String> {
        let invited = self.run(&[&["team", "invite"], arguments].concat())?.ok()?;
        invited["ticket"]
            .as_str()
            .map(str::to_owned)
            .context("no ticket")
    }

    /// A ticket that has expired. Its daemon runs then, where the ticket says.
    pub fn expired_ticket(&mut self) -> Result<String> {
        let behind = [("PODSYNC_TEST_CLOCK_S", "-7200")];
        let run = |home: &mut Self, port: &str, variables: &[(&str, &str)]| {
            home.start_with(&["daemon", "--no-mdns", "--listen", port], variables)
        };
        run(self, "127.0.0.1:0", &behind)?;
        let address = self.address()?;
        let port = address.split('/').nth(4).context("no port")?.to_owned();
        let ticket = self.invite(&["--expires", "1h"])?;
        self.stop()?;
        run(self, &format!("127.0.0.1:{port}"), &[])?;
        Ok(ticket)
    }

    /// A robot's token.
    pub fn token(&self, name: &str) -> Result<String> {
        let invited = self
            .run(&["team", "invite", "--robot", "--name", name])?
            .ok()?;
        invited["token"]
            .as_str()
            .map(str::to_owned)
            .context("no token")
    }

    pub fn join(&self, ticket: &str) -> Result<Answer> {
        self.run_with(
            &["team", "join", "-", "--as", &self.name],
            &[],
            Some(ticket),
        )
    }

    /// A folder beside the home that ends with it.
    pub fn scratch(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

/// A child's output and exit code.
pub fn finish(child: Child) -> Result<Answer> {
    let mut child = child;
    let mut stdout = Vec::new();
    let mut stderr = String::new();
    if let Some(mut pipe) = child.stdout.take() {
        pipe.read_to_end(&mut stdout)?;
    }
    if let Some(mut pipe) = child.stderr.take() {
        pipe.read_to_string(&mut stderr)?;
    }
    let code = child.wait()?.code();
    Ok(Answer {
        command: Vec::new(),
        code,
        json: serde_json::from_slice(&stdout).unwrap_or(Value::Null),
        stderr,
    })
}

//! Every command whose result can't be written or has no reader.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::Read,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, ensure};
use podsync_tests::kit::{FakeEmulator, Home, Member, fill, zip};

use crate::share::alice_and_bob;

const DISK: i32 = 10;
const INTERRUPTED: i32 = 130;

/// Commands that are not among those that are tried, and why.
const EXEMPT: [(&str, &str); 13] = [
    (
        "autosave",
        "it prints as the others do, and needs an emulator that changes",
    ),
    ("daemon", "it runs until it is stopped, and prints nothing"),
    (
        "demo",
        "its story is on stderr, and it has tests of its own",
    ),
    ("logs", "it prints a file as it is"),
    ("mcp", "its output is a protocol"),
    ("plugin", "it changes an emulator"),
    ("restart", "it leaves a daemon behind"),
    ("restore", "it prints what a load prints"),
    ("run-hook", "it prints what a load prints"),
    ("service", "it changes this machine"),
    ("unfollow", "it prints as `follow` does; a second one fails"),
    ("ui", "it has tests of its own"),
    ("watch", "it runs until it is interrupted"),
];

/// Commands that are done when their result can't be written.
const DONE: [&str; 14] = [
    "save", "share", "load", "undo", "tag", "pin", "unpin", "gc", "follow", "pause", "resume",
    "drop", "stop", "team",
];
/// What makes another command of one of those: it changes nothing, or it prints a secret.
const UNLIKE: [&str; 5] = ["--help", "--dry-run", "members", "invite", "create"];

/// A team with a version of a pod, a running daemon and an emulator.
struct Stage {
    alice: Home,
    _bob: Home,
    emulator: FakeEmulator,
}

impl Stage {
    fn new() -> Result<Self> {
        let (alice, bob) = alice_and_bob()?;
        alice.invite(&[])?;
        let state = alice.scratch("state");
        fill(&state, 1, 10_000, 1)?;
        fs::write(state.join("more"), "of it")?;
        let emulator = FakeEmulator::start(&zip(&[Member::stored("s3/buckets", b"one")]))?;
        let stage = Self {
            alice,
            _bob: bob,
            emulator,
        };
        for message in ["first", "second"] {
            fs::write(state.join("message"), message)?;
            let save = ["save", "orders", "--share", "-m", message, "--from"];
            stage
                .alice
                .run(&[&save[..], &[&stage.scratch("state")]].concat())?
                .ok()?;
        }
        Ok(stage)
    }

    fn scratch(&self, name: &str) -> String {
        self.alice.scratch(name).to_string_lossy().into_owned()
    }

    /// Every command that prints a result, in an order in which each can be carried out again and again.
    fn commands(&self) -> Vec<Vec<String>> {
        let (state, out, lock) = (
            self.scratch("state"),
            self.scratch("out"),
            self.scratch("podsync.lock"),
        );
        let endpoint = self.emulator.endpoint();
        let manual = self.scratch("manual");
        let commands: &[&[&str]] = &[
            &["--help"],
            &["--version"],
            &["save", "--help"],
            &["completions", "bash"],
            &["completions", "zsh"],
            &["man", &manual],
            &["config"],
            &["config", "get", "mdns"],
            &["team", "members"],
            &["team", "invite", "list"],
            &["team", "set-hub", "--unset"],
            &["save", "orders", "--from", &state],
            &["save", "orders", "--share", "--from", &state],
            &["share", "orders"],
            &["pull", "orders"],
            &["export", "orders:1", &out],
            &["save", "world", "--endpoint", &endpoint],
            &["load", "world", "--yes", "--endpoint", &endpoint],
            &["undo", "--endpoint", &endpoint],
            &["list"],
            &["ls"],
            &["versions", "orders"],
            &["show", "orders"],
            &["show", "orders", "--contents"],
            &["diff", "orders:1", "orders:2"],
            &["lock", "orders", "--file", &lock],
            &["tag", "orders:1", "baseline"],
            &["pin", "orders"],
            &["unpin", "orders"],
            &["du"],
            &["gc"],
            &["gc", "--dry-run"],
            &["verify"],
            &["retention", "set", "--keep-all"],
            &["retention", "show"],
            &["retention", "apply"],
            &["follow", "orders"],
            &["pause", "--for", "1h"],
            &["resume"],
            &["status"],
            &["peers"],
            &["doctor"],
            &["drop", "orders:1"],
            &["team", "invite"],
            &["team", "invite", "--robot", "--name", "ci"],
            &["team", "create", "billing", "--as", "alice", "--yes"],
            &["stop"],
            &["init"],
        ];
        let owned = |command: &&[&str]| command.iter().map(ToString::to_string).collect();
        commands.iter().map(owned).collect()
    }

    /// Runs a command whose stdout is `out`.
    fn run(&self, command: &[String], json: bool, out: impl Into<Stdio>) -> Result<Output> {
        let mut arguments: Vec<&str> = command.iter().map(String::as_str).collect();
        arguments.extend(json.then_some("--json"));
        let output = self
            .alice
            .typed(&arguments)?
            .stdout(out)
            .stderr(Stdio::piped())
            .output();
        let _ = fs::remove_dir_all(self.alice.scratch("out"));
        output.with_context(|| format!("{command:?}"))
    }
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// A command that is added has to be among those that are tried.
#[test]
fn every_command_is_tried() -> Result<()> {
    let stage = Stage::new()?;
    let commands = stage.commands();
    let tried: BTreeSet<&str> = commands.iter().map(|words| &*words[0]).collect();
    let help = stage.alice.typed(&["--help"])?.output()?;
    let help = String::from_utf8(help.stdout)?;
    let (listed, _) = help.split_once("Options:").context("no options")?;
    let names = listed
        .lines()
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next());
    let mut count = 0;
    for name in names {
        let is_exempt = EXEMPT.iter().any(|(exempt, _)| *exempt == name);
        ensure!(
            tried.contains(name) || is_exempt,
            "{name} is not among the commands whose output is closed or full"
        );
        count += 1;
    }
    ensure!(count > 20, "{help}");
    Ok(())
}

#[test]
fn what_cannot_be_written_is_a_failure_of_every_command() -> Result<()> {
    let stage = Stage::new()?;
    for command in stage.commands() {
        for json in [false, true] {
            // A second of the same is another mistake.
            let once =
                ["stop", "drop"].contains(&&*command[0]) || command.contains(&"--robot".to_owned());
            if once && json {
                continue;
            }
            let full = File::options().write(true).open("/dev/full")?;
            let output = stage.run(&command, json, full)?;
            let told = text(&output);
            let failed = output.status.code() == Some(DISK) || command[0] == "doctor";
            ensure!(failed, "{command:?}: {:?} {told}", output.status);
            ensure!(told.contains("stdout"), "{command:?}: {told}");
            let is_done = DONE.contains(&&*command[0])
                && !command.iter().any(|word| UNLIKE.contains(&&**word));
            if is_done {
                ensure!(
                    told.contains("done all the same") && !told.contains("then run the command"),
                    "{command:?}: {told}"
                );
            }
        }
    }
    Ok(())
}

#[test]
fn a_closed_pipe_ends_every_command_quietly() -> Result<()> {
    let stage = Stage::new()?;
    for command in stage.commands() {
        let is_secret = command.contains(&"create".to_owned())
            || command.starts_with(&["team".to_owned(), "invite".to_owned()])
                && !command.contains(&"list".to_owned());
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let output = stage.run(&command, false, writer)?;
        let told = text(&output);
        ensure!(!told.contains("panicked"), "{command:?}: {told}");
        // Nobody reads stdout, so the secret is on stderr.
        ensure!(
            !is_secret || told.contains("podsync2-") || told.contains("podsync-recovery1-"),
            "{command:?}: {told}"
        );
        ensure!(
            output.status.success() || command[0] == "doctor",
            "{command:?}: {:?} {told}",
            output.status
        );
        ensure!(!told.contains("stdout"), "{command:?}: {told}");
    }
    Ok(())
}

/// Without an event or a line to print they would go on for ever.
#[test]
fn a_command_that_goes_on_ends_with_its_reader() -> Result<()> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    for command in [&["watch"][..], &["logs", "--follow"]] {
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let mut command = alice.typed(command)?;
        let output = command.stdout(writer).stderr(Stdio::piped()).output()?;
        ensure!(output.status.success(), "{output:?}");
    }
    Ok(())
}

/// Its thread waits until there is room in the pipe, and hears no signal meanwhile.
#[test]
fn a_signal_ends_a_command_whose_output_nobody_takes() -> Result<()> {
    let alice = Home::new("alice")?;
    let line = "x".repeat(2_000) + "\n";
    fs::write(alice.path().join("daemon.log"), line.repeat(200))?;
    let mut logs = alice.typed(&["logs"])?;
    let mut logs = logs.stdout(Stdio::piped()).stderr(Stdio::null()).spawn()?;
    let mut out = logs.stdout.take().context("no stdout")?;
    // It prints, so it listens for signals.
    out.read_exact(&mut [0])?;
    let signal = Command::new("kill")
        .args(["-INT", &logs.id().to_string()])
        .status()?;
    ensure!(signal.success(), "kill failed");
    let ended = logs.wait()?;
    ensure!(ended.code() == Some(INTERRUPTED), "{ended}");
    Ok(())
}

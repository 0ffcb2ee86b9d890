//! Nothing is lost by a keystroke: what can't be taken back is asked about, and what could not be shown is a failure.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, ensure};
use podsync_tests::kit::{Home, binary, fill};
use serde_json::Value;

const INVALID: i32 = 2;
const DISK: i32 = 10;
const TICKET: i32 = 13;

/// Changes the order of the letters after it.
const OVERRIDE: char = '\u{202E}';

fn save(home: &Home, seed: u64, more: &[&str]) -> Result<Value> {
    let state = home.scratch(&format!("state-{seed}"));
    fill(&state, 1, 10_000, seed)?;
    let from = state.to_string_lossy().into_owned();
    home.run(&[&["save", "orders", "--from", &from], more].concat())?
        .ok()
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn what_cannot_be_written_is_a_failure_of_every_command() -> Result<()> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    save(&alice, 1, &["--share", "-m", "first"])?;
    let out = alice.scratch("out").to_string_lossy().into_owned();
    let commands: [&[&str]; 16] = [
        &["--help"],
        &["--version"],
        &["completions", "bash"],
        &["config"],
        &["diff", "orders:1", "orders:1"],
        &["doctor"],
        &["export", "orders", &out],
        &["gc"],
        &["init"],
        &["list"],
        &["pin", "orders"],
        &["retention", "show"],
        &["show", "orders"],
        &["status"],
        &["team", "members"],
        &["verify"],
    ];
    for command in commands {
        for json in [&[][..], &["--json"]] {
            let full = File::options().write(true).open("/dev/full")?;
            let output = alice
                .typed(&[command, json].concat())?
                .stdout(full)
                .stderr(Stdio::piped())
                .output()?;
            let told = text(&output);
            let failed = output.status.code() == Some(DISK) || command == ["doctor"];
            ensure!(failed, "{command:?}: {:?} {told}", output.status);
            ensure!(told.contains("stdout"), "{command:?}: {told}");
            let _ = fs::remove_dir_all(&out);
        }
    }
    Ok(())
}

#[test]
fn a_closed_pipe_ends_every_command_quietly() -> Result<()> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    save(&alice, 1, &["--share"])?;
    let commands: [&[&str]; 8] = [
        &["--help"],
        &["completions", "bash"],
        &["completions", "zsh"],
        &["config"],
        &["list"],
        &["show", "orders"],
        &["status"],
        &["versions", "orders"],
    ];
    for command in commands {
        let (reader, writer) = std::io::pipe()?;
        drop(reader);
        let output = alice
            .typed(command)?
            .stdout(writer)
            .stderr(Stdio::piped())
            .output()?;
        let told = text(&output);
        ensure!(
            output.status.success(),
            "{command:?}: {:?} {told}",
            output.status
        );
        ensure!(
            !told.contains("panicked") && !told.contains("stdout"),
            "{told}"
        );
    }
    Ok(())
}

#[test]
fn a_bad_ticket_leaves_no_key_and_no_daemon() -> Result<()> {
    let home = Home::uninitialised("carol")?;
    for bad in ["hello", "", "podsync1-abc"] {
        home.join(bad)?.failed(TICKET)?;
        ensure!(!home.path().exists(), "{bad:?} made a home");
    }
    Ok(())
}

/// Types at a terminal of its own; what it showed, and what the next program would read.
fn at_a_terminal(home: &Path, typed: &str, command: &str) -> Result<Option<String>> {
    use std::io::Write;
    if Command::new("script").arg("--version").output().is_err() {
        eprintln!("NOT RUN: there is no `script` to make a terminal with");
        return Ok(None);
    }
    // `cat` reads what is left to be typed into the shell.
    let line = format!("trap : INT; {command}; echo code=$?; timeout 1 cat | sed s/^/left:/");
    let mut child = Command::new("script")
        .args(["-qec", &line, "/dev/null"])
        .env("PODSYNC", binary()?)
        .env("PODSYNC_HOME", home)
        .env("CI", "true")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut out = child.stdout.take().context("no stdout")?;
    let mut pipe = child.stdin.take().context("no stdin")?;
    let mut seen = Vec::new();
    let mut piece = [0; 512];
    // The prompt comes first: a paste before it would not be one.
    while !String::from_utf8_lossy(&seen).contains(": ") && !seen.ends_with(b"] ") {
        let len = std::io::Read::read(&mut out, &mut piece)?;
        ensure!(len > 0, "no prompt: {}", String::from_utf8_lossy(&seen));
        seen.extend_from_slice(&piece[..len]);
    }
    pipe.write_all(typed.as_bytes())?;
    std::io::Read::read_to_end(&mut out, &mut seen)?;
    child.wait()?;
    Ok(Some(String::from_utf8_lossy(&seen).into_owned()))
}

#[test]
fn a_paste_at_the_prompt_is_drained_and_not_shown() -> Result<()> {
    let home = Home::uninitialised("carol")?;
    let paste = "not-a-ticket\nrm -rf everything\nand more";
    let Some(seen) = at_a_terminal(&home.path(), paste, "$PODSYNC team join")? else {
        return Ok(());
    };
    ensure!(seen.contains("code=13"), "{seen}");
    ensure!(
        !seen.contains("left:") && !seen.contains("everything"),
        "{seen}"
    );
    Ok(())
}

#[test]
fn ctrl_c_ends_a_prompt() -> Result<()> {
    let home = Home::uninitialised("carol")?;
    let Some(seen) = at_a_terminal(&home.path(), "\u{3}", "$PODSYNC team join")? else {
        return Ok(());
    };
    ensure!(seen.contains("code=130"), "{seen}");
    Ok(())
}

#[test]
fn what_reorders_text_never_reaches_the_output() -> Result<()> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    let message = format!("{OVERRIDE}gpj.exe");
    save(&alice, 1, &["--share", "-m", &message])?;
    let commands: [&[&str]; 4] = [
        &["list"],
        &["versions", "orders"],
        &["show", "orders"],
        &["list", "--json"],
    ];
    for command in commands {
        let output = alice.typed(command)?.output()?;
        let shown = String::from_utf8(output.stdout)?;
        ensure!(shown.contains("gpj.exe"), "{shown}");
        ensure!(!shown.contains(OVERRIDE), "{command:?}: {shown}");
    }
    let list = alice.run(&["list"])?.ok()?;
    ensure!(list[0]["tips"][0]["message"] == message, "{list}");
    Ok(())
}

#[test]
fn a_mistake_on_the_command_line_is_json_where_json_is_asked_for() -> Result<()> {
    let alice = Home::new("alice")?;
    for mistake in [&["lisst"][..], &["save"], &["list", "--no-such-flag"]] {
        let why = alice.run(mistake)?;
        ensure!(why.json["error"]["code"] == "invalid", "{why:?}");
        why.failed(INVALID)?;
    }
    Ok(())
}

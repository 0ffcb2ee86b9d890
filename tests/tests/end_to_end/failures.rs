//! What failed is what is said: each row of the table in docs/operations.md has its test, here or lower down.

use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use podsync_tests::kit::{Home, Hub, Runner, binary};

use crate::share::alice_and_bob;

const INVALID: i32 = 2;
const NOT_FOUND: i32 = 3;
const UNREACHABLE: i32 = 7;
const BUSY: i32 = 11;
const NO_DAEMON: i32 = 14;

/// Saves a small state as `orders`.
fn save_orders(home: &Home, share: bool) -> Result<()> {
    let state = home.scratch("state");
    std::fs::create_dir_all(&state)?;
    std::fs::write(state.join("queue"), b"dead letters")?;
    let from = state.to_string_lossy().into_owned();
    let mut save = vec!["save", "orders", "--from", &from];
    save.extend(share.then_some("--share"));
    home.run(&save)?.ok().map(drop)
}

fn hint(answer: &podsync_tests::kit::Answer) -> &str {
    answer.json["error"]["hint"].as_str().unwrap_or_default()
}

/// Where nobody can ever answer nobody is waited for: an hour would end the test.
#[test]
fn an_unknown_pod_in_a_team_of_one_is_told_at_once() -> Result<()> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    save_orders(&alice, false)?;
    let to = alice.scratch("out").to_string_lossy().into_owned();
    for command in [
        vec!["pull", "ordres", "--wait", "1h"],
        vec!["export", "ordres", &to, "--wait", "1h"],
        vec!["load", "ordres", "--wait", "1h"],
    ] {
        let answer = alice.run(&command)?;
        ensure!(hint(&answer).contains("did you mean orders?"), "{answer:?}");
        answer.failed(NOT_FOUND)?;
    }
    Ok(())
}

#[test]
fn what_nobody_connected_knows_is_told_with_what_was_meant() -> Result<()> {
    let (alice, bob) = alice_and_bob()?;
    save_orders(&alice, true)?;
    bob.run(&["pull", "orders", "--wait", "60s"])?.ok()?;
    let answer = bob.run(&["pull", "ordres"])?;
    ensure!(hint(&answer).contains("did you mean orders?"), "{answer:?}");
    answer.failed(NOT_FOUND)?;
    Ok(())
}

/// A port on which nothing listens, for a hub that is away.
fn away() -> Result<(Hub, Home, String)> {
    let mut hub = Hub::start()?;
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    alice.run(&["team", "set-hub", &hub.url()])?.ok()?;
    let ticket = alice.invite(&[])?;
    let token = alice.token("ci")?;
    alice.stop()?;
    hub.kill()?;
    let bob = Home::new("bob")?;
    bob.run(&["init"])?.ok()?;
    let answer = bob.join(&ticket)?;
    let told = answer.failed(UNREACHABLE)?;
    ensure!(told.contains("answered within"), "{told}");
    ensure!(!told.contains("did not let this device in"), "{told}");
    Ok((hub, alice, token))
}

#[test]
fn a_hub_that_is_away_has_refused_neither_a_join_nor_a_robot() -> Result<()> {
    let (_hub, _alice, token) = away()?;
    let runner = Runner::new(&token)?;
    let told = runner
        .run(&["pull", "orders", "--wait", "2s"])?
        .failed(UNREACHABLE)?;
    ensure!(!told.contains("removed"), "{told}");
    Ok(())
}

#[test]
fn a_message_that_is_too_long_is_told_by_its_length() -> Result<()> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    let message = "x".repeat(100_000);
    let from = alice.path().to_string_lossy().into_owned();
    let told = alice
        .run(&["save", "orders", "-m", &message, "--from", &from])?
        .failed(INVALID)?;
    ensure!(told.contains("100000 bytes"), "{told}");
    Ok(())
}

#[test]
fn a_usage_error_is_json_where_json_was_asked_for() -> Result<()> {
    let alice = Home::new("alice")?;
    let answer = alice.run(&["save"])?;
    ensure!(answer.code == Some(INVALID), "{answer:?}");
    ensure!(answer.json["error"]["code"] == "invalid", "{answer:?}");
    Ok(())
}

#[test]
fn a_daemon_that_is_killed_in_mid_call_is_told_as_that() -> Result<()> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    let listen = ["daemon", "--listen", "127.0.0.1:0", "--no-mdns"];
    alice.start_with(&listen, &[("PODSYNC_ABORT_AT", "daemon::save::held")])?;
    let state = alice.scratch("state");
    std::fs::create_dir_all(&state)?;
    std::fs::write(state.join("queue"), b"dead letters")?;
    let from = state.to_string_lossy().into_owned();
    let told = alice
        .run(&["save", "orders", "--from", &from])?
        .failed(NO_DAEMON)?;
    ensure!(told.contains("ended before it had answered"), "{told}");
    alice.kill()
}

#[test]
fn stop_tells_of_a_daemon_whose_socket_is_gone() -> Result<()> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    std::fs::remove_file(alice.path().join("run/podsync.sock"))?;
    let pid = alice.daemon_id().context("no daemon")?.to_string();
    let told = alice.run(&["stop"])?.failed(BUSY)?;
    ensure!(told.contains(&pid), "{told}");
    Ok(())
}

/// As a person runs it: a daemon is started in the background, or can't be.
fn in_the_background(home: &Home, variables: &[(&str, &str)]) -> Result<(Option<i32>, String)> {
    let output = Command::new(binary()?)
        .args(["share", "orders", "--home"])
        .arg(home.path())
        .env_remove("CI")
        .env("PODSYNC_MDNS", "false")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((output.status.code(), told))
}

#[test]
fn a_daemon_that_cannot_start_says_why_with_its_own_exit_code() -> Result<()> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    save_orders(&alice, false)?;
    let (code, told) = in_the_background(&alice, &[("PODSYNC_LISTEN", "nonsense")])?;
    ensure!(
        code == Some(INVALID) && told.contains("settings"),
        "{code:?} {told}"
    );

    // A copy of the home: its mark says that it lies elsewhere.
    let copy = Home::new("copy")?;
    std::fs::remove_dir_all(copy.path())?;
    let copied = Command::new("cp")
        .arg("-R")
        .arg(alice.path())
        .arg(copy.path())
        .status()?;
    ensure!(copied.success(), "cp failed");
    let (code, told) = in_the_background(&copy, &[("PODSYNC_LISTEN", "127.0.0.1:0")])?;
    ensure!(
        code == Some(INVALID) && told.contains("was copied or moved"),
        "{code:?} {told}"
    );
    Ok(())
}

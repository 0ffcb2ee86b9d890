//! Tickets that lead nowhere leave nothing behind, and a hub with a long name is found all the same.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use podsync_tests::kit::{Home, Hub, Runner, binary};

use crate::bucket::{alice_with, alone};

const UNREACHABLE: i32 = 7;
const TICKET: i32 = 13;
/// The most characters of a ticket.
const MAX_TICKET_LEN: usize = 200;

/// Joins like a user whose command starts a daemon in the background. Returns the exit code and the
/// messages.
fn join_in_the_background(home: &Home, ticket: &str) -> Result<(Option<i32>, String)> {
    let output = Command::new(binary()?)
        .args(["team", "join", "--as", "carol", "--home"])
        .arg(home.path())
        .env_remove("CI")
        .env("PODSYNC_LISTEN", "127.0.0.1:0")
        .env("PODSYNC_MDNS", "false")
        .env("PODSYNC_TICKET", ticket)
        .stdin(Stdio::null())
        .output()?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((output.status.code(), told))
}

/// Whether a process runs that has this home among its arguments; none where the system doesn't show that.
fn somebody_runs(home: &Home) -> Result<Option<bool>> {
    let Ok(processes) = std::fs::read_dir("/proc") else {
        return Ok(None);
    };
    let home = home.path().to_string_lossy().into_owned();
    let mut line = processes
        .filter_map(Result::ok)
        .filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    Ok(Some(line.any(|line| {
        String::from_utf8_lossy(&line).contains(&home)
    })))
}

fn nothing_is_left(home: &Home) -> Result<()> {
    ensure!(!home.path().exists(), "the refused join left a home");
    match somebody_runs(home)? {
        None => eprintln!("NOT RUN: this system shows no processes in /proc"),
        Some(runs) => ensure!(!runs, "the refused join left a daemon"),
    }
    Ok(())
}

#[test]
fn a_ticket_that_is_refused_leaves_no_key_and_no_daemon() -> Result<()> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    let expired = alice.expired_ticket()?;
    let revoked = alice.invite(&[])?;
    let open = alice.run(&["team", "invite", "list"])?.ok()?;
    let id = open[0]["id"].as_str().context("no id")?;
    alice.run(&["team", "invite", "revoke", id])?.ok()?;
    let used = alice.invite(&[])?;
    let bob = Home::new("bob")?;
    bob.join(&used)?.ok()?;
    for ticket in [&expired, &revoked, &used] {
        let carol = Home::uninitialised("carol")?;
        carol.join(ticket)?.failed(TICKET)?;
        nothing_is_left(&carol)?;
        let (code, told) = join_in_the_background(&carol, ticket)?;
        ensure!(code == Some(TICKET), "{code:?} {told}");
        nothing_is_left(&carol)?;
    }

    // What lay in the folder before is not podsync's to remove.
    let carol = Home::uninitialised("carol")?;
    std::fs::create_dir(carol.path())?;
    let settings = carol.path().join("config.toml");
    std::fs::write(&settings, "mdns = false\n")?;
    carol.join(&expired)?.failed(TICKET)?;
    let left: Vec<_> = std::fs::read_dir(carol.path())?.collect();
    ensure!(left.len() == 1 && settings.exists(), "{left:?}");

    // A home that was there keeps its key and its daemon.
    let mut dave = Home::new("dave")?;
    dave.start(&[])?;
    dave.join(&expired)?.failed(TICKET)?;
    ensure!(dave.path().join("identity").exists(), "the key is gone");
    dave.run(&["status"])?.ok()?;
    Ok(())
}

#[test]
fn a_ticket_of_a_team_that_is_not_there_leaves_no_key_and_no_daemon() -> Result<()> {
    let mut mallory = Home::new("mallory")?;
    mallory.found("others")?;
    mallory.start(&[])?;
    let foreign = mallory.invite(&[])?;
    mallory.stop()?;
    let carol = Home::uninitialised("carol")?;
    let (code, told) = join_in_the_background(&carol, &foreign)?;
    ensure!(code == Some(UNREACHABLE), "{code:?} {told}");
    nothing_is_left(&carol)
}

#[test]
fn a_ticket_in_another_encoding_is_told_as_that() -> Result<()> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    let ticket = alice.invite(&[])?;
    let utf16 = std::iter::once(0xfeff).chain(ticket.encode_utf16());
    let piped: Vec<u8> = utf16.flat_map(u16::to_le_bytes).collect();
    let carol = Home::uninitialised("carol")?;
    let mut joining = carol
        .typed(&["team", "join", "-", "--as", "carol"])?
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()?;
    let mut stdin = joining.stdin.take().context("no stdin")?;
    stdin.write_all(&piped)?;
    drop(stdin);
    let output = joining.wait_with_output()?;
    let told = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.code() == Some(TICKET), "{told}");
    ensure!(told.contains("stdin does not contain UTF-8 text"), "{told}");
    ensure!(told.contains("pipe it as UTF-8"), "{told}");
    nothing_is_left(&carol)
}

#[test]
fn a_ticket_whose_hub_refuses_the_connection_leaves_no_key_and_no_daemon() -> Result<()> {
    let mut hub = Hub::start()?;
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    alice.run(&["team", "set-hub", &hub.url()])?.ok()?;
    let ticket = alice.invite(&[])?;
    alice.stop()?;
    hub.kill()?;
    let carol = Home::uninitialised("carol")?;
    let (code, told) = join_in_the_background(&carol, &ticket)?;
    ensure!(code == Some(UNREACHABLE), "{code:?} {told}");
    ensure!(told.contains("can't be reached"), "{told}");
    nothing_is_left(&carol)
}

#[test]
fn a_name_that_the_hub_finds_taken_leaves_the_ticket_good_for_another() -> Result<()> {
    let hub = Hub::start()?;
    let mut alice = alice_with(&hub)?;
    let ticket = alice.invite(&[])?;
    alice.stop()?;
    let bob = alone("bob")?;
    let join = |name| bob.run_with(&["team", "join", "-", "--as", name], &[], Some(&ticket));
    let message = join("alice")?.failed(TICKET)?;
    ensure!(
        message.contains("another member already has that name") && message.contains("--as NAME"),
        "{message}"
    );
    ensure!(!message.contains("new ticket"), "{message}");
    join("bob")?.ok().map(drop)
}

/// A URL of the hub with more characters than a ticket has room for: the same address, written at length.
fn long_url(hub: &Hub) -> Result<String> {
    let url = hub.url();
    let (_, port) = url.rsplit_once(':').context("no port")?;
    Ok(format!("http://0x{}7f000001:{port}", "0".repeat(70)))
}

#[test]
fn a_hub_whose_url_a_ticket_has_no_room_for_is_told_beside_it() -> Result<()> {
    let hub = Hub::start()?;
    let url = long_url(&hub)?;
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    let set = alice.run(&["team", "set-hub", &url])?;
    ensure!(set.stderr.contains("--hub"), "{set:?}");
    set.ok()?;
    let invited = alice.run(&["team", "invite", "--uses", "3"])?;
    ensure!(
        invited.stderr.contains(&format!("--hub {url}")),
        "{invited:?}"
    );
    let invited = invited.ok()?;
    ensure!(invited["hub_left_out"] == url, "{invited}");
    let ticket = invited["ticket"].as_str().context("no ticket")?;
    ensure!(
        ticket.len() <= MAX_TICKET_LEN,
        "{} characters",
        ticket.len()
    );
    let token = alice.token("ci")?;

    // From a member who is there the newcomer learns the hub.
    let bob = Home::new("bob")?;
    bob.join(ticket)?.ok()?;
    let status = bob.run(&["status"])?.ok()?;
    ensure!(status["teams"][0]["hub"]["url"] == url, "{status}");

    // If no member is online, the newcomer has to be given it.
    alice.stop()?;
    let carol = Home::new("carol")?;
    let join = ["team", "join", "-", "--as", "carol", "--hub"];
    let ftp = [&join[..], &["ftp://hub.example"]].concat();
    carol.run_with(&ftp, &[], Some(ticket))?.failed(2)?;
    let told = [&join[..], &[&url]].concat();
    carol.run_with(&told, &[], Some(ticket))?.ok()?;
    // A robot has nobody to ask: its token holds all of it.
    let runner = Runner::new(&token)?;
    runner.run(&["list"])?.ok()?;
    Ok(())
}

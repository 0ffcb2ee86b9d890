//! Errors name what failed: each row of the table in docs/operations.md has its test, here or lower down.

use std::{
    io::{BufRead, BufReader, Write},
    os::unix::net::UnixStream,
    path::Path,
    process::{Command, Stdio},
};

use anyhow::{Context, Result, ensure};
use podsync_tests::kit::{Home, Hub, Runner, binary, fill};
use serde_json::Value;

use crate::share::alice_and_bob;

const INVALID: i32 = 2;
const NOT_FOUND: i32 = 3;
const UNREACHABLE: i32 = 7;
const DISK: i32 = 10;
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

/// If nobody can ever answer, the command doesn't wait: an hour would end the test.
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

/// No member confirmed that there is no such pod.
#[test]
fn a_name_that_nobody_could_be_asked_about_is_an_outage() -> Result<()> {
    let (mut alice, bob) = alice_and_bob()?;
    save_orders(&alice, true)?;
    bob.run(&["pull", "orders", "--wait", "60s"])?.ok()?;
    alice.stop()?;
    let answer = bob.run(&["pull", "ordres", "--wait", "1s"])?;
    let advice = hint(&answer).to_owned();
    ensure!(advice.contains("did you mean orders?"), "{advice}");
    ensure!(!advice.contains("--wait"), "{advice}");
    let message = answer.failed(UNREACHABLE)?;
    ensure!(message.contains("nobody could be asked"), "{message}");
    Ok(())
}

#[test]
fn a_wrong_variable_is_told_by_its_name_and_leaves_no_key() -> Result<()> {
    let home = Home::uninitialised("alice")?;
    let (code, told) = with_listen(
        &home,
        "banana",
        &["team", "create", "payments", "--as", "alice"],
    )?;
    ensure!(code == Some(INVALID), "{code:?} {told}");
    ensure!(told.contains("PODSYNC_LISTEN cannot be `banana`"), "{told}");
    ensure!(!home.path().join("identity").exists(), "a key was made");
    Ok(())
}

#[test]
fn settings_that_cannot_be_read_are_refused_by_all_that_need_them() -> Result<()> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    let file = alice.path().join("config.toml");
    let refused = |code: i32, why: &str| -> Result<()> {
        for command in [
            &["config", "get", "listen"][..],
            &["config"],
            &["doctor"],
            &["list"],
            &["daemon", "--listen", "127.0.0.1:0", "--no-mdns"],
        ] {
            let told = alice.run(command)?.failed(code)?;
            ensure!(told.contains("cannot read its settings in"), "{told}");
            ensure!(told.contains(why), "{command:?}: {told}");
        }
        Ok(())
    };
    // A mode keeps nothing from root, but a link that leads to itself does.
    std::os::unix::fs::symlink(&file, &file)?;
    refused(DISK, "symbolic links")?;
    std::fs::remove_file(&file)?;
    let gone = alice.scratch("gone");
    std::os::unix::fs::symlink(gone.join("dotfile"), &file)?;
    refused(DISK, "gone/dotfile, which is not there")?;
    let told = alice
        .run(&["config", "set", "notify", "false"])?
        .failed(DISK)?;
    ensure!(told.contains("gone/dotfile, which is not there"), "{told}");
    ensure!(!gone.exists(), "a folder was made behind the link");
    std::fs::remove_file(&file)?;
    std::fs::write(&file, b"listen = ['\xff']")?;
    refused(INVALID, "not UTF-8")?;
    std::fs::remove_file(&file)?;
    alice.run(&["list"])?.ok().map(drop)
}

/// 192.0.2.1 is for documentation: no machine has it.
#[test]
fn an_address_of_another_machine_is_no_taken_port() -> Result<()> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    let new = Home::uninitialised("carol")?;
    let variables = [("PODSYNC_LISTEN", "192.0.2.1:0"), ("PODSYNC_MDNS", "false")];
    for (home, command) in [
        (&alice, vec!["peers", "--no-daemon"]),
        (&alice, vec!["share", "orders", "--no-daemon"]),
        (&new, vec!["team", "create", "zz", "--no-daemon"]),
    ] {
        // Each hint names only flags of its command.
        let told = home.run_with(&command, &variables, None)?.failed(INVALID)?;
        ensure!(
            told.contains("this machine has no address 192.0.2.1"),
            "{told}"
        );
    }
    ensure!(!new.path().exists(), "a home was made");
    Ok(())
}

fn with_listen(home: &Home, listen: &str, command: &[&str]) -> Result<(Option<i32>, String)> {
    let output = Command::new(binary()?)
        .arg("--home")
        .arg(home.path())
        .args(command)
        .arg("--no-daemon")
        .env("PODSYNC_MDNS", "false")
        .env("PODSYNC_LISTEN", listen)
        .output()?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((output.status.code(), told))
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
    // A hub that refuses the connection is not one that is silent, whenever the time is over.
    ensure!(told.contains("can't be reached"), "{told}");
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
    let answer = alice.run(&["save", "orders", "--from", &from])?;
    let advice = hint(&answer).to_owned();
    ensure!(advice.contains("run the command again"), "{advice}");
    // A save begins anew.
    ensure!(!advice.contains("where it stopped"), "{advice}");
    let told = answer.failed(NO_DAEMON)?;
    ensure!(told.contains("ended before it had answered"), "{told}");
    alice.kill()
}

#[test]
fn stop_ends_a_daemon_whose_socket_is_gone() -> Result<()> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    std::fs::remove_file(alice.path().join("run/podsync.sock"))?;
    let pid = alice.daemon_id().context("no daemon")?;
    let stopped = alice.run(&["stop"])?.ok()?;
    ensure!(stopped["pid"] == pid, "{stopped}");
    // It ended by itself without an error: there is nothing to kill.
    ensure!(alice.stopped()? == Some(0), "it did not end well");
    let again = alice.run(&["stop"])?;
    ensure!(again.stderr.contains("No daemon is running"), "{again:?}");
    Ok(())
}

#[test]
fn a_daemon_is_found_without_its_socket_and_its_lock() -> Result<()> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    let pid = alice.daemon_id().context("no daemon")?;
    for file in ["run/podsync.sock", "lock"] {
        std::fs::remove_file(alice.path().join(file))?;
    }
    let told = alice.run(&["list"])?.failed(BUSY)?;
    ensure!(
        told.contains(&format!("process {pid} (podsync daemon)")) && told.contains("podsync stop"),
        "{told}"
    );
    let stopped = alice.run(&["stop"])?.ok()?;
    ensure!(stopped["pid"] == pid, "{stopped}");
    ensure!(alice.stopped()? == Some(0), "it did not end well");
    alice.run(&["list"])?.ok().map(drop)
}

/// Only its open databases show that it runs.
#[test]
fn a_daemon_without_socket_and_locks_is_not_denied() -> Result<()> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    std::fs::remove_dir_all(alice.path().join("run"))?;
    std::fs::remove_file(alice.path().join("lock"))?;
    for command in ["stop", "list", "stop"] {
        let told = alice.run(&[command])?.failed(BUSY)?;
        ensure!(told.contains("log.redb"), "{command}: {told}");
    }
    alice.kill()?;
    nobody_is_left(&alice)
}

#[test]
fn a_daemon_that_does_not_answer_is_told_as_that() -> Result<()> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    alice.signal("STOP")?;
    let told = alice.run(&["list"])?.failed(BUSY)?;
    ensure!(
        told.contains("did not answer within") && told.contains("podsync stop"),
        "{told}"
    );
    // What the hint advises works.
    let pid = alice.daemon_id().context("no daemon")?;
    let stopped = alice.run(&["stop"])?.ok()?;
    ensure!(stopped["pid"] == pid, "{stopped}");
    ensure!(alice.stopped()? == Some(0), "it did not end well");
    alice.run(&["list"])?.ok().map(drop)
}

#[test]
fn stop_ends_no_process_that_may_be_another() -> Result<()> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    std::fs::remove_file(alice.path().join("run/podsync.sock"))?;
    // As seen where process ids mean other processes: use this test's own.
    let me = std::process::id();
    let said = format!("process {me} (podsync daemon)\n");
    std::fs::write(alice.path().join("lock"), said)?;
    let told = alice.run(&["stop"])?.failed(BUSY)?;
    ensure!(told.contains(&format!("ps -p {me}")), "{told}");
    // A command is no daemon, and one that has just started has not written its name yet.
    for (said, hint) in [
        (format!("process {me} (a podsync command)\n"), "wait until"),
        (String::new(), "again"),
    ] {
        std::fs::write(alice.path().join("lock"), said)?;
        let told = alice.run(&["stop"])?.failed(BUSY)?;
        ensure!(told.contains(hint), "{told}");
    }
    alice.kill()
}

/// As a person runs it: a daemon is started in the background, or can't be.
fn in_the_background(home: &Path, variables: &[(&str, &str)]) -> Result<(Option<i32>, String)> {
    in_the_background_of(&binary()?, home, variables)
}

fn in_the_background_of(
    program: &Path,
    home: &Path,
    variables: &[(&str, &str)],
) -> Result<(Option<i32>, String)> {
    let output = Command::new(program)
        .args(["share", "orders", "--home"])
        .arg(home)
        .env_remove("CI")
        .env("PODSYNC_LISTEN", "127.0.0.1:0")
        .env("PODSYNC_MDNS", "false")
        .envs(variables.iter().copied())
        .stdin(Stdio::null())
        .output()?;
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    Ok((output.status.code(), told))
}

/// The home is free: every started process has ended.
fn nobody_is_left(home: &Home) -> Result<()> {
    let answer = home.run(&["stop"])?;
    ensure!(answer.stderr.contains("No daemon is running"), "{answer:?}");
    Ok(())
}

#[test]
fn what_stands_in_the_daemons_way_is_named() -> Result<()> {
    for name in ["daemon.log", "run/podsync.sock"] {
        let alice = Home::new("alice")?;
        alice.found("payments")?;
        let path = alice.path().join(name);
        if path.symlink_metadata().is_ok() {
            std::fs::remove_file(&path)?;
        }
        std::fs::create_dir_all(&path)?;
        let (found, told) = in_the_background(&alice.path(), &[])?;
        ensure!(found == Some(DISK), "{name}: {found:?} {told}");
        ensure!(told.contains(name) && !told.contains("shorter"), "{told}");
        nobody_is_left(&alice)?;
    }
    Ok(())
}

#[test]
fn a_home_without_a_team_keeps_no_daemon_that_a_failed_command_started() -> Result<()> {
    let alice = Home::new("alice")?;
    let (code, told) = in_the_background(&alice.path(), &[])?;
    ensure!(
        code == Some(NOT_FOUND) && told.contains("not in a team"),
        "{code:?} {told}"
    );
    nobody_is_left(&alice)
}

#[test]
fn a_daemon_that_cannot_start_says_why_with_its_own_exit_code() -> Result<()> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    save_orders(&alice, false)?;
    let started = |home: &Home, variables: &[(&str, &str)], code, words: [&str; 2]| {
        let (found, told) = in_the_background(&home.path(), variables)?;
        ensure!(found == Some(code), "{found:?} {told}");
        ensure!(words.iter().all(|word| told.contains(word)), "{told}");
        nobody_is_left(home)
    };
    let nonsense = [("PODSYNC_LISTEN", "nonsense")];
    started(&alice, &nonsense, INVALID, ["PODSYNC_LISTEN", "`nonsense`"])?;

    // Another program listens there.
    let taken = std::net::TcpListener::bind("127.0.0.1:0")?;
    let port = taken.local_addr()?.to_string();
    let words = ["the daemon cannot start", &port];
    started(&alice, &[("PODSYNC_LISTEN", &port)], BUSY, words)?;

    // A copy of the home: its mark says that it lies elsewhere.
    let copy = Home::new("copy")?;
    std::fs::remove_dir_all(copy.path())?;
    let copied = Command::new("cp")
        .arg("-R")
        .arg(alice.path())
        .arg(copy.path())
        .status()?;
    ensure!(copied.success(), "cp failed");
    let words = ["the daemon cannot start", "was copied or moved"];
    started(&copy, &[], INVALID, words)?;

    for (file, hint) in [("log.redb", "podsync team join"), ("held.redb", "mv ")] {
        let whole = std::fs::read(alice.path().join(file))?;
        for damage in [Vec::new(), vec![0x5a; whole.len()]] {
            std::fs::write(alice.path().join(file), damage)?;
            let damaged = format!("{file} is damaged");
            started(&alice, &[], DISK, [&damaged, hint])?;
        }
        std::fs::write(alice.path().join(file), whole)?;
    }

    // Once nothing is wrong any more it starts.
    let (code, told) = in_the_background(&alice.path(), &[])?;
    ensure!(code == Some(0), "{code:?} {told}");
    alice.run(&["stop"])?.ok()?;
    nobody_is_left(&alice)
}

/// As package managers do it, and `install.sh`: another file by the same name.
#[test]
fn a_daemon_whose_program_was_replaced_is_restarted_by_the_next_command() -> Result<()> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    save_orders(&alice, false)?;
    let folder = tempfile::tempdir()?;
    let (program, newer) = (folder.path().join("podsync"), folder.path().join("newer"));
    std::fs::copy(binary()?, &program)?;
    let share = || -> Result<(String, Value)> {
        let (code, told) = in_the_background_of(&program, &alice.path(), &[])?;
        ensure!(code == Some(0), "{code:?} {told}");
        let status = alice.run(&["status"])?.ok()?;
        Ok((told, status["pid"].clone()))
    };
    let (_, started) = share()?;
    let (told, same) = share()?;
    ensure!(same == started && !told.contains("Restarting"), "{told}");

    std::fs::copy(binary()?, &newer)?;
    std::fs::rename(&newer, &program)?;
    let (told, another) = share()?;
    alice.run(&["stop"])?.ok()?;
    ensure!(
        another != started && told.contains("Restarting it with podsync"),
        "{told}"
    );
    nobody_is_left(&alice)
}

#[test]
fn a_home_whose_path_is_not_text_is_refused_before_anything_is_made() -> Result<()> {
    use std::os::unix::ffi::OsStrExt;
    let alice = Home::uninitialised("alice")?;
    std::fs::create_dir_all(alice.scratch(""))?;
    let home = alice
        .scratch("")
        .join(std::ffi::OsStr::from_bytes(b"home-\xff"));
    let (code, told) = in_the_background(&home, &[])?;
    ensure!(code == Some(INVALID), "{code:?} {told}");
    ensure!(
        told.contains("not UTF-8") && told.contains("--home"),
        "{told}"
    );
    ensure!(!home.exists(), "it made a folder");
    Ok(())
}

/// The first line that names the members a call waits for.
fn waits_for(home: &Home, path: &str, call: &serde_json::Value) -> Result<String> {
    let mut socket = UnixStream::connect(home.path().join("run/podsync.sock"))?;
    let body = call.to_string();
    write!(
        socket,
        "POST /v1/{path} HTTP/1.1\r\nhost: podsync\r\ncontent-type: application/json\r\n\
         accept: text/event-stream\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )?;
    for line in BufReader::new(socket).lines() {
        let line = line?;
        let progress: Option<serde_json::Value> = line
            .strip_prefix("data:")
            .and_then(|data| serde_json::from_str(data).ok());
        let waiting = progress.and_then(|it| it["waiting"].as_str().map(str::to_owned));
        if let Some(waiting) = waiting {
            return Ok(waiting);
        }
    }
    anyhow::bail!("it never said for whom it waits")
}

#[test]
fn a_command_that_waits_says_for_whom_and_since_when() -> Result<()> {
    let (mut alice, bob) = alice_and_bob()?;
    save_orders(&alice, true)?;
    while bob.run(&["list"])?.ok()?.as_array().map_or(0, Vec::len) != 1 {}
    alice.stop()?;
    while bob.run(&["peers"])?.ok()?[0]["connected"] == true {}
    let call = serde_json::json!({
        "reference": "orders:1", "wait_s": 60, "until_shared": false, "sources": "any",
    });
    let waiting = waits_for(&bob, "teams/-/pull", &call)?;
    let (who, since) = waiting
        .split_once(" (offline since ")
        .with_context(|| waiting.clone())?;
    ensure!(who.starts_with("waiting for alice/"), "{waiting}");
    let time = since
        .trim_end_matches(')')
        .rsplit(' ')
        .next()
        .unwrap_or_default();
    let (hour, minute) = time.split_once(':').with_context(|| waiting.clone())?;
    ensure!(
        hour.parse::<u8>()? < 24 && minute.parse::<u8>()? < 60 && minute.len() == 2,
        "{waiting}"
    );
    Ok(())
}

/// No byte moves from then on, and the connection stays open for a while.
#[test]
fn a_pull_whose_provider_is_suspended_says_for_whom_it_waits() -> Result<()> {
    let (alice, mut bob) = alice_and_bob()?;
    bob.stop()?;
    let peer = alice.address()?;
    bob.start_with(
        &[
            "daemon",
            "--listen",
            "127.0.0.1:0",
            "--no-mdns",
            "--peer",
            &peer,
        ],
        &[("PODSYNC_LIMIT_DOWN", "1MB/s")],
    )?;
    let state = alice.scratch("state");
    fill(&state, 4, 16 << 20, 1)?;
    let from = state.to_string_lossy().into_owned();
    alice
        .run(&["save", "orders", "--share", "--from", &from])?
        .ok()?;
    while bob.run(&["list"])?.ok()?.as_array().map_or(0, Vec::len) != 1 {}
    let call = serde_json::json!({
        "reference": "orders:1", "wait_s": 60, "until_shared": false, "sources": "any",
    });
    let waiting = std::thread::scope(|scope| -> Result<String> {
        let pull = scope.spawn(|| waits_for(&bob, "teams/-/pull", &call));
        let received = || -> Result<u64> {
            let peers = bob.run(&["peers"])?.ok()?;
            Ok(peers[0]["received"].as_u64().unwrap_or_default())
        };
        while received()? < 1 << 20 && !pull.is_finished() {}
        alice.signal("STOP")?;
        pull.join().expect("it does not panic")
    });
    alice.signal("CONT")?;
    let waiting = waiting?;
    ensure!(
        waiting.starts_with("waiting for alice/") && waiting.contains("offline since"),
        "{waiting}"
    );
    Ok(())
}

/// A folder that `team create` refuses as a home is refused by every other command too.
#[test]
fn no_command_takes_a_folder_of_something_else_for_a_home() -> Result<()> {
    let alice = Home::new("alice")?;
    let foreign = alice.scratch("foreign");
    std::fs::create_dir_all(&foreign)?;
    std::fs::write(foreign.join("thesis.txt"), "mine")?;
    let file = foreign.join("thesis.txt");
    let inside = alice.path().join("inside");
    for (home, found) in [
        (&foreign, "thesis.txt"),
        (&file, "not a folder"),
        (&inside, "cannot contain another"),
    ] {
        let home = home.to_string_lossy().into_owned();
        for command in [&["status"][..], &["list"], &["team", "create", "payments"]] {
            let output = Command::new(binary()?)
                .args(["--home", &home])
                .args(command)
                .stdin(Stdio::null())
                .output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(
                output.status.code() == Some(INVALID)
                    && said.contains(found)
                    && said.contains("choose a new or empty folder"),
                "{command:?}: {said}"
            );
        }
    }
    Ok(())
}

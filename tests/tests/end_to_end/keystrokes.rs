//! Nothing is lost by one keystroke: irreversible actions ask first, and output that can't be shown is a failure.

use std::{
    fs::{self, File},
    path::Path,
    process::{Command, Output, Stdio},
};

use anyhow::{Context, Result, ensure};
use podsync_tests::kit::{Home, binary, fill};
use serde_json::Value;

use crate::share::alice_and_bob;

const INVALID: i32 = 2;
const NOT_FOUND: i32 = 3;
const FORBIDDEN: i32 = 5;
const DISK: i32 = 10;
const TICKET: i32 = 13;
const UNCONFIRMED: i32 = 15;

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
fn the_last_admin_goes_only_after_a_yes() -> Result<()> {
    let (alice, bob) = alice_and_bob()?;
    for go in [
        &["team", "remove", "alice"][..],
        &["team", "role", "alice", "reader"],
        &["team", "leave"],
    ] {
        let why = alice.run(go)?.failed(UNCONFIRMED)?;
        ensure!(why.contains("recovery key"), "{why}");
    }
    // With a second admin nothing is lost by it.
    alice.run(&["team", "role", "bob", "admin"])?.ok()?;
    alice.run(&["team", "role", "alice", "publisher"])?.ok()?;
    while bob.run(&["status"])?.ok()?["teams"][0]["admins"] != 1 {}
    bob.run(&["team", "role", "bob", "reader"])?
        .failed(UNCONFIRMED)?;
    bob.run(&["team", "role", "bob", "reader", "-y"])?.ok()?;
    let status = bob.run(&["status"])?.ok()?;
    ensure!(status["teams"][0]["admins"] == 0, "{status}");
    // What only the recovery key can do is told as that.
    let next = bob.run(&[])?.ok()?["next"].to_string();
    ensure!(next.contains("podsync team recover"), "{next}");
    let invite = ["team", "invite"];
    let state = bob.scratch("state-1");
    fill(&state, 1, 10_000, 1)?;
    let from = state.to_string_lossy().into_owned();
    let share = ["save", "orders", "--from", &from, "--share"];
    for command in [&invite[..], &share] {
        let why = bob.run(command)?.failed(FORBIDDEN)?;
        ensure!(why.contains("podsync team recover"), "{command:?}: {why}");
    }
    let warnings = status["warnings"].to_string();
    ensure!(warnings.contains("no admin"), "{warnings}");
    Ok(())
}

#[test]
fn who_leaves_a_team_is_out_of_it() -> Result<()> {
    let (alice, bob) = alice_and_bob()?;
    let why = bob.run(&["team", "leave"])?.failed(UNCONFIRMED)?;
    ensure!(why.contains("payments"), "{why}");
    let left = bob.run(&["team", "leave", "--yes"])?.ok()?;
    ensure!(left["name"] == "payments", "{left}");
    while alice
        .run(&["team", "members"])?
        .ok()?
        .as_array()
        .map_or(0, Vec::len)
        != 1
    {}
    let status = bob.run(&["status"])?.ok()?;
    ensure!(status["teams"][0]["role"].is_null(), "{status}");
    save(&alice, 1, &["--share"])?;
    bob.run(&["pull", "orders", "--wait", "1s"])?.failed(5)?;
    Ok(())
}

#[test]
fn nobody_is_removed_without_a_yes() -> Result<()> {
    let (alice, bob) = alice_and_bob()?;
    let why = alice.run(&["team", "remove", "bob"])?.failed(UNCONFIRMED)?;
    ensure!(why.contains("bob/") && why.contains("payments"), "{why}");
    // A reader may go, and no other may.
    alice.run(&["team", "role", "bob", "reader"])?.ok()?;
    bob.run(&["team", "remove", "alice"])?.failed(5)?;
    let why = bob.run(&["team", "remove", "bob"])?.failed(UNCONFIRMED)?;
    ensure!(why.contains("this device leaves"), "{why}");
    // With a second admin no team is lost, and a device is all the same.
    alice.run(&["team", "role", "bob", "admin"])?.ok()?;
    while bob.run(&["status"])?.ok()?["teams"][0]["admins"] != 2 {}
    let why = alice
        .run(&["team", "remove", "alice"])?
        .failed(UNCONFIRMED)?;
    ensure!(why.contains("this device leaves"), "{why}");
    let removed = alice.run(&["team", "remove", "bob", "--yes"])?.ok()?;
    let name = removed["names"][0].as_str().context("no name")?;
    ensure!(name.starts_with("bob/"), "{removed}");
    Ok(())
}

#[test]
fn a_team_that_was_left_is_no_question() -> Result<()> {
    let alice = Home::new("alice")?;
    alice.found("foo")?;
    alice.found("bar")?;
    alice
        .run(&["--team", "foo", "team", "leave", "--yes"])?
        .ok()?;
    alice.run(&["list"])?.ok()?;
    save(&alice, 1, &["--share"])?;
    let status = alice.run(&["status"])?.ok()?;
    let warnings = status["warnings"].to_string();
    ensure!(warnings.contains("you left foo"), "{warnings}");
    ensure!(!warnings.contains("was removed"), "{warnings}");
    Ok(())
}

#[test]
fn an_invite_is_listed_and_revoked() -> Result<()> {
    let (alice, _bob) = alice_and_bob()?;
    let spent = alice.run(&["team", "invite", "list"])?.ok()?;
    ensure!(spent == serde_json::json!([]), "{spent}");
    let ticket = alice.invite(&["--role", "reader", "--uses", "2"])?;
    let open = alice.run(&["team", "invite", "list"])?.ok()?;
    ensure!(
        open[0]["role"] == "reader" && open[0]["uses_left"] == 2,
        "{open}"
    );
    ensure!(open[0]["by"] == "alice", "{open}");
    let id = open[0]["id"].as_str().context("no id")?;
    alice
        .run(&["team", "invite", "revoke", "zzzzzzzz"])?
        .failed(NOT_FOUND)?;
    // Every id begins with this.
    for short in ["1", "12D3Koo", &id[id.len() - 7..]] {
        alice
            .run(&["team", "invite", "revoke", short])?
            .failed(INVALID)?;
    }
    let listed = alice.typed(&["team", "invite", "list"])?.output()?;
    let listed = String::from_utf8_lossy(&listed.stdout).into_owned();
    let row = listed.lines().nth(1).context("no row")?;
    let shown = row.split_whitespace().next().context("no id")?;
    let revoked = alice.run(&["team", "invite", "revoke", shown])?.ok()?;
    ensure!(revoked["id"] == id, "{revoked}");
    let open = alice.run(&["team", "invite", "list"])?.ok()?;
    ensure!(open == serde_json::json!([]), "{open}");
    let mut carol = Home::new("carol")?;
    carol.start(&[&alice])?;
    carol.join(&ticket)?.failed(TICKET)?;
    Ok(())
}

#[test]
fn a_second_team_of_one_name_is_asked_about() -> Result<()> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    let again = ["team", "create", "payments", "--as", "alice"];
    let why = alice.run(&again)?.failed(UNCONFIRMED)?;
    ensure!(why.contains("payments"), "{why}");
    alice.found("billing")?;
    alice.run(&[&again[..], &["--yes"]].concat())?.ok()?;
    let status = alice.run(&["status"])?.ok()?;
    let teams = status["teams"].as_array().context("no teams")?;
    assert_eq!(teams.len(), 3);
    let shown = alice.typed(&["status"])?.output()?;
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    for team in teams.iter().filter(|team| team["name"] == "payments") {
        let id = &team["id"].as_str().context("no id")?[..10];
        ensure!(shown.contains(&format!("payments ({id})")), "{shown}");
    }
    ensure!(shown.contains("billing:"), "{shown}");
    alice.run(&[])?.ok()?;
    Ok(())
}

#[test]
fn a_name_that_may_stand_for_another_version_is_dropped_after_a_yes() -> Result<()> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    save(&alice, 1, &["--share"])?;
    save(&alice, 2, &["--share"])?;
    alice.run(&["tag", "orders:1", "baseline"])?.ok()?;
    let why = alice.run(&["drop", "orders"])?.failed(UNCONFIRMED)?;
    ensure!(why.contains("orders:2"), "{why}");
    let why = alice
        .run(&["drop", "orders:baseline"])?
        .failed(UNCONFIRMED)?;
    ensure!(why.contains("orders:1"), "{why}");
    alice.run(&["drop", "orders:1"])?.ok()?;
    let dropped = alice.run(&["drop", "orders", "-y"])?.ok()?;
    ensure!(dropped["reference"] == "orders:2", "{dropped}");
    Ok(())
}

#[test]
fn a_rule_that_lets_go_of_something_is_set_after_a_yes() -> Result<()> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    for seed in 1..=3 {
        save(&alice, seed, &["--share"])?;
    }
    let rule = [
        "retention",
        "set",
        "orders",
        "--keep-last",
        "1",
        "--grace",
        "0s",
    ];
    let why = alice.run(&rule)?.failed(UNCONFIRMED)?;
    ensure!(
        why.contains("orders:1") && why.contains("orders:2"),
        "{why}"
    );
    let rules = alice.run(&["retention", "show"])?.ok()?;
    ensure!(rules["rules"] == serde_json::json!([]), "{rules}");
    let set = alice.run(&[&rule[..], &["--yes"]].concat())?.ok()?;
    ensure!(set["due"].as_array().map_or(0, Vec::len) == 2, "{set}");
    // Versions that may already be dropped need no question.
    alice.run(&rule)?.ok()?;
    alice
        .run(&["retention", "set", "orders", "--keep-all"])?
        .ok()?;
    Ok(())
}

#[test]
fn an_older_state_is_shared_after_a_yes_and_never_called_newest() -> Result<()> {
    let (alice, bob) = alice_and_bob()?;
    save(&bob, 1, &[])?;
    let newer = save(&alice, 2, &["--share"])?;
    ensure!(newer["reference"] == "orders:1", "{newer}");
    while bob.run(&["list"])?.ok()?[0]["versions"] != 1 {}
    let list = bob.run(&["list"])?.ok()?;
    let tips = list[0]["tips"].as_array().context("no tips")?;
    ensure!(
        tips.len() == 1 && tips[0]["reference"] == "orders:1",
        "{list}"
    );
    let why = bob.run(&["share", "orders"])?.failed(UNCONFIRMED)?;
    ensure!(why.contains("orders:1"), "{why}");
    let shared = bob.run(&["share", "orders", "--yes"])?.ok()?;
    ensure!(shared["reference"] == "orders:2", "{shared}");
    ensure!(
        shared["warnings"].to_string().contains("orders:1"),
        "{shared}"
    );
    while alice.run(&["list"])?.ok()?[0]["versions"] != 2 {}
    for home in [&alice, &bob] {
        let list = home.run(&["list"])?.ok()?;
        let tips = list[0]["tips"].as_array().context("no tips")?;
        ensure!(
            tips.len() == 1 && tips[0]["reference"] == "orders:1",
            "{list}"
        );
        let shown = home.run(&["show", "orders"])?.ok()?;
        ensure!(shown["version"]["reference"] == "orders:1", "{shown}");
    }
    // What is saved from now on follows both.
    let newest = save(&bob, 3, &["--share"])?;
    ensure!(newest["reference"] == "orders:3", "{newest}");
    let list = bob.run(&["list"])?.ok()?;
    let tips = list[0]["tips"].as_array().context("no tips")?;
    ensure!(
        tips.len() == 1 && tips[0]["reference"] == "orders:3",
        "{list}"
    );
    Ok(())
}

#[test]
fn a_state_of_nothing_is_saved_after_a_yes() -> Result<()> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    let empty = alice.scratch("empty");
    fs::create_dir_all(empty.join("nothing/in/it"))?;
    let marked = alice.scratch("marked");
    fs::create_dir_all(marked.join("inside"))?;
    fs::write(marked.join("inside/.gitkeep"), b"")?;
    let file = alice.scratch("state.bin");
    fs::write(&file, b"")?;
    // The end of a zip's directory that lists nothing.
    let zip = alice.scratch("state.zip");
    fs::write(&zip, [&b"PK\x05\x06"[..], &[0; 18]].concat())?;
    for path in [&marked, &file, &zip] {
        let from = path.to_string_lossy().into_owned();
        let why = alice
            .run(&["save", "orders", "--from", &from])?
            .failed(UNCONFIRMED)?;
        ensure!(why.contains(&from), "{why}");
    }
    let from = empty.to_string_lossy().into_owned();
    let save = ["save", "orders", "--from", &from];
    alice.run(&save)?.failed(UNCONFIRMED)?;
    ensure!(alice.run(&["list"])?.ok()? == serde_json::json!([]));
    alice.run(&[&save[..], &["-y"]].concat())?.ok()?;
    let services = [&save[..], &["--services", "s3"]].concat();
    alice.run(&services)?.failed(INVALID)?;
    Ok(())
}

/// stdout is full, and so is stderr where `silent`.
fn unseen(home: &Home, arguments: &[&str], silent: bool) -> Result<Output> {
    let full = || File::options().write(true).open("/dev/full");
    let mut command = home.typed(arguments)?;
    command.stdout(full()?);
    match silent {
        true => command.stderr(full()?),
        false => command.stderr(Stdio::piped()),
    };
    Ok(command.output()?)
}

#[test]
fn a_secret_reaches_stderr_where_stdout_shows_nothing() -> Result<()> {
    let alice = Home::new("alice")?;
    let mut command = alice.typed(&["team", "create", "payments", "--as", "alice"])?;
    let output = command
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .output()?;
    ensure!(output.status.success(), "{output:?}");
    ensure!(text(&output).contains("podsync-recovery1-"), "{output:?}");
    let mut command = alice.typed(&["team", "invite"])?;
    let output = command
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .output()?;
    ensure!(output.status.code() == Some(DISK), "{output:?}");
    let open = alice.run(&["team", "invite", "list"])?.ok()?;
    ensure!(open == serde_json::json!([]), "{open}");
    Ok(())
}

#[test]
fn a_secret_that_was_not_shown_is_shown_again_or_taken_back() -> Result<()> {
    let alice = Home::new("alice")?;
    let create = ["team", "create", "payments", "--as", "alice"];
    let output = unseen(&alice, &create, false)?;
    ensure!(output.status.code() == Some(DISK), "{output:?}");
    ensure!(text(&output).contains("podsync-recovery1-"), "{output:?}");

    let ticket = unseen(&alice, &["team", "invite"], false)?;
    ensure!(ticket.status.code() == Some(DISK), "{ticket:?}");
    let shown = text(&ticket);
    let shown = shown.lines().find(|line| line.starts_with("podsync2-"));
    ensure!(shown.is_some(), "{ticket:?}");
    let open = alice.run(&["team", "invite", "list"])?.ok()?;
    assert_eq!(open.as_array().map_or(0, Vec::len), 1);

    // Where nobody can have seen them.
    unseen(&alice, &["team", "invite"], true)?;
    let open = alice.run(&["team", "invite", "list"])?.ok()?;
    assert_eq!(open.as_array().map_or(0, Vec::len), 1);
    unseen(&alice, &["team", "invite", "--robot"], true)?;
    let members = alice.run(&["team", "members"])?.ok()?;
    assert_eq!(members.as_array().map_or(0, Vec::len), 1);
    let billing = ["team", "create", "billing", "--as", "alice"];
    let output = unseen(&alice, &billing, true)?;
    ensure!(output.status.code() == Some(DISK), "{output:?}");
    let kept = fs::read_dir(alice.path())?
        .filter_map(Result::ok)
        .find(|entry| {
            entry
                .file_name()
                .to_string_lossy()
                .starts_with("recovery-key-")
        })
        .context("the recovery key is lost")?;
    let key = fs::read_to_string(kept.path())?;
    ensure!(key.starts_with("podsync-recovery1-"), "{key}");
    Ok(())
}

#[test]
fn a_wrong_label_and_a_robots_token_leave_no_key() -> Result<()> {
    let new = Home::uninitialised("new")?;
    let label = ["team", "create", "q", "--as", "q", "--label", "a\nb"];
    let why = new.run(&label)?.failed(INVALID)?;
    ensure!(why.contains("--label"), "{why}");
    ensure!(!new.path().exists(), "a key was left");
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    let token = alice.token("ci")?;
    let why = new
        .run_with(&["team", "join", "-"], &[], Some(&token))?
        .failed(TICKET)?;
    ensure!(
        why.contains("a robot's token") && why.contains("PODSYNC_TOKEN"),
        "{why}"
    );
    ensure!(!why.contains(&token), "the token is repeated");
    ensure!(!new.path().exists(), "a key was left");
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
    // Mistakes are repeated as well.
    for mistake in [
        vec![&*message],
        vec!["show", &message],
        vec!["save", &message],
        vec!["save", "orders", "--from", &message],
        vec!["list", "--team", &message],
    ] {
        let output = alice.typed(&mistake)?.output()?;
        let shown = text(&output);
        ensure!(shown.contains("gpj.exe"), "{mistake:?}: {shown}");
        ensure!(!shown.contains(OVERRIDE), "{mistake:?}: {shown}");
    }
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

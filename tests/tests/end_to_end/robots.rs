//! Robots: a token and nothing else, any number of runners, nothing left behind; locked versions and
//! worlds that are too old.

use std::{fs, process::Command};

use anyhow::{Context, Result, ensure};
use podsync_tests::kit::{
    Conduct, FakeEmulator, Home, Member, Runner, fill, finish, same_tree, size_of, zip,
};

use crate::share::alice_and_bob;

const INVALID: i32 = 2;
const NOT_FOUND: i32 = 3;
const FORBIDDEN: i32 = 5;
const UNREACHABLE: i32 = 7;
const TICKET: i32 = 13;
const UNCONFIRMED: i32 = 15;
const STALE: i32 = 16;
const INTERRUPTED: i32 = 130;

/// Alice alone, her daemon up, with a pod `orders` whose first version is tagged `baseline`; and a robot's
/// token.
fn alice_and_a_token() -> Result<(Home, String)> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    share(&alice, 1)?;
    alice.run(&["tag", "orders", "baseline"])?.ok()?;
    let token = alice.token("ci")?;
    Ok((alice, token))
}

/// Shares a state of 2 MiB that no other seed gives.
fn share(home: &Home, seed: u64) -> Result<()> {
    let state = home.scratch(&format!("state-{seed}"));
    fill(&state, 2, 1 << 20, seed)?;
    let from = state.to_string_lossy().into_owned();
    home.run(&["save", "orders", "--share", "--from", &from])?
        .ok()
        .map(drop)
}

fn nothing_is_left(runner: &Runner) -> Result<()> {
    let left = runner.leftovers()?;
    ensure!(left.is_empty(), "left behind: {left:?}");
    Ok(())
}

#[test]
fn a_token_and_nothing_else_pulls_and_loads() -> Result<()> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    let state = zip(&[
        Member::stored("s3/buckets", &[1; 5000]),
        Member::stored("sqs/queues", &[2; 5000]),
    ]);
    let source = FakeEmulator::start(&state)?;
    alice
        .run(&[
            "save",
            "orders",
            "--share",
            "--endpoint",
            &source.endpoint(),
        ])?
        .ok()?;
    alice.run(&["tag", "orders", "baseline"])?.ok()?;
    let runner = Runner::new(&alice.token("ci")?)?;
    let target = FakeEmulator::start(&state)?;
    let loaded = runner
        .run(&[
            "pull",
            "orders:baseline",
            "--load",
            "--endpoint",
            &target.endpoint(),
        ])?
        .ok()?;
    assert_eq!(loaded["reference"], "orders:1");
    assert_eq!(loaded["applied"], serde_json::json!(["s3", "sqs"]));
    assert_eq!(loaded["checkpoint"], serde_json::Value::Null);
    assert_eq!(target.posts().len(), 1);
    nothing_is_left(&runner)?;
    // An emulator elsewhere is asked about as ever, and a robot can't be asked.
    let remote = target.endpoint().replace("127.0.0.1", "192.0.2.1");
    let code = runner
        .run(&["pull", "orders", "--load", "--endpoint", &remote])?
        .code;
    ensure!(code == Some(UNCONFIRMED), "{code:?}");
    nothing_is_left(&runner)
}

#[test]
fn a_robot_reads_and_does_nothing_else() -> Result<()> {
    let (alice, token) = alice_and_a_token()?;
    let runner = Runner::new(&token)?;
    let list = runner.run(&["list"])?.ok()?;
    assert_eq!(list[0]["tips"][0]["reference"], "orders:1");
    let versions = runner.run(&["versions", "orders"])?.ok()?;
    assert_eq!(versions[0]["tags"][0], "baseline");
    let shown = runner.run(&["show", "orders:baseline"])?.ok()?;
    assert_eq!(shown["version"]["author"], "alice");
    let out = runner.work().join("out");
    runner
        .run(&["export", "orders", &out.to_string_lossy()])?
        .ok()?;
    same_tree(&alice.scratch("state-1"), &out)?;
    for command in [
        &["save", "orders", "--from", "out"][..],
        &["share", "orders"],
        &["tag", "orders", "mine"],
        &["drop", "orders"],
        &["team", "members"],
        &["team", "invite"],
        &["retention", "show"],
        &["undo"],
        &["gc"],
        &["status"],
        &["daemon"],
    ] {
        let message = runner.run(command)?.failed(FORBIDDEN)?;
        ensure!(message.contains("PODSYNC_TOKEN"), "{command:?}: {message}");
    }
    let message = runner
        .run(&["pull", "orders", "--new-signer"])?
        .failed(INVALID)?;
    ensure!(message.contains("--load"), "{message}");
    runner
        .run(&["pull", "nothing", "--wait", "1s"])?
        .failed(NOT_FOUND)?;
    nothing_is_left(&runner)?;
    let members = alice.run(&["team", "members"])?.ok()?;
    let mut members = members.as_array().into_iter().flatten();
    let robot = members
        .find(|member| member["member"] == "ci")
        .context("the robot isn't listed")?;
    assert_eq!(robot["role"], "reader");
    // Two robots of one name would be removed together.
    alice
        .run(&["team", "invite", "--robot", "--name", "ci"])?
        .failed(INVALID)?;
    Ok(())
}

#[test]
fn any_number_of_runners_at_once_and_none_is_quarantined() -> Result<()> {
    let (alice, token) = alice_and_a_token()?;
    let runner = Runner::new(&token)?;
    // More than there are slots: the others retry until one is free.
    let jobs: Vec<_> = (0..16)
        .map(|_| runner.spawn(&["pull", "orders:baseline", "--wait", "60s"]))
        .collect::<Result<_>>()?;
    for job in jobs {
        let pulled = finish(job)?.ok()?;
        ensure!(pulled["fetched"].as_u64() >= Some(2 << 20), "{pulled}");
    }
    nothing_is_left(&runner)?;
    let status = alice.run(&["status"])?.ok()?;
    assert_eq!(status["teams"][0]["quarantined"], serde_json::json!([]));
    // They are readers: Alice goes on as if none had been there.
    share(&alice, 2)?;
    assert_eq!(
        runner.run(&["pull", "orders"])?.ok()?["reference"],
        "orders:2"
    );
    Ok(())
}

#[test]
fn tokens_that_are_none_and_one_that_was_taken_back() -> Result<()> {
    let (alice, token) = alice_and_a_token()?;
    let mut typo = token.clone();
    typo.replace_range(30..31, if &token[30..31] == "a" { "b" } else { "a" });
    let ticket = alice.invite(&[])?;
    for wrong in [
        "hunter2",
        "",
        " ",
        &typo,
        &ticket,
        &token[..token.len() - 9],
    ] {
        let runner = Runner::new(wrong)?;
        let message = runner.run(&["pull", "orders"])?.failed(TICKET)?;
        ensure!(!message.contains(&token[12..40]), "it repeats the secret");
        nothing_is_left(&runner)?;
    }
    // A command that is no robot's says the same of an empty one.
    let joining = alice.run_with(&["team", "members"], &[("PODSYNC_TOKEN", "")], None)?;
    let message = joining.failed(TICKET)?;
    ensure!(message.contains("the token is empty"), "{message}");
    let runner = Runner::new(&token)?;
    let cache = runner.work().join("cache").to_string_lossy().into_owned();
    runner.run(&["pull", "orders", "--cache", &cache])?.ok()?;
    let other = runner.run(&["pull", "orders", "--team", "others"])?;
    other.failed(NOT_FOUND)?;
    alice.run(&["team", "remove", "ci", "--yes"])?.ok()?;
    let message = runner.run(&["pull", "orders"])?.failed(TICKET)?;
    ensure!(message.contains("removed"), "{message}");
    // What a cache remembers doesn't help.
    let cached = runner.run(&["pull", "orders", "--cache", &cache])?;
    cached.failed(TICKET)?;
    nothing_is_left(&runner)
}

#[test]
fn the_token_comes_from_stdin_too_and_with_a_warning_from_the_command_line() -> Result<()> {
    let (alice, token) = alice_and_a_token()?;
    let on_the_line = alice.run_with(
        &["pull", "orders", "--token", &token],
        &[("PODSYNC_MDNS", "false")],
        None,
    )?;
    ensure!(
        on_the_line.stderr.contains("on the command line"),
        "{on_the_line:?}"
    );
    on_the_line.ok()?;
    let piped = alice.run_with(
        &["pull", "orders", "--token", "-"],
        &[("PODSYNC_MDNS", "false")],
        Some(&token),
    )?;
    ensure!(!piped.stderr.contains("on the command line"), "{piped:?}");
    piped.ok()?;
    Ok(())
}

#[test]
fn nobody_there_is_told_and_a_signal_leaves_nothing() -> Result<()> {
    let (mut alice, token) = alice_and_a_token()?;
    let runner = Runner::new(&token)?;
    for signal in ["-TERM", "-INT"] {
        // It finds Alice and waits for a version that nobody has shared.
        let job = runner.spawn(&["pull", "later", "--wait", "300s"])?;
        let peers = || {
            alice
                .run(&["peers"])
                .and_then(podsync_tests::kit::Answer::ok)
        };
        while !peers()?.to_string().contains("\"connected\":true") {}
        let sent = Command::new("kill")
            .args([signal, &job.id().to_string()])
            .status()?;
        ensure!(sent.success(), "kill failed");
        let told = finish(job)?.failed(INTERRUPTED)?;
        ensure!(told.contains("--cache"), "{told}");
        nothing_is_left(&runner)?;
        while peers()?.to_string().contains("\"connected\":true") {}
    }
    alice.stop()?;
    let message = runner
        .run(&["pull", "orders", "--wait", "1s"])?
        .failed(UNREACHABLE)?;
    ensure!(message.contains("within 1 s"), "{message}");
    nothing_is_left(&runner)
}

#[test]
fn a_cache_keeps_packs_and_no_key() -> Result<()> {
    let (_alice, token) = alice_and_a_token()?;
    let runner = Runner::new(&token)?;
    let cache = runner.work().join("cache");
    let pull = ["pull", "orders", "--cache", &cache.to_string_lossy()];
    ensure!(runner.run(&pull)?.ok()?["fetched"].as_u64() >= Some(2 << 20));
    assert_eq!(runner.run(&pull)?.ok()?["fetched"], 0);
    // Carried to another machine, as CI systems do with caches.
    let carried = runner.work().join("carried");
    ensure!(
        Command::new("cp")
            .arg("-r")
            .args([&cache, &carried])
            .status()?
            .success()
    );
    let there = ["pull", "orders", "--cache", &carried.to_string_lossy()];
    assert_eq!(runner.run(&there)?.ok()?["fetched"], 0);
    // Several at once have a part of it each.
    let jobs = [runner.spawn(&pull)?, runner.spawn(&pull)?];
    for job in jobs {
        finish(job)?.ok()?;
    }
    nothing_is_left(&runner)?;
    let parts: Vec<_> = fs::read_dir(&cache)?.collect::<std::io::Result<_>>()?;
    for part in &parts {
        ensure!(!part.path().join("identity").exists(), "{:?}", part.path());
    }
    ensure!(size_of(&cache)? >= 2 << 20);
    Ok(())
}

#[test]
fn a_world_that_is_too_old_is_refused() -> Result<()> {
    let (mut alice, mut bob) = alice_and_bob()?;
    share(&alice, 1)?;
    let token = alice.token("ci")?;
    let runner = Runner::new(&token)?;
    runner.run(&["pull", "orders", "--max-age", "24h"])?.ok()?;
    let message = runner
        .run(&["pull", "orders", "--max-age", "0s", "--wait", "1s"])?
        .failed(STALE)?;
    ensure!(message.contains("allows 0 s"), "{message}");
    // Bob hears of Alice while she is there.
    bob.run(&["pull", "orders", "--max-age", "24h"])?.ok()?;
    let status = bob.run(&["status"])?.ok()?;
    ensure!(status["teams"][0]["heard_ms"].is_u64(), "{status}");
    let peers = bob.run(&["peers"])?.ok()?;
    ensure!(peers[0]["heard_ms"].is_u64(), "{peers}");
    // A daemon that has met nobody since it started knows of no statement, however old.
    alice.stop()?;
    bob.stop()?;
    bob.start(&[])?;
    let message = bob
        .run(&["pull", "orders", "--max-age", "24h", "--wait", "1s"])?
        .failed(STALE)?;
    ensure!(
        message.contains("no teammate's device has said what it knows"),
        "{message}"
    );
    bob.run(&["pull", "orders"])?.ok()?;
    Ok(())
}

/// As the sidecar of a compose file: a token, a volume for what was pulled, and files of the project.
#[test]
fn a_robots_hook_loads_at_each_start() -> Result<()> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    let file = |name: &str, seed: u8| {
        let path = alice.scratch(name);
        fs::write(&path, zip(&[Member::stored("s3/buckets", &[seed; 5000])]))?;
        anyhow::Ok(path.to_string_lossy().into_owned())
    };
    let orders = file("orders.zip", 1)?;
    alice
        .run(&["save", "orders", "--share", "--from", &orders])?
        .ok()?;
    let runner = Runner::new(&alice.token("ci")?)?;
    fs::copy(file("local.zip", 2)?, runner.work().join("local.snapshot"))?;

    let emulator = FakeEmulator::start(&[])?;
    let start = || {
        let arguments = [
            "run-hook",
            "ready",
            "--cache",
            "volume",
            "--endpoint",
            &emulator.endpoint(),
        ];
        let mut command = runner.command(&arguments)?;
        let output = command
            .env("PODSYNC_LOAD", "orders, ./local.snapshot")
            .output()?;
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&text).into_owned();
        ensure!(output.status.success(), "{text}");
        anyhow::Ok(text)
    };
    start()?;
    ensure!(emulator.posts().len() == 2, "{:?}", emulator.posts());
    // The same start: the volume knows what was loaded.
    let again = start()?;
    ensure!(emulator.posts().len() == 2, "{again}");
    emulator.on(
        "GET /_localstack/info",
        Conduct::Answer(200, br#"{"session_id":"another-run"}"#.to_vec()),
    );
    start()?;
    ensure!(emulator.posts().len() == 4, "{:?}", emulator.posts());
    nothing_is_left(&runner)
}

#[test]
fn what_is_locked_is_what_is_pulled() -> Result<()> {
    let (alice, token) = alice_and_a_token()?;
    let runner = Runner::new(&token)?;
    let locked = runner.run(&["lock", "orders:baseline"])?.ok()?;
    assert_eq!(locked[0][1]["reference"], "orders:1");
    let file = runner.work().join("podsync.lock");
    let text = fs::read_to_string(&file)?;
    let id = locked[0][1]["id"].as_str().context("no id")?;
    ensure!(
        text.contains(id) && text.contains("author = \"alice\""),
        "{text}"
    );
    share(&alice, 2)?;
    alice.run(&["tag", "orders", "baseline"])?.ok()?;
    assert_eq!(
        runner.run(&["pull", "orders:baseline"])?.ok()?["reference"],
        "orders:2"
    );
    for frozen in [
        &["pull", "orders:baseline", "--frozen", "--max-age", "24h"][..],
        &["pull", "--frozen"],
    ] {
        assert_eq!(runner.run(frozen)?.ok()?["version"], id, "{frozen:?}");
    }
    let out = runner.work().join("out");
    let to = out.to_string_lossy().into_owned();
    let export = ["export", "orders:baseline", &to, "--frozen"];
    assert_eq!(runner.run(&export)?.ok()?["reference"], "orders:1");
    // Without its own name in the file nothing is guessed.
    runner
        .run(&["export", "orders", "new", "--frozen"])?
        .failed(NOT_FOUND)?;
    ensure!(!runner.work().join("new").exists());
    let message = runner
        .run(&["pull", "orders", "--frozen"])?
        .failed(NOT_FOUND)?;
    ensure!(message.contains("does not contain"), "{message}");
    runner.run(&["lock", "orders"])?.ok()?;
    runner.run(&["pull", "--frozen"])?.failed(INVALID)?;
    assert_eq!(
        runner.run(&["pull", "orders", "--frozen"])?.ok()?["reference"],
        "orders:2"
    );
    // All of it anew, by name.
    let again = runner.run(&["lock"])?.ok()?;
    assert_eq!(again.as_array().map(Vec::len), Some(2));
    // The version was dropped: its lock stays the same, and no other version is used.
    fs::write(&file, &text)?;
    alice.run(&["drop", "orders:1"])?.ok()?;
    let message = runner
        .run(&["pull", "orders:baseline", "--frozen", "--wait", "1s"])?
        .failed(NOT_FOUND)?;
    ensure!(message.contains("dropped"), "{message}");
    nothing_is_left(&runner)
}

#[test]
fn lock_files_that_are_none_are_refused_and_kept() -> Result<()> {
    let (_alice, token) = alice_and_a_token()?;
    let runner = Runner::new(&token)?;
    let file = runner.work().join("podsync.lock");
    runner
        .run(&["pull", "orders", "--frozen"])?
        .failed(NOT_FOUND)?;
    runner.run(&["lock"])?.failed(INVALID)?;
    runner.run(&["lock", "orders:+1"])?.failed(INVALID)?;
    runner.run(&["lock", "orders"])?.ok()?;
    let good = fs::read_to_string(&file)?;
    let block = &good[good.find("[[locked]]").context("no block")?..];
    let huge = format!("{good}# {}", "x".repeat(2 << 20));
    for (text, says) in [
        (good.replace("version = 1", "version = 7"), "newer podsync"),
        (format!("{good}\n{block}"), "twice"),
        ("\u{0}garbage".to_owned(), "not a podsync lock file"),
        (huge, "larger than"),
    ] {
        fs::write(&file, &text)?;
        for command in [&["pull", "orders", "--frozen"][..], &["lock", "orders"]] {
            let message = runner.run(command)?.failed(INVALID)?;
            ensure!(message.contains(says), "{message}");
        }
        ensure!(fs::read_to_string(&file)? == text, "it was overwritten");
    }
    // Another team's.
    let mut mallory = Home::new("mallory")?;
    mallory.found("others")?;
    mallory.start(&[])?;
    share(&mallory, 9)?;
    let theirs = Runner::new(&mallory.token("ci")?)?;
    fs::write(theirs.work().join("podsync.lock"), &good)?;
    theirs
        .run(&["pull", "orders", "--frozen", "--wait", "1s"])?
        .failed(NOT_FOUND)?;
    let message = theirs.run(&["lock", "orders"])?.failed(INVALID)?;
    ensure!(message.contains("another team"), "{message}");
    Ok(())
}

//! Commands for the local daemon: a pause, settings, its log.

use anyhow::{Context, Result, ensure};
use podsync_tests::kit::{FakeEmulator, Home, Member, fill, finish, zip};

use crate::share::alice_and_bob;

const INVALID: i32 = 2;
const UNREACHABLE: i32 = 7;
const MIB: usize = 1 << 20;

#[test]
fn nothing_moves_while_a_device_is_paused() -> Result<()> {
    let (mut alice, bob) = alice_and_bob()?;
    let state = alice.scratch("state");
    fill(&state, 2, MIB, 1)?;
    let from = state.to_string_lossy().into_owned();
    alice
        .run(&["save", "orders", "--share", "--from", &from])?
        .ok()?;

    let paused = alice.run(&["pause"])?.ok()?;
    ensure!(paused["until_ms"].is_null(), "{paused}");
    // Shared versions are still announced.
    bob.run(&["pull", "orders:1", "--wait", "1s"])?
        .failed(UNREACHABLE)?;
    alice.stop()?;
    alice.start(&[&bob])?;
    let status = alice.run(&["status"])?.ok()?;
    ensure!(
        status["paused"].is_object(),
        "a restart is no end: {status}"
    );
    let resumed = alice.run(&["resume"])?.ok()?;
    assert_eq!(resumed["was_paused"], true);
    bob.run(&["pull", "orders:1"])?.ok()?;

    fill(&state, 2, MIB, 2)?;
    alice
        .run(&["save", "orders", "--share", "--from", &from])?
        .ok()?;
    bob.run(&["pause", "--for", "8s"])?.ok()?;
    let message = bob.run(&["pull", "orders:2"])?.failed(UNREACHABLE)?;
    ensure!(message.contains("podsync resume"), "{message}");
    // It ends by itself.
    while bob.run(&["status"])?.ok()?["paused"].is_object() {}
    bob.run(&["pull", "orders:2"])?.ok()?;
    Ok(())
}

/// Two alone can't know which clock is wrong, so both are told what each says.
#[test]
fn clocks_that_are_days_apart_are_told_and_nobody_is_accused() -> Result<()> {
    for seconds in ["-90000", "172800"] {
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
            &[("PODSYNC_TEST_CLOCK_S", seconds)],
        )?;
        let is_off = || -> Result<bool> {
            let status = bob.run(&["status"])?.ok()?;
            let ahead_s = status["teams"][0]["clocks"][0]["ahead_s"].as_i64();
            Ok(ahead_s.is_some_and(|ahead_s| ahead_s.unsigned_abs() > 24 * 60 * 60))
        };
        while !is_off()? {}
        let state = bob.scratch("state");
        fill(&state, 1, 1000, 1)?;
        let from = state.to_string_lossy().into_owned();
        let saved = bob.run(&["save", "orders", "--from", &from])?.ok()?;
        let shared = bob.run(&["share", "orders"])?.ok()?;
        for warnings in [&saved["warnings"], &shared["warnings"]] {
            let told = warnings.to_string();
            ensure!(told.contains("alice/"), "{seconds}: {told}");
            ensure!(told.contains("'s clock says "), "{seconds}: {told}");
        }
        for home in [&alice, &bob] {
            let told = home.typed(&["doctor"])?.output()?;
            let told = String::from_utf8_lossy(&told.stdout).into_owned();
            let clock = told.lines().find(|line| line.contains(" clock "));
            let clock = clock.with_context(|| told.clone())?;
            ensure!(!clock.starts_with("FAILED"), "{seconds}: {told}");
        }
    }
    Ok(())
}

#[test]
fn settings_are_changed_by_command_and_their_comments_stay() -> Result<()> {
    let home = Home::new("alice")?;
    let file = home.path().join("config.toml");
    std::fs::write(&file, "# mine\nmdns = false # at work\n")?;
    let message = home
        .run(&["config", "set", "disk_budgt", "1GB"])?
        .failed(INVALID)?;
    ensure!(message.contains("did you mean disk_budget?"), "{message}");
    home.run(&["config", "set", "disk_budget", "much"])?
        .failed(INVALID)?;
    home.run(&["config", "set", "peers", "/ip4/1.2.3.4"])?
        .failed(INVALID)?;
    home.run(&["config", "set", "limit_up", "5MB/s"])?.ok()?;
    home.run(&["config", "set", "mdns", "true"])?.ok()?;
    home.run(&["config", "set", "auto_share", "orders", "billing"])?
        .ok()?;
    let text = std::fs::read_to_string(&file)?;
    ensure!(
        text.starts_with("# mine\nmdns = true # at work\n"),
        "{text}"
    );
    assert_eq!(home.run(&["config", "get", "limit_up"])?.ok()?, "5MB/s");
    let shared = home.run(&["config", "get", "auto_share"])?.ok()?;
    assert_eq!(shared, serde_json::json!(["billing", "orders"]));
    home.run(&["config", "unset", "mdns"])?.ok()?;
    let text = std::fs::read_to_string(&file)?;
    ensure!(
        text.starts_with("# mine\n") && !text.contains("mdns"),
        "{text}"
    );
    Ok(())
}

#[test]
fn settings_that_are_changed_at_once_are_all_kept_behind_a_link() -> Result<()> {
    let home = Home::new("alice")?;
    let (link, file) = (home.path().join("config.toml"), home.scratch("dotfile"));
    std::fs::write(&file, "# mine\n")?;
    std::os::unix::fs::symlink(&file, &link)?;
    let settings = [
        ["mdns", "false"],
        ["notify", "false"],
        ["auto_share", "orders"],
        ["auto_restore", "orders"],
        ["disk_budget", "20GB"],
        ["min_free", "1GB"],
        ["limit_up", "5MB/s"],
        ["limit_down", "5MB/s"],
    ];
    let started = settings.map(|[key, value]| home.spawn(&["config", "set", key, value], &[]));
    for child in started {
        finish(child?)?.ok()?;
    }
    let text = std::fs::read_to_string(&file)?;
    ensure!(text.starts_with("# mine\n"), "{text}");
    for [key, _] in settings {
        ensure!(text.contains(&format!("{key} = ")), "{key} is lost: {text}");
    }
    ensure!(link.is_symlink(), "the link was replaced");
    Ok(())
}

#[test]
fn a_change_of_settings_says_what_it_does() -> Result<()> {
    let home = Home::new("alice")?;
    let say = |arguments: &[&str]| -> Result<(String, String)> {
        let mut command = home.typed(arguments)?;
        let output = command.env("PODSYNC_LIMIT_UP", "1MB/s").output()?;
        ensure!(output.status.success(), "{output:?}");
        Ok((
            String::from_utf8(output.stdout)?,
            String::from_utf8(output.stderr)?,
        ))
    };
    let (said, warned) = say(&["config", "set", "limit_up", "5MB/s"])?;
    ensure!(said.starts_with("Changed"), "{said}");
    ensure!(warned.contains("PODSYNC_LIMIT_UP is set"), "{warned}");
    let (said, warned) = say(&["config", "unset", "mdns"])?;
    ensure!(said.starts_with("Nothing to change"), "{said}");
    ensure!(warned.is_empty(), "{warned}");
    Ok(())
}

#[test]
fn a_daemon_keeps_its_own_log_and_shows_it() -> Result<()> {
    let mut home = Home::new("alice")?;
    home.start_with(
        &[
            "daemon",
            "--listen",
            "127.0.0.1:0",
            "--no-mdns",
            "--log-file",
        ],
        &[],
    )?;
    home.run(&["pause"])?.ok()?;
    home.run(&["resume"])?.ok()?;
    let output = home.typed(&["logs", "--since", "1h"])?.output()?;
    let said = String::from_utf8(output.stdout)?;
    let shown = said.lines().find(|line| line.contains("paused"));
    shown.with_context(|| format!("the log lacks the pause: {said}"))?;
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(home.path().join("daemon.log"))?.permissions(),
    );
    assert_eq!(mode & 0o777, 0o600);
    Ok(())
}

#[test]
fn a_daemon_that_cannot_start_says_why_in_its_log() -> Result<()> {
    let home = Home::new("alice")?;
    for (variable, value) in [("PODSYNC_LISTEN", "nonsense"), ("PODSYNC_LOG", "%%%")] {
        home.run_with(&["daemon", "--log-file"], &[(variable, value)], None)?
            .failed(INVALID)?;
        let log = std::fs::read_to_string(home.path().join("daemon.log"))?;
        let last = log.rsplit("ERROR").next().unwrap_or_default();
        ensure!(last.contains("the daemon cannot start"), "{log}");
        ensure!(last.contains(variable) && last.contains(value), "{log}");
    }
    let other = Home::uninitialised("bob")?;
    std::fs::create_dir(other.path())?;
    std::fs::write(other.path().join("notes"), "not a home's")?;
    other.run(&["daemon", "--log-file"])?.failed(INVALID)?;
    ensure!(!other.path().join("daemon.log").exists());
    Ok(())
}

/// The completions that a shell gets through its script.
fn offered(home: &Home, words: &[&str]) -> Result<Vec<String>> {
    let index = words.len() - 1;
    let output = std::process::Command::new(podsync_tests::kit::binary()?)
        .arg("--")
        .args(words)
        .env("PODSYNC_COMPLETE", "bash")
        .env("_CLAP_COMPLETE_INDEX", index.to_string())
        .env("_CLAP_IFS", "\n")
        .env("PODSYNC_HOME", home.path())
        .env_remove("PODSYNC_TEAM")
        .output()?;
    ensure!(output.status.success(), "{output:?}");
    let offered = String::from_utf8(output.stdout)?;
    Ok(offered.lines().map(str::to_owned).collect())
}

#[test]
fn a_shell_is_offered_names_by_a_daemon_that_runs() -> Result<()> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    let state = alice.scratch("state");
    fill(&state, 1, 1000, 1)?;
    let from = state.to_string_lossy().into_owned();
    alice
        .run(&["save", "orders", "--share", "--from", &from])?
        .ok()?;
    alice.run(&["tag", "orders:1", "baseline"])?.ok()?;
    // No key press starts a daemon.
    ensure!(offered(&alice, &["podsync", "load", "or"])?.is_empty());
    ensure!(!alice.path().join("run/podsync.sock").exists());
    alice.start(&[])?;
    assert_eq!(offered(&alice, &["podsync", "load", "or"])?, ["orders"]);
    assert_eq!(
        offered(&alice, &["podsync", "load", "orders:"])?,
        ["orders:baseline", "orders:1"]
    );
    assert_eq!(offered(&alice, &["podsync", "versions", "o"])?, ["orders"]);
    assert_eq!(
        offered(&alice, &["podsync", "team", "remove", "a"])?,
        ["alice"]
    );
    assert_eq!(
        offered(&alice, &["podsync", "--team", "pay"])?,
        ["payments"]
    );
    fill(&state, 1, 1000, 2)?;
    alice
        .run(&["save", "orders", "--share", "--from", &from])?
        .ok()?;
    for (line, what) in [
        ("tag orders:2 b", "baseline"),
        ("diff orders:1 orders:2", "orders:2"),
        ("diff orders:b", "orders:baseline"),
        ("verify orders:b", "orders:baseline"),
        ("watch o", "orders"),
        ("follow o", "orders"),
        ("unfollow o", "orders"),
        ("autosave o", "orders"),
        ("restore o", "orders"),
        ("config unset limit_u", "limit_up"),
    ] {
        let words: Vec<_> = ["podsync"].into_iter().chain(line.split(' ')).collect();
        assert_eq!(offered(&alice, &words)?, [what], "{line}");
    }
    Ok(())
}

#[test]
fn prometheus_reads_how_the_daemon_is() -> Result<()> {
    use std::io::{Read, Write};

    let (alice, bob) = alice_and_bob()?;
    let state = alice.scratch("state");
    fill(&state, 2, MIB, 1)?;
    let from = state.to_string_lossy().into_owned();
    alice
        .run(&["save", "orders", "--share", "--from", &from])?
        .ok()?;
    bob.run(&["pull", "orders"])?.ok()?;
    let mut socket = std::os::unix::net::UnixStream::connect(bob.path().join("run/podsync.sock"))?;
    socket.write_all(b"GET /metrics HTTP/1.1\r\nhost: podsync\r\nconnection: close\r\n\r\n")?;
    let mut text = String::new();
    socket.read_to_string(&mut text)?;
    let value = |name: &str| -> Result<f64> {
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        Ok(line.context(format!("no {name}: {text}"))?.trim().parse()?)
    };
    ensure!(value("podsync_transferred_bytes_total{direction=\"received\"}")? > 2e6);
    ensure!(value("podsync_held_bytes")? > 2e6);
    assert_eq!(value("podsync_team_members{team=\"payments\"}")?, 2.0);
    assert_eq!(
        value("podsync_calls_total{call=\"pull\",outcome=\"ok\"}")?,
        1.0
    );

    let usage = bob.run(&["du"])?.ok()?;
    assert_eq!(usage["pods"][0]["pod"], "orders");
    ensure!(
        usage["pods"][0]["own"].as_u64() > Some(2 * MIB as u64),
        "{usage}"
    );
    bob.run(&["du", "billing"])?.failed(3)?;
    Ok(())
}

#[test]
fn the_bare_command_says_what_is_new_and_what_to_do() -> Result<()> {
    let (alice, bob) = alice_and_bob()?;
    let state = alice.scratch("state");
    fill(&state, 1, 1000, 1)?;
    let from = state.to_string_lossy().into_owned();
    alice
        .run(&["save", "orders", "--share", "--from", &from])?
        .ok()?;
    bob.run(&["pull", "orders"])?.ok()?;
    let seen = bob.run(&[])?.ok()?;
    assert_eq!(seen["teams"][0]["new"][0]["reference"], "orders:1");
    // A folder's state fits no emulator.
    assert_eq!(seen["next"], "`podsync export orders:1 FOLDER`");
    let emulator = FakeEmulator::start(&zip(&[Member::stored("s3/buckets", b"one")]))?;
    let endpoint = emulator.endpoint();
    alice
        .run(&["save", "world", "--share", "--endpoint", &endpoint])?
        .ok()?;
    bob.run(&["pull", "world"])?.ok()?;
    let seen = bob.run(&[])?.ok()?;
    assert_eq!(seen["next"], "`podsync load world:1`");
    let again = bob.run(&[])?.ok()?;
    assert_eq!(again["teams"][0]["new"], serde_json::json!([]), "{again}");
    let newcomer = Home::uninitialised("carol")?;
    let seen = newcomer.run(&[])?.ok()?;
    ensure!(
        seen["next"]
            .as_str()
            .is_some_and(|next| next.contains("team join")),
        "{seen}"
    );
    ensure!(!newcomer.path().exists(), "a look makes nothing");
    Ok(())
}

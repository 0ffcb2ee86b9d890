//! Bad input: exit code, message, and nothing lost.

use std::{fs, path::Path, process::Command};

use anyhow::{Result, ensure};
use podsync_tests::kit::{Home, fill, finish, same_tree};
use serde_json::json;

use crate::share::alice_and_bob;

const INVALID: i32 = 2;
const UNCONFIRMED: i32 = 15;
const NOT_FOUND: i32 = 3;
const AMBIGUOUS: i32 = 4;
const DISK: i32 = 10;
const UNREACHABLE: i32 = 7;

#[test]
fn an_unknown_pod_is_told_with_a_suggestion() -> Result<()> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    let state = alice.scratch("state");
    fill(&state, 1, 1000, 1)?;
    alice
        .run(&["save", "orders", "--from", &state.to_string_lossy()])?
        .ok()?;
    let answer = alice.run(&["show", "ordrs"])?;
    assert_eq!(
        answer.json["error"]["hint"], "did you mean orders?",
        "{answer:?}"
    );
    answer.failed(NOT_FOUND)?;
    for command in [&["du", "ordrs"][..], &["restore", "ordrs"]] {
        let told = alice.run(command)?.failed(NOT_FOUND)?;
        assert!(told.contains("did you mean orders?"), "{command:?}: {told}");
    }
    alice.run(&["show", "orders:7"])?.failed(NOT_FOUND)?;
    alice.run(&["versions", "nothing"])?.failed(NOT_FOUND)?;
    Ok(())
}

#[test]
fn hostile_names_are_refused() -> Result<()> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    let long = "x".repeat(300);
    for name in ["a/b", "..", "", long.as_str(), "a b", "-x"] {
        let answer = alice.run(&["save", "--from", "/etc/hostname", "--", name])?;
        assert_eq!(answer.code, Some(INVALID), "{name:?}: {answer:?}");
    }
    Ok(())
}

#[test]
fn no_home_and_no_team_say_what_to_do() -> Result<()> {
    let alice = Home::new("alice")?;
    let answer = alice.run(&["list"])?;
    assert!(
        answer.json["error"]["hint"]
            .as_str()
            .is_some_and(|hint| hint.contains("team create")),
        "{answer:?}"
    );
    answer.failed(NOT_FOUND)?;
    Ok(())
}

/// The command line can't carry a NUL, a client of its own can: the daemon checks for itself.
#[test]
fn hostile_names_are_refused_by_the_control_api_too() -> Result<()> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    let long = "x".repeat(300);
    for name in [
        "a/b",
        "..",
        "nul\0",
        long.as_str(),
        ".hidden",
        "\u{202e}sredro",
    ] {
        let calls = [
            ("versions", json!({ "pod": name })),
            ("tag", json!({ "reference": "orders", "tag": name })),
            ("show", json!({ "reference": name, "contents": false })),
            (
                "save",
                json!({ "pod": name, "message": "", "from": { "path": "/etc/hostname" },
                        "services": [], "share": false }),
            ),
        ];
        for (path, call) in calls {
            let (status, answer) = alice.post(&format!("teams/-/{path}"), &call)?;
            // A dot begins a path, and no path is a pod.
            ensure!(
                (400..500).contains(&status) && answer["hint"].is_string(),
                "{path} of {name:?}: {status} {answer}"
            );
        }
    }
    let (status, answer) = alice.post("teams/no%2Fteam/pods", &json!({}))?;
    ensure!(status == 404, "{status} {answer}");
    let (status, answer) = alice.post("teams/-/pods", &json!("x".repeat(100_000)))?;
    ensure!(
        status == 400 && answer["hint"].is_string(),
        "{status} {answer}"
    );
    // As much as docs/control-api.md allows, and a byte more.
    let (status, _) = alice.post("status", &json!({ "later": "x".repeat((1 << 20) - 12) }))?;
    ensure!(status == 200, "{status}");
    let (status, answer) = alice.post("status", &json!({ "later": "x".repeat((1 << 20) - 11) }))?;
    ensure!(
        status == 400 && answer["code"] == "invalid",
        "{status} {answer}"
    );
    let text = answer["message"].as_str().unwrap_or_default();
    ensure!(text.contains("more than 1048576 bytes"), "{answer}");
    let pods = alice.run(&["list"])?.ok()?;
    ensure!(pods.as_array().is_some_and(Vec::is_empty), "{pods}");
    Ok(())
}

#[test]
fn versions_made_apart_are_both_kept_and_told_apart() -> Result<()> {
    let (mut alice, mut bob) = alice_and_bob()?;
    let (his, hers) = (bob.scratch("state"), alice.scratch("state"));
    fill(&hers, 1, 10_000, 1)?;
    fill(&his, 1, 10_000, 2)?;
    // Neither daemon hears of the other while it shares.
    bob.stop()?;
    alice
        .run(&[
            "save",
            "orders",
            "--share",
            "--from",
            &hers.to_string_lossy(),
        ])?
        .ok()?;
    alice.stop()?;
    bob.run(&[
        "save",
        "orders",
        "--share",
        "--from",
        &his.to_string_lossy(),
    ])?
    .ok()?;
    alice.start(&[])?;
    bob.start(&[&alice])?;
    let pulled = alice.run(&["pull", "orders:1@bob"])?.ok()?;
    assert_eq!(pulled["author"], "bob");
    let told = alice.run(&["show", "orders:1@alise"])?.failed(NOT_FOUND)?;
    assert!(told.contains("there is orders:1@alice"), "{told}");
    let message = alice.run(&["pull", "orders"])?.failed(AMBIGUOUS)?;
    assert!(
        message.contains("orders:1@alice") && message.contains("orders:1@bob"),
        "{message}"
    );
    // The next version has both as parents: the fork is healed.
    fill(&hers, 1, 10_000, 3)?;
    let healed = alice
        .run(&[
            "save",
            "orders",
            "--share",
            "--from",
            &hers.to_string_lossy(),
        ])?
        .ok()?;
    assert_eq!(healed["shared"]["reference"], "orders:2");
    alice.run(&["pull", "orders"])?.ok()?;
    Ok(())
}

#[test]
fn nobody_who_holds_it_is_not_a_hang() -> Result<()> {
    let (mut alice, bob) = alice_and_bob()?;
    let state = alice.scratch("state");
    fill(&state, 1, 10_000, 1)?;
    alice
        .run(&[
            "save",
            "orders",
            "--share",
            "--from",
            &state.to_string_lossy(),
        ])?
        .ok()?;
    // Bob has heard of it before alice goes.
    bob.run(&["pull", "orders", "--wait", "10s"])?.ok()?;
    fill(&state, 1, 10_000, 2)?;
    alice
        .run(&[
            "save",
            "orders",
            "--share",
            "--from",
            &state.to_string_lossy(),
        ])?
        .ok()?;
    let heard = (0..2000).any(|_| {
        bob.run(&["show", "orders:2"])
            .is_ok_and(|answer| answer.code == Some(0))
    });
    assert!(heard, "bob never heard of orders:2");
    alice.stop()?;
    bob.run(&["pull", "orders:2", "--wait", "1s"])?
        .failed(UNREACHABLE)?;
    bob.run(&["export", "orders:1", &bob.scratch("out").to_string_lossy()])?
        .ok()?;
    Ok(())
}

#[test]
fn flipped_bytes_on_disk_are_noticed() -> Result<()> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    let state = alice.scratch("state");
    fill(&state, 1, 3_000_000, 1)?;
    alice
        .run(&["save", "orders", "--from", &state.to_string_lossy()])?
        .ok()?;
    for pack in fs::read_dir(alice.path().join("packs"))? {
        let path = pack?.path();
        let mut bytes = fs::read(&path)?;
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(&path, bytes)?;
    }
    let out = alice.scratch("out");
    let answer = alice.run(&["export", "orders", &out.to_string_lossy()])?;
    assert_eq!(answer.code, Some(DISK), "{answer:?}");
    assert!(!out.exists(), "half a state was left behind");
    Ok(())
}

#[test]
fn two_saves_of_one_pod_at_once_are_two_versions() -> Result<()> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    let (one, two) = (alice.scratch("one"), alice.scratch("two"));
    fill(&one, 4, 1 << 20, 1)?;
    fill(&two, 4, 1 << 20, 2)?;
    let first = alice.spawn(&["save", "orders", "--from", &one.to_string_lossy()], &[])?;
    let second = alice.spawn(&["save", "orders", "--from", &two.to_string_lossy()], &[])?;
    let mut references: Vec<_> = [first, second]
        .into_iter()
        .map(|child| Ok(finish(child)?.ok()?["reference"].to_string()))
        .collect::<Result<_>>()?;
    references.sort();
    assert_eq!(references, ["\"orders:+1\"", "\"orders:+2\""]);
    Ok(())
}

#[test]
fn what_is_there_is_never_overwritten_by_an_export() -> Result<()> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    let state = alice.scratch("state");
    fill(&state, 2, 1000, 1)?;
    alice
        .run(&["save", "orders", "--from", &state.to_string_lossy()])?
        .ok()?;
    alice
        .run(&["export", "orders", &state.to_string_lossy()])?
        .failed(INVALID)?;
    let out = alice.scratch("orders.snapshot");
    alice
        .run(&["export", "orders", &out.to_string_lossy()])?
        .ok()?;
    alice
        .run(&["export", "orders", &out.to_string_lossy()])?
        .failed(INVALID)?;
    // The exported zip is a state as well: saved and exported, it is the same files.
    alice
        .run(&["save", "again", "--from", &out.to_string_lossy()])?
        .ok()?;
    let tree = alice.scratch("tree");
    alice
        .run(&["export", "again", &tree.to_string_lossy()])?
        .ok()?;
    same_tree(&state, &tree)
}

#[test]
fn a_home_that_was_copied_refuses_to_run() -> Result<()> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    let copy = Home::new("copy")?;
    fs::remove_dir_all(copy.path())?;
    copy_tree(&alice.path(), &copy.path())?;
    let answer = copy.run(&["list"])?;
    let message = answer.failed(INVALID)?;
    assert!(message.contains("podsync init --moved"), "{message}");
    alice.run(&["list"])?.ok()?;

    let message = copy.run(&["init", "--moved"])?.failed(UNCONFIRMED)?;
    assert!(message.contains("--yes"), "{message}");
    copy.run(&["list"])?.failed(INVALID)?;
    let moved = copy.run(&["init", "--moved", "--yes"])?.ok()?;
    assert_eq!(moved["device"], alice.run(&["status"])?.ok()?["device"]);
    copy.run(&["list"])?.ok()?;
    Ok(())
}

#[test]
fn a_folder_without_a_key_is_no_moved_home() -> Result<()> {
    let home = Home::new("alice")?;
    fs::remove_dir_all(home.path())?;
    home.run(&["init", "--moved", "--yes"])?.failed(NOT_FOUND)?;
    assert!(!home.path().exists());
    Ok(())
}

/// What it published after the backup was taken comes back from teammates, and its feed goes on from
/// there instead of forking.
#[test]
fn a_home_that_was_restored_from_a_backup_goes_on_where_its_feed_ends() -> Result<()> {
    let (mut alice, bob) = alice_and_bob()?;
    let state = alice.scratch("state");
    let share = |alice: &Home, seed| -> Result<String> {
        fill(&state, 2, 100_000, seed)?;
        let saved = alice.run(&[
            "save",
            "orders",
            "--share",
            "--from",
            &state.to_string_lossy(),
        ])?;
        let saved = saved.ok()?;
        Ok(saved["shared"]["reference"]
            .as_str()
            .unwrap_or_default()
            .to_owned())
    };
    share(&alice, 1)?;
    alice.stop()?;
    let backup = alice.scratch("backup");
    copy_tree(&alice.path(), &backup)?;
    alice.start(&[&bob])?;
    let second = share(&alice, 2)?;
    bob.run(&["pull", &second])?.ok()?;
    alice.stop()?;
    for entry in fs::read_dir(alice.path())? {
        let path = entry?.path();
        if path.is_dir() {
            fs::remove_dir_all(path)?;
        } else {
            fs::remove_file(path)?;
        }
    }
    copy_tree(&backup.join("."), &alice.path())?;

    alice.start(&[&bob])?;
    alice.run(&["pull", &second])?.ok()?;
    let third = share(&alice, 3)?;
    assert_ne!(second, third);
    bob.run(&["pull", &third])?.ok()?;
    let status = bob.run(&["status"])?.ok()?;
    let quarantined = status["teams"][0]["quarantined"].as_array();
    assert!(quarantined.is_some_and(Vec::is_empty), "{status}");
    Ok(())
}

fn copy_tree(from: &Path, to: &Path) -> Result<()> {
    let copied = Command::new("cp").arg("-a").arg(from).arg(to).status()?;
    assert!(copied.success());
    Ok(())
}

//! What stays on a machine: the budget, pins, only copies; and whether stored data is intact.

use std::{fs, path::Path};

use anyhow::{Context, Result, ensure};
use podsync_tests::kit::{Home, fill, finish, same_tree};
use serde_json::Value;

use crate::share::alice_and_bob;

const DISK: i32 = 10;
const INVALID: i32 = 2;
const NOT_FOUND: i32 = 3;
const BUSY: i32 = 11;
const UNCONFIRMED: i32 = 15;
const MIB: usize = 1 << 20;

/// Saves a state of 2 MiB that no other seed gives.
fn save(home: &Home, seed: u64, flags: &[&str]) -> Result<()> {
    let state = home.scratch(&format!("state-{seed}"));
    fill(&state, 2, MIB, seed)?;
    let from = state.to_string_lossy().into_owned();
    home.run(&[&["save", "orders", "--from", &from], flags].concat())?
        .ok()
        .map(drop)
}

/// Both have three shared versions, and `upper` is the one with the higher device id.
fn both_hold_three() -> Result<(Home, Home)> {
    let (alice, bob) = alice_and_bob()?;
    for seed in 1..=3 {
        save(&alice, seed, &["--share"])?;
        bob.run(&["pull", &format!("orders:{seed}")])?.ok()?;
    }
    // Ids are compared as bytes, but their text sorts differently: ask the devices which one gives up.
    let alice_gives_up = alice.run(&["gc", "--dry-run", "--budget", "0"])?.ok()?;
    if evicted(&alice_gives_up).is_empty() {
        Ok((alice, bob))
    } else {
        Ok((bob, alice))
    }
}

fn evicted(collected: &Value) -> Vec<String> {
    let evicted = collected["evicted"].as_array().into_iter().flatten();
    evicted
        .filter_map(|version| version["reference"].as_str().map(str::to_owned))
        .collect()
}

fn held(home: &Home) -> Result<Vec<String>> {
    let versions = home.run(&["versions", "orders"])?.ok()?;
    let held = versions.as_array().into_iter().flatten();
    Ok(held
        .filter(|version| version["held"] == true)
        .filter_map(|version| version["reference"].as_str().map(str::to_owned))
        .collect())
}

#[test]
fn the_longest_unused_leave_and_come_back() -> Result<()> {
    let (lower, upper) = both_hold_three()?;
    // Used just now: it is the last to go.
    upper.run(&["pull", "orders:1"])?.ok()?;
    upper.run(&["pin", "orders:2"])?.ok()?;
    let foreseen = upper.run(&["gc", "--dry-run", "--budget", "5MB"])?.ok()?;
    assert_eq!(evicted(&foreseen), ["orders:3"]);
    assert_eq!(held(&upper)?.len(), 3);
    let collected = upper.run(&["gc", "--budget", "5MB"])?.ok()?;
    assert_eq!(evicted(&collected), ["orders:3"]);
    ensure!(
        collected["freed"].as_u64() >= Some(2 * MIB as u64),
        "{collected}"
    );
    assert_eq!(held(&upper)?, ["orders:1", "orders:2"]);
    let collected = upper.run(&["gc", "--budget", "0"])?.ok()?;
    assert_eq!(evicted(&collected), ["orders:1"]);
    assert_eq!(collected["pinned"], 1);
    assert_eq!(held(&upper)?, ["orders:2"]);
    upper.run(&["unpin", "orders:2"])?.ok()?;
    upper.run(&["gc", "--budget", "0"])?.ok()?;
    assert_eq!(held(&upper)?, Vec::<String>::new());
    // Nothing was lost.
    let pulled = upper.run(&["pull", "orders:3"])?.ok()?;
    ensure!(
        pulled["fetched"].as_u64() >= Some(2 * MIB as u64),
        "{pulled}"
    );
    // Of two holders of the same data, the one with the lower id keeps it.
    let collected = lower.run(&["gc", "--budget", "0"])?;
    ensure!(collected.code == Some(UNCONFIRMED), "{collected:?}");
    ensure!(
        collected.stderr.contains("because this machine has it"),
        "{collected:?}"
    );
    assert_eq!(held(&lower)?.len(), 3);
    upper.run(&["gc", "--budget", "lots"])?.failed(INVALID)?;
    Ok(())
}

#[test]
fn an_only_copy_stays_until_somebody_says_so() -> Result<()> {
    let (mut lower, upper) = both_hold_three()?;
    save(&upper, 9, &[])?;
    lower.stop()?;
    let kept = upper.run(&["gc", "--budget", "0"])?;
    ensure!(kept.code == Some(UNCONFIRMED), "{kept:?}");
    ensure!(kept.stderr.contains("--only-copies"), "{kept:?}");
    assert_eq!(kept.json["only_copies"].as_array().map(Vec::len), Some(4));
    assert_eq!(held(&upper)?.len(), 4);
    upper.run(&["gc", "--budget", "0", "--only-copies"])?.ok()?;
    assert_eq!(held(&upper)?, Vec::<String>::new());
    // Nobody else ever had the private one: it isn't listed as if it could be had.
    upper.run(&["show", "orders:+1"])?.failed(NOT_FOUND)?;
    Ok(())
}

#[test]
fn the_budget_of_the_settings_is_kept_after_a_pull() -> Result<()> {
    let (mut lower, mut upper) = both_hold_three()?;
    upper.stop()?;
    let address = lower.address()?;
    upper.start_with(
        &[
            "daemon",
            "--listen",
            "127.0.0.1:0",
            "--no-mdns",
            "--peer",
            &address,
        ],
        &[("PODSYNC_DISK_BUDGET", "3MB")],
    )?;
    save(&lower, 4, &["--share"])?;
    upper.run(&["pull", "orders:4"])?.ok()?;
    while held(&upper)? != ["orders:4"] {}
    lower.stop()?;
    Ok(())
}

#[test]
fn a_version_above_the_budget_is_read_whole_before_it_leaves() -> Result<()> {
    let (lower, mut upper) = both_hold_three()?;
    upper.stop()?;
    let address = lower.address()?;
    upper.start_with(
        &[
            "daemon",
            "--listen",
            "127.0.0.1:0",
            "--no-mdns",
            "--peer",
            &address,
        ],
        &[("PODSYNC_DISK_BUDGET", "1MB")],
    )?;
    for seed in 1..=3 {
        let expected = upper.scratch(&format!("expected-{seed}"));
        fill(&expected, 2, MIB, seed)?;
        let out = upper.scratch(&format!("out-{seed}"));
        let version = format!("orders:{seed}");
        // Another command gives it up while it is read.
        let reading = upper.spawn(&["export", &version, &out.to_string_lossy()], &[])?;
        upper.run(&["gc", "--budget", "0"])?;
        let read = finish(reading)?;
        if read.code == Some(BUSY) {
            // It was given up just before.
            upper
                .run(&["export", &version, &out.to_string_lossy()])?
                .ok()?;
        } else {
            read.ok()?;
        }
        same_tree(&expected, &out)?;
    }
    while !held(&upper)?.is_empty() {}
    Ok(())
}

/// Flips a byte in the middle of every pack file of a home.
fn spoil(home: &Path) -> Result<usize> {
    let mut spoiled = 0;
    let mut folders = vec![home.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.metadata()?.len() > MIB as u64
                && path
                    .extension()
                    .is_none_or(|kind| kind != "redb" && kind != "db")
            {
                let mut bytes = fs::read(&path)?;
                let middle = bytes.len() / 2;
                bytes[middle] ^= 1;
                fs::write(&path, bytes)?;
                spoiled += 1;
            }
        }
    }
    Ok(spoiled)
}

#[test]
fn damage_is_found_named_and_mended() -> Result<()> {
    let (mut alice, bob) = alice_and_bob()?;
    save(&alice, 1, &["--share"])?;
    bob.run(&["pull", "orders"])?.ok()?;
    let sound = bob.run(&["verify"])?.ok()?;
    assert_eq!(sound["broken"], serde_json::json!([]));
    ensure!(sound["bytes"].as_u64() >= Some(2 * MIB as u64), "{sound}");
    ensure!(spoil(&bob.path())? > 0, "no pack was found");

    let found = bob.run(&["verify", "orders:1"])?;
    ensure!(found.code == Some(DISK), "{found:?}");
    ensure!(found.stderr.contains("--repair"), "{found:?}");
    let broken = &found.json["broken"][0];
    assert_eq!(broken["reference"], "orders:1");
    let damaged = broken["damaged"].as_array().context("none named")?;
    ensure!(!damaged.is_empty(), "{broken}");
    // The damage is known now and reported again, from either side.
    let again = bob.run(&["verify"])?;
    ensure!(again.code == Some(DISK), "{again:?}");

    let repaired = bob.run(&["verify", "--repair"])?.ok()?;
    assert_eq!(repaired["broken"][0]["repaired"], true);
    assert_eq!(bob.run(&["verify"])?.ok()?["broken"], serde_json::json!([]));
    let out = bob.scratch("out");
    bob.run(&["export", "orders", &out.to_string_lossy()])?
        .ok()?;
    same_tree(&alice.scratch("state-1"), &out)?;

    // Without another device it stays broken and is reported as such.
    alice.stop()?;
    ensure!(spoil(&bob.path())? > 0, "no pack was found");
    let left = bob.run(&["verify", "--repair", "--wait", "1s"])?;
    ensure!(left.code == Some(DISK), "{left:?}");
    ensure!(left.json["broken"][0]["why"].is_string(), "{left:?}");
    bob.run(&["verify", "nothing"])?.failed(NOT_FOUND)?;
    Ok(())
}

#[test]
fn a_private_version_that_is_damaged_is_named() -> Result<()> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    save(&alice, 1, &[])?;
    ensure!(spoil(&alice.path())? > 0, "no pack was found");
    let left = alice.run(&["verify", "--repair"])?;
    ensure!(left.code == Some(DISK), "{left:?}");
    let broken = &left.json["broken"][0];
    assert_eq!(broken["reference"], "orders:+1");
    assert_eq!(broken["repaired"], false);
    Ok(())
}

#[test]
fn a_full_disk_is_verified_and_emptied() -> Result<()> {
    let Some(mut alice) = Home::on_small_disk("alice", 64 << 20)? else {
        return Ok(());
    };
    alice.found("payments")?;
    save(&alice, 1, &[])?;
    alice.start(&[])?;
    let hog = alice.path().join("hog");
    fill_up(&hog)?;
    let verified = alice.run(&["verify"])?.ok()?;
    assert_eq!(verified["broken"], serde_json::json!([]));
    let gc = ["gc", "--budget", "0", "--only-copies"];
    match alice.run(&gc)? {
        collected if collected.code == Some(0) => {
            ensure!(collected.json["freed"].as_u64() >= Some(2 * MIB as u64));
        }
        // Not even a note of what goes could be written: then nothing went.
        refused => {
            refused.failed(DISK)?;
            assert_eq!(held(&alice)?, ["orders:+1"]);
            fs::remove_file(&hog)?;
            let collected = alice.run(&gc)?.ok()?;
            ensure!(collected["freed"].as_u64() >= Some(2 * MIB as u64));
        }
    }
    // Without a daemon the home may not even open: the error says what to do.
    alice.stop()?;
    fill_up(&hog)?;
    let verified = alice.run(&["verify"])?;
    if verified.code != Some(0) {
        verified.failed(DISK)?;
    }
    fs::remove_file(hog)?;
    save(&alice, 2, &[])?;
    alice.run(&["verify"])?.ok()?;
    Ok(())
}

/// Fills the rest of a disk, to the last byte.
fn fill_up(hog: &Path) -> Result<()> {
    let mut file = fs::File::create(hog)?;
    let mut len = 8 * MIB;
    let block = vec![7; len];
    while len > 0 {
        match std::io::Write::write(&mut file, &block[..len]) {
            Ok(written) if written > 0 => {}
            _ => len /= 2,
        }
    }
    Ok(())
}

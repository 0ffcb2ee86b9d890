//! Providers with a broken disk, stalled ones and vanished ones: the pull ends well, or says why not.
//!
//! A real daemon never sends bytes that its own store can't prove. Peers that do are made by hand in
//! `crates/net/tests/net/blobs.rs`, and in the simulated network.

use std::{fs, path::Path, process::Command};

use anyhow::{Context, Result, ensure};
use podsync_tests::kit::{Home, fill, finish, same_tree, size_of};

use crate::share::alice_and_bob;

const DISK: i32 = 10;
const UNREACHABLE: i32 = 7;
const MIB: usize = 1 << 20;

/// Alice and bob hold one version of `files` times 16 MiB; carol is in the team and holds nothing.
fn two_hold_it(files: usize) -> Result<(Home, Home, Home)> {
    let (alice, bob) = alice_and_bob()?;
    fill(&alice.scratch("state"), files, 16 * MIB, 3)?;
    share(&alice)?;
    bob.run(&["pull", "orders"])?.ok()?;
    let mut carol = Home::new("carol")?;
    carol.start(&[&alice, &bob])?;
    carol.join(&alice.invite(&[])?)?.ok()?;
    Ok((alice, bob, carol))
}

fn share(home: &Home) -> Result<()> {
    let state = home.scratch("state");
    let from = state.to_string_lossy();
    home.run(&["save", "orders", "--share", "--from", &from])?
        .ok()
        .map(drop)
}

fn exported_as(home: &Home, state: &Path) -> Result<()> {
    let out = home.scratch("out");
    home.run(&["export", "orders", &out.to_string_lossy()])?
        .ok()?;
    same_tree(state, &out)
}

/// Flips a byte in every MiB of whatever a home keeps of packs, as a bad disk would.
fn spoil(home: &Path) -> Result<usize> {
    let mut spoiled = 0;
    let mut folders = vec![home.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.metadata()?.len() > 4 * MIB as u64
                && path.extension().is_none_or(|kind| kind != "redb")
            {
                let mut bytes = fs::read(&path)?;
                bytes.iter_mut().step_by(MIB).for_each(|byte| *byte ^= 1);
                fs::write(&path, bytes)?;
                spoiled += 1;
            }
        }
    }
    ensure!(spoiled > 0, "no pack lies in {}", home.display());
    Ok(spoiled)
}

fn signal(home: &Home, signal: &str) -> Result<()> {
    let id = home.daemon_id().context("no daemon runs")?.to_string();
    let sent = Command::new("kill").args([signal, &id]).status()?;
    ensure!(sent.success(), "kill {signal} failed");
    Ok(())
}

#[test]
fn what_a_broken_disk_cannot_serve_is_taken_from_another() -> Result<()> {
    let (alice, bob, carol) = two_hold_it(8)?;
    spoil(&bob.path())?;
    let pulled = carol.run(&["pull", "orders"])?.ok()?;
    let sources = pulled["sources"].as_array().context("no sources")?;
    let of = |name: &str| {
        let from = |source: &&serde_json::Value| {
            source["name"]
                .as_str()
                .is_some_and(|text| text.starts_with(name))
        };
        sources
            .iter()
            .find(from)
            .and_then(|source| source["bytes"].as_u64())
            .unwrap_or(0)
    };
    ensure!(of("alice") > of("bob"), "{pulled}");
    exported_as(&carol, &alice.scratch("state"))
}

#[test]
fn a_provider_with_a_broken_disk_is_named() -> Result<()> {
    let (mut alice, bob, carol) = two_hold_it(2)?;
    spoil(&bob.path())?;
    alice.stop()?;
    let message = carol
        .run(&["pull", "orders", "--wait", "8s"])?
        .failed(UNREACHABLE)?;
    ensure!(
        message.contains("damaged on the disk of bob/"),
        "the provider has no name: {message}"
    );
    // Bob has noticed it too, and does not wait for himself.
    let answer = bob.run(&["versions", "orders"])?.ok()?;
    ensure!(answer[0]["held"] == false, "{answer}");
    let out = bob.scratch("damaged");
    let told = bob
        .run(&["export", "orders", &out.to_string_lossy(), "--wait", "1s"])?
        .failed(DISK)?;
    ensure!(
        told.contains("`podsync verify --repair`") && !told.contains("bob/"),
        "{told}"
    );
    let answer = carol.run(&["versions", "orders"])?.ok()?;
    ensure!(answer[0]["held"] == false, "{answer}");
    // Alice's bytes are good.
    alice.start(&[&carol])?;
    carol.run(&["pull", "orders"])?.ok()?;
    exported_as(&carol, &alice.scratch("state"))
}

#[test]
fn who_stalls_in_the_middle_holds_up_nobody() -> Result<()> {
    let (alice, bob, carol) = two_hold_it(16)?;
    let pull = carol.spawn(&["pull", "orders"], &[])?;
    // Bytes on carol's disk are the event: it is under way.
    while size_of(&carol.path())? < 48 * MIB as u64 {
        std::thread::yield_now();
    }
    signal(&bob, "-STOP")?;
    let pulled = finish(pull)?.ok();
    signal(&bob, "-CONT")?;
    pulled?;
    exported_as(&carol, &alice.scratch("state"))
}

#[test]
fn the_only_provider_may_vanish_and_come_back() -> Result<()> {
    let (mut alice, bob) = alice_and_bob()?;
    fill(&alice.scratch("state"), 16, 16 * MIB, 3)?;
    share(&alice)?;
    let pull = bob.spawn(&["pull", "orders", "--wait", "2s"], &[])?;
    while size_of(&bob.path())? < 96 * MIB as u64 {
        std::thread::yield_now();
    }
    alice.kill()?;
    let message = finish(pull)?.failed(UNREACHABLE)?;
    println!("{message}");
    alice.start(&[&bob])?;
    let pulled = bob.run(&["pull", "orders"])?.ok()?;
    let fetched = pulled["fetched"].as_u64().unwrap_or(u64::MAX);
    ensure!(
        fetched < 224 * MIB as u64,
        "nothing was kept of 96 MiB: {fetched}"
    );
    exported_as(&bob, &alice.scratch("state"))
}

#[test]
fn two_pulls_at_once_fetch_once() -> Result<()> {
    let (alice, bob) = alice_and_bob()?;
    fill(&alice.scratch("state"), 4, 8 * MIB, 3)?;
    share(&alice)?;
    let pulls = [
        bob.spawn(&["pull", "orders"], &[])?,
        bob.spawn(&["pull", "orders"], &[])?,
    ];
    let mut fetched = 0;
    for pull in pulls {
        fetched += finish(pull)?.ok()?["fetched"].as_u64().unwrap_or(0);
    }
    ensure!(
        (32 * MIB as u64..40 * MIB as u64).contains(&fetched),
        "{fetched}"
    );
    exported_as(&bob, &alice.scratch("state"))
}

/// Who made a version and finds its own copy damaged is not told to wait for this very device.
#[test]
fn an_author_whose_disk_is_damaged_is_not_told_to_wait_for_itself() -> Result<()> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    fill(&alice.scratch("state"), 1, 16 * MIB, 3)?;
    share(&alice)?;
    spoil(&alice.path())?;
    let found = alice.run(&["verify"])?;
    ensure!(found.code == Some(DISK), "{found:?}");
    let out = alice.scratch("out");
    let told = alice
        .run(&["export", "orders", &out.to_string_lossy(), "--wait", "1s"])?
        .failed(DISK)?;
    ensure!(
        told.contains("`podsync verify --repair`") && told.contains("save the state again"),
        "{told}"
    );
    ensure!(!told.contains("alice/"), "{told}");
    Ok(())
}

/// Data found damaged is reported, neither served nor reused, and the next pull fetches it again.
#[test]
fn what_the_own_disk_damaged_is_pulled_again() -> Result<()> {
    let (alice, bob) = alice_and_bob()?;
    let state = alice.scratch("state");
    fill(&state, 6, 16 * MIB, 3)?;
    share(&alice)?;
    let whole = bob.run(&["pull", "orders"])?.ok()?["fetched"].as_u64();
    spoil(&bob.path())?;
    let out = bob.scratch("damaged");
    let told = bob
        .run(&["export", "orders", &out.to_string_lossy()])?
        .failed(DISK)?;
    ensure!(told.contains("`podsync verify --repair`"), "{told}");
    ensure!(!out.exists(), "half a state was left behind");
    let pulled = bob.run(&["pull", "orders"])?.ok()?;
    ensure!(pulled["fetched"].as_u64() <= whole, "{pulled}");
    exported_as(&bob, &state)
}

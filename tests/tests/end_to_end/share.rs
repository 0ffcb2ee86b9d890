//! Save, share, hear, pull.

use anyhow::Result;
use podsync_tests::kit::{Home, change_file, fill, same_tree, size_of};

const MIB: usize = 1 << 20;

/// Alice's team with bob in it, both daemons up.
pub(crate) fn alice_and_bob() -> Result<(Home, Home)> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    let mut bob = Home::new("bob")?;
    bob.start(&[&alice])?;
    let ticket = alice.invite(&[])?;
    bob.join(&ticket)?.ok()?;
    Ok((alice, bob))
}

#[test]
fn what_alice_shares_bob_pulls() -> Result<()> {
    let (alice, bob) = alice_and_bob()?;
    let state = alice.scratch("state");
    fill(&state, 20, MIB, 1)?;
    let from = state.to_string_lossy().into_owned();
    let saved = alice
        .run(&[
            "save",
            "orders",
            "-m",
            "dead letters pile up",
            "--from",
            &from,
        ])?
        .ok()?;
    assert_eq!(saved["reference"], "orders:+1");
    let shared = alice.run(&["share", "orders"])?.ok()?;
    assert_eq!(shared["reference"], "orders:1");

    let pulled = bob.run(&["pull", "orders"])?.ok()?;
    assert_eq!(pulled["reference"], "orders:1");
    assert_eq!(pulled["author"], "alice");
    assert!(pulled["fetched"].as_u64() >= Some(20 * MIB as u64));
    assert!(
        pulled["sources"][0]["name"]
            .as_str()
            .is_some_and(|name| name.starts_with("alice"))
    );

    let list = bob.run(&["list"])?.ok()?;
    assert_eq!(list[0]["tips"][0]["message"], "dead letters pile up");
    assert_eq!(list[0]["tips"][0]["held"], true);

    let out = bob.scratch("out");
    bob.run(&["export", "orders:1", &out.to_string_lossy()])?
        .ok()?;
    same_tree(&state, &out)?;

    let again = bob.run(&["pull", "orders"])?.ok()?;
    assert_eq!(again["fetched"], 0);
    Ok(())
}

#[test]
fn a_pod_that_is_set_to_is_shared_by_each_save() -> Result<()> {
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    let state = alice.scratch("state");
    fill(&state, 2, 1000, 1)?;
    let from = state.to_string_lossy().into_owned();
    std::fs::write(alice.path().join("config.toml"), "auto_share = ['orders']")?;
    for (pod, reference) in [("orders", "orders:1"), ("drafts", "drafts:+1")] {
        let saved = alice.run(&["save", pod, "--from", &from])?.ok()?;
        assert_eq!(saved["reference"], reference);
    }
    Ok(())
}

#[test]
fn only_what_changed_travels() -> Result<()> {
    let (alice, bob) = alice_and_bob()?;
    let state = alice.scratch("state");
    fill(&state, 4, 16 * MIB, 1)?;
    let from = state.to_string_lossy().into_owned();
    alice
        .run(&["save", "orders", "--share", "--from", &from])?
        .ok()?;
    bob.run(&["pull", "orders"])?.ok()?;

    let unchanged = alice.run(&["save", "orders", "--from", &from])?.ok()?;
    assert_eq!(unchanged["unchanged"], true);
    assert_eq!(unchanged["reference"], "orders:1");

    change_file(&state.join("file-00002.bin"), 5 * MIB as u64, 2 * MIB, 7)?;
    let saved = alice
        .run(&["save", "orders", "--share", "--from", &from])?
        .ok()?;
    assert_eq!(saved["shared"]["reference"], "orders:2");
    let pulled = bob.run(&["pull", "orders:2"])?.ok()?;
    let fetched = pulled["fetched"].as_u64().unwrap_or_default();
    assert!(
        fetched > 2 * MIB as u64 && fetched < 3 * MIB as u64,
        "{fetched}"
    );
    let out = bob.scratch("out");
    bob.run(&["export", "orders:2", &out.to_string_lossy()])?
        .ok()?;
    same_tree(&state, &out)
}

/// The parts of a pack that a version uses are pulled, served, reused and completed later; the rest
/// of the pack is not.
#[test]
fn a_pack_that_is_mostly_dead_travels_in_part() -> Result<()> {
    let (alice, mut bob) = alice_and_bob()?;
    let state = alice.scratch("state");
    fill(&state, 4, 7 * MIB, 1)?;
    let from = state.to_string_lossy().into_owned();
    let save = |home: &Home| {
        home.run(&["save", "orders", "--share", "--from", &from])?
            .ok()
    };
    let fetched = |pulled: &serde_json::Value| pulled["fetched"].as_u64().unwrap_or_default();
    save(&alice)?;
    for file in 1..4 {
        std::fs::rename(
            state.join(format!("file-0000{file}.bin")),
            alice.scratch(&format!("gone-{file}")),
        )?;
    }
    save(&alice)?;
    let pulled = bob.run(&["pull", "orders:2"])?.ok()?;
    assert!(
        (7 * MIB as u64..11 * MIB as u64).contains(&fetched(&pulled)),
        "{pulled}"
    );
    let export = |home: &Home, reference: &str, to: &str| {
        let out = home.scratch(to);
        home.run(&["export", reference, &out.to_string_lossy()])?
            .ok()?;
        Ok::<_, anyhow::Error>(out)
    };
    bob.kill()?;
    bob.start(&[&alice])?;
    same_tree(&state, &export(&bob, "orders:2", "second")?)?;

    let mut carol = Home::new("carol")?;
    carol.start(&[&alice, &bob])?;
    carol.join(&alice.invite(&[])?)?.ok()?;
    let mut alice = alice;
    alice.stop()?;
    let pulled = carol.run(&["pull", "orders:2"])?.ok()?;
    let source = pulled["sources"][0]["name"].as_str().unwrap_or_default();
    assert!(source.starts_with("bob"), "{pulled}");
    same_tree(&state, &export(&carol, "orders:2", "out")?)?;

    change_file(&state.join("file-00000.bin"), 3 * MIB as u64, MIB, 9)?;
    let saved = save(&carol)?;
    assert!(saved["new_len"].as_u64() < Some(2 * MIB as u64), "{saved}");
    let pulled = bob.run(&["pull", "orders:3"])?.ok()?;
    assert!(fetched(&pulled) < 2 * MIB as u64, "{pulled}");
    same_tree(&state, &export(&bob, "orders:3", "third")?)?;

    alice.start(&[&bob])?;
    for file in 1..4 {
        std::fs::rename(
            alice.scratch(&format!("gone-{file}")),
            state.join(format!("file-0000{file}.bin")),
        )?;
    }
    let pulled = bob.run(&["pull", "orders:1"])?.ok()?;
    assert!(
        (18 * MIB as u64..23 * MIB as u64).contains(&fetched(&pulled)),
        "only what was missing: {pulled}"
    );
    let out = export(&bob, "orders:1", "first")?;
    assert_eq!(size_of(&out)?, 28 * MIB as u64);
    Ok(())
}

#[test]
fn two_providers_serve_one_pull_and_one_may_die() -> Result<()> {
    let (alice, mut bob) = alice_and_bob()?;
    let state = alice.scratch("state");
    fill(&state, 8, 16 * MIB, 3)?;
    let from = state.to_string_lossy().into_owned();
    alice
        .run(&["save", "orders", "--share", "--from", &from])?
        .ok()?;
    bob.run(&["pull", "orders"])?.ok()?;

    let mut carol = Home::new("carol")?;
    carol.start(&[&alice, &bob])?;
    carol.join(&alice.invite(&[])?)?.ok()?;
    let pulled = carol.run(&["pull", "orders"])?.ok()?;
    let sources = pulled["sources"].as_array().map_or(0, Vec::len);
    assert_eq!(sources, 2, "{pulled}");

    bob.kill()?;
    let mut dave = Home::new("dave")?;
    dave.start(&[&alice, &carol])?;
    dave.join(&alice.invite(&[])?)?.ok()?;
    let pulled = dave.run(&["pull", "orders"])?.ok()?;
    assert!(
        pulled["fetched"].as_u64() >= Some(128 * MIB as u64),
        "{pulled}"
    );
    Ok(())
}

#[test]
fn a_pull_whose_puller_is_killed_goes_on_where_it_stopped() -> Result<()> {
    let (alice, mut bob) = alice_and_bob()?;
    let state = alice.scratch("state");
    fill(&state, 8, 32 * MIB, 3)?;
    let from = state.to_string_lossy().into_owned();
    alice
        .run(&["save", "orders", "--share", "--from", &from])?
        .ok()?;
    let pull = bob.spawn(&["pull", "orders"], &[])?;
    // Bytes on bob's disk are the event: half of them have arrived.
    let folder = bob.path();
    while size_of(&folder)? < 128 * MIB as u64 {
        std::thread::yield_now();
    }
    bob.kill()?;
    podsync_tests::kit::finish(pull)?;
    let before = size_of(&folder)?;
    bob.start(&[&alice])?;
    let pulled = bob.run(&["pull", "orders"])?.ok()?;
    let fetched = pulled["fetched"].as_u64().unwrap_or_default();
    let whole = 256 * MIB as u64;
    assert!(
        fetched < whole,
        "nothing was kept of {before} bytes: {fetched}"
    );
    assert!(
        fetched + before <= whole + 33 * MIB as u64 + whole / 50,
        "{fetched} after {before}"
    );
    let out = bob.scratch("out");
    bob.run(&["export", "orders", &out.to_string_lossy()])?
        .ok()?;
    same_tree(&state, &out)
}

/// The ticket's addresses bring them together once; after that they know where they met.
#[test]
fn after_a_restart_members_find_each_other_where_they_met() -> Result<()> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    let address = alice.address()?;
    let port = address
        .split('/')
        .nth(4)
        .ok_or_else(|| anyhow::anyhow!("no port in {address}"))?;
    let listen = format!("127.0.0.1:{port}");
    let mut bob = Home::new("bob")?;
    bob.start(&[])?;
    bob.join(&alice.invite(&[])?)?.ok()?;
    bob.stop()?;
    alice.stop()?;

    alice.start_with(&["daemon", "--listen", &listen, "--no-mdns"], &[])?;
    let state = alice.scratch("state");
    fill(&state, 1, MIB, 1)?;
    alice
        .run(&[
            "save",
            "orders",
            "--share",
            "--from",
            &state.to_string_lossy(),
        ])?
        .ok()?;
    bob.start(&[])?;
    let pulled = bob.run(&["pull", "orders"])?.ok()?;
    assert_eq!(pulled["reference"], "orders:1");
    Ok(())
}

//! Kills at every failpoint and at random moments: acknowledged data is there, half-written data
//! never looks complete, and the next run continues.

use std::{process::Child, time::Duration};

use anyhow::{Context, Result, ensure};
use podsync_tests::kit::{FakeEmulator, Home, Hub, Member, fill, finish, same_tree, zip};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use crate::{
    bucket::{alice_with, alone, exported_is, share},
    share::alice_and_bob,
};

/// The variable that names the failpoint at which `podsync` built with `failpoints` aborts.
const ABORT_AT: &str = "PODSYNC_ABORT_AT";
/// Settings for a command without a daemon that contacts nobody.
const QUIET: [(&str, &str); 2] = [("PODSYNC_MDNS", "false"), ("PODSYNC_LISTEN", "127.0.0.1:0")];
/// SIGABRT, as a shell would show it: no exit code of our own.
const NO_CODE: Option<i32> = None;

const SAVE_PLACES: [&str; 5] = [
    "store::pack::written",
    "store::pack::synced",
    "store::pack::adopted",
    "store::log::commit",
    "daemon::save::held",
];

#[test]
fn a_save_killed_anywhere_leaves_a_home_that_saves() -> Result<()> {
    for place in SAVE_PLACES {
        let alice = Home::new("alice")?;
        alice.found("payments")?;
        let state = alice.scratch("state");
        fill(&state, 3, 1 << 20, 1)?;
        let from = state.to_string_lossy().into_owned();
        let killed = alice.run_with(
            &["save", "orders", "--from", &from],
            &[(ABORT_AT, place)],
            None,
        )?;
        ensure!(
            killed.code == NO_CODE,
            "{place} was never reached: {killed:?}"
        );
        whole_or_absent(&alice, &state)?;
        alice.run(&["save", "orders", "--from", &from])?.ok()?;
        let out = alice.scratch("out");
        alice
            .run(&["export", "orders", &out.to_string_lossy()])?
            .ok()?;
        same_tree(&state, &out)?;
    }
    Ok(())
}

/// A device's key is there whole or not at all, and the next `init` says which.
#[test]
fn an_init_that_is_killed_leaves_a_key_or_none() -> Result<()> {
    let alice = Home::new("alice")?;
    std::fs::remove_dir_all(alice.path())?;
    let killed = alice.run_with(&["init"], &[(ABORT_AT, "store::identity::renamed")], None)?;
    ensure!(killed.code == NO_CODE, "it was never reached: {killed:?}");
    let key = std::fs::read(alice.path().join("identity"))?;
    ensure!(key.len() == 32, "{} bytes of a key", key.len());
    alice.run(&["init"])?;
    alice.found("payments")?;
    ensure!(std::fs::read(alice.path().join("identity"))? == key);
    Ok(())
}

#[test]
fn a_share_killed_anywhere_is_shared_by_the_next() -> Result<()> {
    for place in ["daemon::share::packs", "store::log::commit"] {
        let (mut alice, bob) = alice_and_bob()?;
        let state = alice.scratch("state");
        fill(&state, 3, 1 << 20, 1)?;
        let from = state.to_string_lossy().into_owned();
        alice.run(&["save", "orders", "--from", &from])?.ok()?;
        alice.stop()?;
        let killed = alice.run_with(&["share", "orders"], &[(ABORT_AT, place)], None)?;
        ensure!(
            killed.code == NO_CODE,
            "{place} was never reached: {killed:?}"
        );
        alice.start(&[&bob])?;
        let shared = alice.run(&["share", "orders"])?.ok()?;
        assert_eq!(shared["reference"], "orders:1", "after {place}");
        let pulled = bob.run(&["pull", "orders"])?.ok()?;
        assert_eq!(pulled["reference"], "orders:1");
    }
    Ok(())
}

#[test]
fn a_pull_killed_anywhere_is_finished_by_the_next() -> Result<()> {
    for place in ["store::log::commit", "daemon::pull::packs"] {
        let (alice, mut bob) = alice_and_bob()?;
        let state = alice.scratch("state");
        fill(&state, 3, 4 << 20, 1)?;
        alice
            .run(&[
                "save",
                "orders",
                "--share",
                "--from",
                &state.to_string_lossy(),
            ])?
            .ok()?;
        bob.stop()?;
        let address = alice.address()?;
        let arguments = [
            "daemon",
            "--listen",
            "127.0.0.1:0",
            "--no-mdns",
            "--peer",
            &address,
        ];
        // The daemon itself writes to the log when it hears of the version: it may end before it serves.
        if bob.start_with(&arguments, &[(ABORT_AT, place)]).is_ok() {
            let killed = bob.run(&["pull", "orders"])?;
            ensure!(
                killed.code != Some(0),
                "{place} was never reached: {killed:?}"
            );
        }
        bob.kill()?;
        bob.start(&[&alice])?;
        bob.run(&["pull", "orders"])?.ok()?;
        let out = bob.scratch("out");
        bob.run(&["export", "orders", &out.to_string_lossy()])?
            .ok()?;
        same_tree(&state, &out)?;
    }
    Ok(())
}

#[test]
fn killed_at_two_hundred_random_moments() -> Result<()> {
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    let state = alice.scratch("state");
    for round in 0..200_u64 {
        if round % 20 == 0 {
            if state.exists() {
                std::fs::remove_dir_all(&state)?;
            }
            fill(&state, 3, 1 << 20, round)?;
        }
        let save = alice.spawn(
            &[
                "save",
                "orders",
                "--share",
                "--from",
                &state.to_string_lossy(),
            ],
            &[],
        )?;
        killed_within(save, Duration::from_millis(150), &mut rng)?;
        if round % 20 == 19 {
            whole_or_absent(&alice, &state)?;
        }
    }
    alice
        .run(&[
            "save",
            "orders",
            "--share",
            "--from",
            &state.to_string_lossy(),
        ])?
        .ok()?;
    let out = alice.scratch("final");
    alice
        .run(&["export", "orders", &out.to_string_lossy()])?
        .ok()?;
    same_tree(&state, &out)
}

/// Ends a command that was started at a random moment within `within`; whether it was done by then.
fn killed_within(mut command: Child, within: Duration, rng: &mut ChaCha8Rng) -> Result<bool> {
    let moment = rng.random_range(Duration::ZERO..within);
    // The one wait that is meant: the moment itself is what is tested.
    std::thread::park_timeout(moment);
    command.kill()?;
    Ok(finish(command)?.code == Some(0))
}

#[test]
fn a_pull_killed_at_two_hundred_random_moments() -> Result<()> {
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (alice, mut bob) = alice_and_bob()?;
    bob.stop()?;
    let address = alice.address()?;
    let reach = [
        ("PODSYNC_PEERS", address.as_str()),
        ("PODSYNC_MDNS", "false"),
    ];
    let state = alice.scratch("state");
    let share = |version: u64| -> Result<()> {
        fill(&state, 4, 2 << 20, version)?;
        let from = state.to_string_lossy().into_owned();
        let saved = alice.run(&["save", "orders", "--share", "--from", &from])?;
        saved.ok().map(drop)
    };
    let mut version = 1;
    share(version)?;
    for _ in 0..200 {
        let pull = bob.spawn(&["pull", "orders"], &reach)?;
        if killed_within(pull, Duration::from_millis(400), &mut rng)? {
            version += 1;
            share(version)?;
        }
    }
    bob.run_with(&["pull", "orders"], &reach, None)?.ok()?;
    whole_or_absent(&bob, &state)?;
    let out = bob.scratch("final");
    bob.run(&["export", "orders", &out.to_string_lossy()])?
        .ok()?;
    same_tree(&state, &out)
}

/// Only the hub is online: the bucket's final content is all that there is.
#[test]
fn a_sharer_killed_at_a_hundred_random_moments_beside_its_hub() -> Result<()> {
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let hub = Hub::start()?;
    let mut alice = alice_with(&hub)?;
    let ticket = alice.invite(&[])?;
    alice.stop()?;
    let state = alice.scratch("state");
    let from = state.to_string_lossy().into_owned();
    let save = ["save", "orders", "--share", "--wait", "--from", &from];
    let mut acknowledged = None;
    for round in 0..100_u64 {
        fill(&state, 3, 1 << 20, round)?;
        if killed_within(
            alice.spawn(&save, &QUIET)?,
            Duration::from_millis(900),
            &mut rng,
        )? {
            acknowledged = Some(round);
        }
    }
    println!("the last that was acknowledged: {acknowledged:?}");
    // By its own reference: a killed round may have left an older state that is not shared.
    let saved = alice.run_with(&save, &QUIET, None)?.ok()?;
    let reference = saved["reference"].as_str().context("no reference")?;
    alice
        .run_with(&["share", reference, "--wait"], &QUIET, None)?
        .ok()?;
    let hers = alice.run(&["versions", "orders"])?.ok()?;
    let bob = alone("bob")?;
    bob.join(&ticket)?.ok()?;
    let his = bob.run(&["versions", "orders"])?.ok()?;
    ensure!(ids(&hers) == ids(&his), "{hers} and {his}");
    for version in his.as_array().into_iter().flatten() {
        let reference = version["reference"].as_str().unwrap_or_default();
        bob.run(&["pull", reference, "--source", "bucket"])?.ok()?;
    }
    exported_is(&bob, "orders", &state)
}

#[test]
fn a_puller_killed_at_a_hundred_random_moments_beside_the_hub() -> Result<()> {
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let hub = Hub::start()?;
    let alice = alice_with(&hub)?;
    let ticket = alice.invite(&[])?;
    let state = alice.scratch("state");
    let mut bob = alone("bob")?;
    bob.join(&ticket)?.ok()?;
    bob.stop()?;
    let pull = ["pull", "orders", "--source", "bucket"];
    let mut version = 1;
    fill(&state, 4, 2 << 20, version)?;
    share(&alice, &state)?;
    for _ in 0..100 {
        if killed_within(
            bob.spawn(&pull, &QUIET)?,
            Duration::from_millis(700),
            &mut rng,
        )? {
            version += 1;
            fill(&state, 4, 2 << 20, version)?;
            share(&alice, &state)?;
        }
    }
    println!("{version} versions were pulled");
    bob.run_with(&pull, &QUIET, None)?.ok()?;
    whole_or_absent(&bob, &state)?;
    exported_is(&bob, "orders", &state)
}

/// The hub and its bucket die together, a hundred times in a share and a hundred times in a pull: what was
/// acknowledged is there, and nothing is half committed.
#[test]
fn a_hub_and_its_bucket_killed_at_two_hundred_random_moments() -> Result<()> {
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut hub = Hub::start()?;
    let alice = alice_with(&hub)?;
    let ticket = alice.invite(&[])?;
    let bob = alone("bob")?;
    bob.join(&ticket)?.ok()?;
    let state = alice.scratch("state");
    let from = state.to_string_lossy().into_owned();
    let save = ["save", "orders", "--share", "--wait", "--from", &from];
    let pull = ["pull", "orders", "--source", "bucket"];
    for round in 0..100_u64 {
        fill(&state, 3, 1 << 20, round)?;
        let saving = alice.spawn(&save, &[])?;
        killed_and_back(&mut hub, &mut rng)?;
        let saved = finish(saving)?.ok()?;
        ensure!(saved["shared"]["durable"] == true, "{round}: {saved}");
        let pulling = bob.spawn(&pull, &[])?;
        killed_and_back(&mut hub, &mut rng)?;
        finish(pulling)?;
        bob.run(&pull)?.ok()?;
        exported_is(&bob, "orders", &state)?;
    }
    let hers = alice.run(&["versions", "orders"])?.ok()?;
    let his = bob.run(&["versions", "orders"])?.ok()?;
    ensure!(ids(&hers).len() == 100, "{hers}");
    ensure!(ids(&hers) == ids(&his), "{hers} and {his}");
    let sound = bob.run(&["verify", "--bucket"])?.ok()?;
    ensure!(sound["broken"] == serde_json::json!([]), "{sound}");
    Ok(())
}

/// `kill -9` within the time that a share or a pull takes, and up again.
fn killed_and_back(hub: &mut Hub, rng: &mut ChaCha8Rng) -> Result<()> {
    std::thread::sleep(Duration::from_millis(rng.random_range(0..400)));
    hub.kill()?;
    hub.run()
}

/// The ids of the shared ones among these versions.
fn ids(versions: &serde_json::Value) -> Vec<&serde_json::Value> {
    let versions = versions.as_array().into_iter().flatten();
    versions
        .filter(|version| version["number"].is_number())
        .map(|version| &version["id"])
        .collect()
}

/// At every moment: the instance is changed only after a checkpoint of it was kept.
#[test]
fn a_load_killed_at_two_hundred_random_moments() -> Result<()> {
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let alice = Home::new("alice")?;
    alice.found("payments")?;
    let emulator = FakeEmulator::start(&zip(&[
        Member::stored("s3/buckets", &[1; 1 << 20]),
        Member::stored("sqs/queues", &[2; 5000]),
    ]))?;
    let endpoint = emulator.endpoint();
    alice
        .run(&["save", "orders", "--endpoint", &endpoint])?
        .ok()?;
    for _ in 0..200 {
        let posted = emulator.posts().len();
        let load = alice.spawn(&["load", "orders", "--endpoint", &endpoint], &[])?;
        killed_within(load, Duration::from_millis(200), &mut rng)?;
        if emulator.posts().len() > posted {
            let undone = alice.run(&["undo", "--endpoint", &endpoint])?.ok()?;
            ensure!(
                undone["checkpoint"]
                    .as_str()
                    .is_some_and(|name| !name.is_empty()),
                "{undone}"
            );
        }
    }
    alice
        .run(&["load", "orders", "--endpoint", &endpoint])?
        .ok()?;
    alice.run(&["undo", "--endpoint", &endpoint])?.ok()?;
    Ok(())
}

/// Every version that is listed as held can be rebuilt.
fn whole_or_absent(home: &Home, newest: &std::path::Path) -> Result<()> {
    let pods = home.run(&["list"])?.ok()?;
    if pods.as_array().is_none_or(Vec::is_empty) {
        return Ok(());
    }
    let versions = home.run(&["versions", "orders"])?.ok()?;
    let held = |version: &&serde_json::Value| version["held"] == true;
    for version in versions.as_array().into_iter().flatten().filter(held) {
        let reference = version["reference"].as_str().unwrap_or_default();
        let out = home.scratch("check");
        home.run(&["export", reference, &out.to_string_lossy()])?
            .ok()?;
        std::fs::remove_dir_all(&out)?;
    }
    ensure!(newest.exists());
    Ok(())
}

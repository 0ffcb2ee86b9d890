//! Replicas of a hub over one bucket: each killed in its turn, and all of them moved to another address.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use podsync_tests::kit::{Home, Replicas, fill, finish};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

use crate::bucket::{alone, exported_is, share};

const UNREACHABLE: i32 = 7;

/// Alice with a daemon and a team that has so many replicas, and its id.
fn alice_with(count: usize) -> Result<(Home, Replicas, String)> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    let status = alice.run(&["status"])?.ok()?;
    let team = status["teams"][0]["id"].as_str().context("no team")?;
    let hubs = Replicas::start(team, count)?;
    alice.run(&["team", "set-hub", &hubs.url()])?.ok()?;
    Ok((alice, hubs, team.to_owned()))
}

fn hub_of(home: &Home) -> Result<Value> {
    let status = home.run(&["status"])?.ok()?;
    Ok(status["teams"][0]["hub"]["url"].clone())
}

/// What dies at a random moment and is there again at once.
#[derive(Debug, Clone, Copy)]
enum Victim {
    Bucket,
    Replica(usize),
    BothInTurn,
}

const VICTIMS: [Victim; 4] = [
    Victim::Bucket,
    Victim::Replica(0),
    Victim::Replica(1),
    Victim::BothInTurn,
];

impl Victim {
    fn dies(self, hubs: &mut Replicas, rng: &mut ChaCha8Rng) -> Result<()> {
        wait(rng, 400);
        match self {
            Self::Bucket => {
                hubs.kill_bucket()?;
                hubs.revive_bucket()
            }
            Self::Replica(number) => {
                hubs.kill(number)?;
                hubs.revive()
            }
            Self::BothInTurn => {
                hubs.kill(0)?;
                hubs.revive()?;
                wait(rng, 100);
                hubs.kill(1)?;
                hubs.revive()
            }
        }
    }
}

/// The one wait that is meant: the moment itself is what is tested.
fn wait(rng: &mut ChaCha8Rng, within_ms: u64) {
    std::thread::sleep(Duration::from_millis(rng.random_range(0..within_ms)));
}

/// A hundred times in a share and a hundred times in a pull: what was acknowledged is there, and nothing is half
/// committed.
#[test]
fn a_bucket_and_two_replicas_killed_by_turns_at_two_hundred_random_moments() -> Result<()> {
    let seed = rand::random::<u64>();
    println!("seed {seed}");
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut alice, mut hubs, _) = alice_with(2)?;
    let (for_bob, for_carol) = (alice.invite(&[])?, alice.invite(&[])?);
    let bob = alone("bob")?;
    bob.join(&for_bob)?.ok()?;
    let state = alice.scratch("state");
    let from = state.to_string_lossy().into_owned();
    let save = ["save", "orders", "--share", "--wait", "--from", &from];
    let pull = ["pull", "orders", "--source", "bucket"];
    for (round, victim) in (0..100_u64).zip(VICTIMS.into_iter().cycle()) {
        fill(&state, 3, 1 << 20, round)?;
        let saving = alice.spawn(&save, &[])?;
        victim.dies(&mut hubs, &mut rng)?;
        let saved = finish(saving)?.ok()?;
        ensure!(
            saved["shared"]["durable"] == true,
            "{round}, {victim:?}: {saved}"
        );
        let pulling = bob.spawn(&pull, &[])?;
        victim.dies(&mut hubs, &mut rng)?;
        finish(pulling)?;
        bob.run(&pull)?.ok()?;
        exported_is(&bob, "orders", &state)?;
    }
    let sound = alice.run(&["verify", "--bucket"])?.ok()?;
    ensure!(sound["broken"] == serde_json::json!([]), "{sound}");
    // A newcomer whom nobody but the bucket tells anything has all hundred.
    alice.stop()?;
    drop(bob);
    let carol = alone("carol")?;
    carol.join(&for_carol)?.ok()?;
    let hers = carol.run(&["versions", "orders"])?.ok()?;
    ensure!(hers.as_array().map(Vec::len) == Some(100), "{hers}");
    carol.run(&pull)?.ok()?;
    exported_is(&carol, "orders", &state)
}

#[test]
fn a_hubs_new_address_reaches_who_was_away_by_the_old_one() -> Result<()> {
    let (mut alice, mut hubs, team) = alice_with(1)?;
    let (for_bob, for_carol) = (alice.invite(&[])?, alice.invite(&[])?);
    let mut bob = alone("bob")?;
    bob.join(&for_bob)?.ok()?;
    bob.stop()?;
    let state = alice.scratch("state");
    fill(&state, 2, 1 << 20, 1)?;
    share(&alice, &state)?;

    let old = hubs.url();
    hubs.move_away(&team)?;
    ensure!(hubs.url() != old);
    // Before the admin says so, who asks at the old address finds the new one.
    fill(&state, 2, 1 << 20, 2)?;
    share(&alice, &state)?;
    ensure!(hub_of(&alice)? == hubs.url());
    // So does a command without a daemon.
    let quiet = [("PODSYNC_MDNS", "false"), ("PODSYNC_LISTEN", "127.0.0.1:0")];
    let sound = bob.run_with(&["verify", "--bucket"], &quiet, None)?.ok()?;
    ensure!(sound["versions"] == 2, "{sound}");
    let shown = bob.run_with(&["show", "orders:2"], &quiet, None)?.ok()?;
    ensure!(shown["whereabouts"]["bucket"] == "whole", "{shown}");
    alice.run(&["team", "set-hub", &hubs.url()])?.ok()?;
    fill(&state, 2, 1 << 20, 3)?;
    share(&alice, &state)?;
    alice.stop()?;

    // Nobody is there to tell Bob but the old hub, which has no bucket.
    bob.start(&[])?;
    bob.run(&["pull", "orders:3", "--source", "bucket"])?.ok()?;
    exported_is(&bob, "orders:3", &state)?;
    ensure!(hub_of(&bob)? == hubs.url());
    // Carol's ticket names the old address.
    let carol = alone("carol")?;
    carol.join(&for_carol)?.ok()?;
    carol
        .run(&["pull", "orders:3", "--source", "bucket"])?
        .ok()?;
    exported_is(&carol, "orders:3", &state)
}

#[test]
fn a_hub_that_moved_and_whose_bucket_refuses_it_is_told_and_stays_where_it_is() -> Result<()> {
    let (alice, mut hubs, team) = alice_with(1)?;
    let state = alice.scratch("state");
    fill(&state, 2, 1 << 20, 1)?;
    hubs.move_away(&team)?;
    share(&alice, &state)?;
    hubs.lose_keys()?;
    fill(&state, 2, 1 << 20, 2)?;
    let from = state.to_string_lossy().into_owned();
    alice
        .run(&["save", "orders", "--share", "--from", &from])?
        .ok()?;
    let message = alice
        .run(&["share", "orders", "--wait"])?
        .failed(UNREACHABLE)?;
    ensure!(message.contains("refuses the hub"), "{message}");
    let status = alice.run(&["status"])?.ok()?;
    let hub = &status["teams"][0]["hub"];
    ensure!(hub["url"] == hubs.url(), "{hub}");
    ensure!(
        hub["heard_ms"].is_u64() && hub["trouble"].is_string(),
        "{hub}"
    );
    hubs.kill(0)?;
    hubs.revive()?;
    alice.run(&["share", "orders", "--wait"])?.ok().map(drop)
}

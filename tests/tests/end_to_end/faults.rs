//! Faults between a device and its hub or bucket: each ends well by itself or with an error that says what to
//! do, nothing is lost, and the next try works.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::Child,
};

use anyhow::{Context, Result, bail, ensure};
use podsync_tests::kit::{
    EXPIRED, Fault, FaultyHub, Home, Hub, Replicas, SLOW_DOWN, change_file, fill, finish,
};
use serde_json::Value;

use crate::bucket::{alice_with, alone, exported_is, share};

const MIB: usize = 1 << 20;
const FORBIDDEN: i32 = 5;
const UNREACHABLE: i32 = 7;
const DISK: i32 = 10;

const BROKEN: Fault = Fault::Answer(500, "out of order");

/// Alice with a daemon and a team whose hub and bucket are reached by proxies, and a ticket for it.
fn alice_behind(faulty: &FaultyHub) -> Result<(Home, String)> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    alice
        .run(&["team", "set-hub", &faulty.to_hub.url()])?
        .ok()?;
    let ticket = alice.invite(&["--uses", "9"])?;
    Ok((alice, ticket))
}

/// Saves and shares without waiting for the bucket.
fn share_at_once(home: &Home, state: &Path) -> Result<Value> {
    let from = state.to_string_lossy().into_owned();
    home.run(&["save", "orders", "--share", "--from", &from])?
        .ok()
}

/// Entries that the bucket lacks.
fn waiting(home: &Home) -> Result<Value> {
    let status = home.run(&["status"])?.ok()?;
    Ok(status["teams"][0]["hub"]["waiting"].clone())
}

/// Bob, who never met Alice, has what she shared.
fn bob_has(ticket: &str, state: &Path) -> Result<()> {
    newcomer_has("bob", ticket, state)
}

fn carol_has(ticket: &str, state: &Path) -> Result<()> {
    newcomer_has("carol", ticket, state)
}

fn newcomer_has(name: &str, ticket: &str, state: &Path) -> Result<()> {
    let home = alone(name)?;
    home.join(ticket)?.ok()?;
    home.run(&["pull", "orders", "--source", "bucket"])?.ok()?;
    exported_is(&home, "orders", state)
}

fn says_what_it_waits_for(command: &mut Child, beginning: &str) -> Result<()> {
    let told = command.stderr.take().context("no stderr")?;
    for line in BufReader::new(told).lines() {
        if line?.starts_with(beginning) {
            return Ok(());
        }
    }
    bail!("it ended without a line that begins with `{beginning}`")
}

/// The first thing that a command says it waits for.
fn first_said(command: &mut Child) -> Result<String> {
    let told = command.stderr.take().context("no stderr")?;
    let mut lines = BufReader::new(told).lines();
    let line = lines.find_map(|line| {
        let line = line.map(|line| line.strip_prefix("waiting: ").map(str::to_owned));
        line.transpose()
    });
    Ok(line.context("it ended without a line that says what it waits for")??)
}

#[test]
fn a_silent_hub_is_named_to_a_caller_that_waits() -> Result<()> {
    let faulty = FaultyHub::start()?;
    let (alice, _) = alice_behind(&faulty)?;
    let state = alice.scratch("state");
    fill(&state, 1, MIB, 1)?;
    faulty.to_hub.fail(Fault::StallDown(0));
    share_at_once(&alice, &state)?;
    let mut wait = alice.spawn(&["share", "orders", "--wait"], &[])?;
    let silent = format!(
        "waiting: the hub at {} does not answer",
        faulty.to_hub.url()
    );
    says_what_it_waits_for(&mut wait, &silent)?;
    faulty.to_hub.heal();
    let shared = finish(wait)?.ok()?;
    ensure!(shared["durable"] == true, "{shared}");
    Ok(())
}

#[test]
fn what_the_bucket_answered_is_what_a_share_waits_for() -> Result<()> {
    let faulty = FaultyHub::start()?;
    let (alice, _) = alice_behind(&faulty)?;
    let state = alice.scratch("state");
    fill(&state, 1, MIB, 1)?;
    faulty.to_bucket.fail(SLOW_DOWN);
    share_at_once(&alice, &state)?;
    let mut wait = alice.spawn(&["share", "orders", "--wait"], &[])?;
    let said = first_said(&mut wait)?;
    ensure!(
        said.starts_with("the bucket can't ") && said.contains("HTTP 503, SlowDown"),
        "{said}"
    );
    faulty.to_bucket.heal();
    let shared = finish(wait)?.ok()?;
    ensure!(shared["durable"] == true, "{shared}");
    Ok(())
}

#[test]
fn what_is_shared_while_the_hub_fails_is_in_the_bucket_once_it_is_back() -> Result<()> {
    let faulty = FaultyHub::start()?;
    let (alice, ticket) = alice_behind(&faulty)?;
    let state = alice.scratch("state");
    for (round, fault) in [Fault::HangUp, BROKEN, Fault::CutDown(40), Fault::CutUp(100)]
        .into_iter()
        .enumerate()
    {
        fill(&state, 2, MIB, round as u64)?;
        faulty.to_hub.fail(fault);
        let saved = share_at_once(&alice, &state)?;
        ensure!(saved["shared"]["durable"] == false, "{fault:?}: {saved}");
        let mut wait = alice.spawn(&["share", "orders", "--wait"], &[])?;
        // No hub answers as this fault does.
        let beginning = if fault == BROKEN {
            "waiting: a proxy or another server answers at the hub's address "
        } else {
            "waiting: the hub at "
        };
        says_what_it_waits_for(&mut wait, beginning)?;
        ensure!(waiting(&alice)? != 0, "{fault:?}");
        faulty.to_hub.heal();
        let shared = finish(wait)?.ok()?;
        ensure!(shared["durable"] == true, "{fault:?}: {shared}");
    }
    bob_has(&ticket, &state)
}

#[test]
fn a_pull_from_a_hub_that_fails_says_so_and_the_next_one_works() -> Result<()> {
    let faulty = FaultyHub::start()?;
    let (mut alice, ticket) = alice_behind(&faulty)?;
    let state = alice.scratch("state");
    fill(&state, 2, MIB, 1)?;
    share(&alice, &state)?;
    alice.stop()?;
    let bob = alone("bob")?;
    bob.join(&ticket)?.ok()?;
    let pull = ["pull", "orders", "--source", "bucket"];
    // The last one is an extremely slow hub.
    for fault in [BROKEN, Fault::HangUp, Fault::StallDown(0)] {
        faulty.to_hub.fail(fault);
        let message = bob.run(&pull)?.failed(UNREACHABLE)?;
        let address = faulty.to_hub.url();
        let host = address.trim_start_matches("http://");
        ensure!(message.contains(host), "{fault:?}: {message}");
        let by_another = message.contains("and not the hub: status 500");
        ensure!(by_another || fault != BROKEN, "{message}");
        faulty.to_hub.heal();
    }
    bob.run(&pull)?.ok()?;
    exported_is(&bob, "orders", &state)?;
    // What is here needs no hub.
    faulty.to_hub.fail(Fault::HangUp);
    bob.run(&["pull", "orders"])?.ok()?;
    Ok(())
}

#[test]
fn an_upload_that_the_bucket_fails_is_no_version_yet_and_goes_on() -> Result<()> {
    let faulty = FaultyHub::start()?;
    let (alice, ticket) = alice_behind(&faulty)?;
    let state = alice.scratch("state");
    for (round, fault) in [
        Fault::HangUp,
        SLOW_DOWN,
        Fault::CutUp(MIB as u64),
        Fault::CutDown(10),
        Fault::StallDown(0),
    ]
    .into_iter()
    .enumerate()
    {
        fill(&state, 3, MIB, round as u64)?;
        faulty.to_bucket.fail(fault);
        let heads = faulty.hub.objects("heads")?;
        share_at_once(&alice, &state)?;
        let wait = alice.spawn(&["share", "orders", "--wait"], &[])?;
        faulty.to_bucket.wait_for(1);
        ensure!(waiting(&alice)? != 0, "{fault:?}");
        ensure!(
            faulty.hub.objects("heads")? == heads,
            "{fault:?}: committed"
        );
        faulty.to_bucket.heal();
        let shared = finish(wait)?.ok()?;
        ensure!(shared["durable"] == true, "{fault:?}: {shared}");
    }
    bob_has(&ticket, &state)
}

#[test]
fn a_url_that_expired_is_asked_for_again_once() -> Result<()> {
    let faulty = FaultyHub::start()?;
    let (alice, ticket) = alice_behind(&faulty)?;
    let state = alice.scratch("state");
    fill(&state, 2, MIB, 1)?;
    faulty.to_bucket.fail_times(1, EXPIRED);
    share(&alice, &state)?;
    faulty.to_bucket.wait_for(1);
    let bob = alone("bob")?;
    bob.join(&ticket)?.ok()?;
    faulty.to_bucket.fail_times(1, EXPIRED);
    bob.run(&["pull", "orders", "--source", "bucket"])?.ok()?;
    faulty.to_bucket.wait_for(1);
    exported_is(&bob, "orders", &state)?;
    // A bucket that refuses all of them is nothing to wait for.
    fill(&state, 2, MIB, 2)?;
    faulty.to_bucket.fail(EXPIRED);
    share_at_once(&alice, &state)?;
    let message = alice
        .run(&["share", "orders", "--wait"])?
        .failed(UNREACHABLE)?;
    ensure!(
        message.contains("403")
            && message.contains("the hub's operator")
            && message.contains("Shared orders:2, but"),
        "{message}"
    );
    faulty.to_bucket.heal();
    alice.run(&["share", "orders", "--wait"])?.ok()?;
    bob.run(&["pull", "orders", "--source", "bucket"])?.ok()?;
    exported_is(&bob, "orders", &state)
}

#[test]
fn a_download_that_the_bucket_fails_goes_on_where_it_stopped() -> Result<()> {
    let faulty = FaultyHub::start()?;
    let (mut alice, ticket) = alice_behind(&faulty)?;
    let state = alice.scratch("state");
    fill(&state, 3, 8 * MIB, 1)?;
    share(&alice, &state)?;
    alice.stop()?;
    for (round, fault) in [
        Fault::HangUp,
        SLOW_DOWN,
        EXPIRED,
        Fault::CutDown(500),
        Fault::StallDown(3 * MIB as u64),
    ]
    .into_iter()
    .enumerate()
    {
        let bob = alone(&format!("bob{round}"))?;
        bob.join(&ticket)?.ok()?;
        faulty.to_bucket.fail(fault);
        let pull = ["pull", "orders", "--source", "bucket"];
        let message = bob
            .run(&[&pull[..], &["--wait", "1s"]].concat())?
            .failed(UNREACHABLE)?;
        ensure!(
            message.contains("bucket") && message.contains("missing"),
            "{fault:?}: {message}"
        );
        let words = match fault {
            SLOW_DOWN => Some("503, SlowDown: Please reduce your request rate."),
            EXPIRED => Some("403, AccessDenied: Request has expired"),
            _ => None,
        };
        ensure!(
            words.is_none_or(|words| message.contains(words) && !message.contains("went away")),
            "{fault:?}: {message}"
        );
        faulty.to_bucket.heal();
        bob.run(&pull)?.ok()?;
        exported_is(&bob, "orders", &state)?;
    }
    // Cut again and again, it gets there by itself.
    let bob = alone("bob")?;
    bob.join(&ticket)?.ok()?;
    faulty.to_bucket.fail(Fault::CutDown(2 * MIB as u64));
    bob.run(&["pull", "orders", "--source", "bucket"])?.ok()?;
    faulty.to_bucket.wait_for(8);
    faulty.to_bucket.heal();
    exported_is(&bob, "orders", &state)
}

#[test]
fn a_bucket_that_stalls_is_left_for_a_teammate() -> Result<()> {
    let faulty = FaultyHub::start()?;
    let (alice, ticket) = alice_behind(&faulty)?;
    let state = alice.scratch("state");
    fill(&state, 3, 4 * MIB, 1)?;
    share(&alice, &state)?;
    let mut bob = alone("bob")?;
    bob.join(&ticket)?.ok()?;
    bob.stop()?;
    faulty.to_bucket.fail(Fault::StallDown(MIB as u64));
    bob.start(&[&alice])?;
    let pulled = bob.run(&["pull", "orders", "--wait", "60s"])?.ok()?;
    ensure!(pulled["sources"].to_string().contains("alice"), "{pulled}");
    exported_is(&bob, "orders", &state)
}

#[test]
fn a_bucket_that_nobody_could_ask_is_not_accused() -> Result<()> {
    let mut hub = Hub::start()?;
    let mut alice = alice_with(&hub)?;
    let ticket = alice.invite(&[])?;
    let state = alice.scratch("state");
    fill(&state, 3, 4 * MIB, 1)?;
    share(&alice, &state)?;
    alice.stop()?;
    let bob = alone("bob")?;
    bob.join(&ticket)?.ok()?;
    bob.run(&["list"])?.ok()?;
    hub.kill()?;
    let message = bob
        .run(&["pull", "orders", "--wait", "1s"])?
        .failed(UNREACHABLE)?;
    ensure!(
        message.contains("nobody who is online has orders:1 (")
            && message.contains("can't be reached"),
        "{message}"
    );
    ensure!(!message.contains("went away"), "{message}");
    Ok(())
}

#[test]
fn packs_that_vanished_from_the_bucket_are_named_and_a_teammate_has_them() -> Result<()> {
    let hub = Hub::start()?;
    let mut alice = alice_with(&hub)?;
    let (ticket, for_carol) = (alice.invite(&[])?, alice.invite(&[])?);
    let state = alice.scratch("state");
    fill(&state, 3, 4 * MIB, 1)?;
    share(&alice, &state)?;
    for pack in hub.objects("packs")? {
        if !pack.is_dir() && std::fs::metadata(&pack)?.len() > MIB as u64 {
            std::fs::remove_file(&pack)?;
        }
    }
    alice.stop()?;
    let mut bob = alone("bob")?;
    bob.join(&ticket)?.ok()?;
    let message = bob
        .run(&["pull", "orders", "--wait", "2s"])?
        .failed(UNREACHABLE)?;
    ensure!(
        message.contains("nobody who is online has orders:1 (")
            && message.contains("the team's bucket lacks"),
        "{message}"
    );
    let message = bob
        .run(&["pull", "orders", "--source", "bucket", "--wait", "2s"])?
        .failed(UNREACHABLE)?;
    ensure!(message.contains("the team's bucket lacks"), "{message}");
    alice.start(&[])?;
    bob.stop()?;
    bob.start(&[&alice])?;
    let pulled = bob.run(&["pull", "orders", "--wait", "60s"])?.ok()?;
    ensure!(pulled["sources"].to_string().contains("alice"), "{pulled}");
    exported_is(&bob, "orders", &state)?;
    // The next version is shared as if nothing were wrong: what it needs of the old ones is brought again.
    for outboards in hub.objects("outboards")? {
        std::fs::remove_file(outboards)?;
    }
    change_file(&state.join("file-00001.bin"), MIB as u64, MIB, 5)?;
    share(&alice, &state)?;
    alice.stop()?;
    bob.stop()?;
    carol_has(&for_carol, &state)
}

#[test]
fn two_devices_bring_the_same_packs_at_once() -> Result<()> {
    let mut hub = Hub::start()?;
    let alice = alice_with(&hub)?;
    let (for_bob, for_carol) = (alice.invite(&[])?, alice.invite(&[])?);
    let mut bob = Home::new("bob")?;
    bob.start(&[&alice])?;
    bob.join(&for_bob)?.ok()?;
    hub.kill()?;
    let state = alice.scratch("state");
    fill(&state, 3, 8 * MIB, 1)?;
    share_at_once(&alice, &state)?;
    bob.run(&["pull", "orders"])?.ok()?;
    let his = bob.scratch("state");
    bob.run(&["export", "orders", &his.to_string_lossy()])?
        .ok()?;
    change_file(&his.join("file-00001.bin"), MIB as u64, MIB, 5)?;
    share_at_once(&bob, &his)?;
    hub.run()?;
    let jobs = [
        alice.spawn(&["share", "orders:1", "--wait"], &[])?,
        bob.spawn(&["share", "orders:2", "--wait"], &[])?,
    ];
    for job in jobs {
        ensure!(finish(job)?.ok()?["durable"] == true);
    }
    let carol = alone("carol")?;
    carol.join(&for_carol)?.ok()?;
    for (reference, state) in [("orders:1", &state), ("orders:2", &his)] {
        carol
            .run(&["pull", reference, "--source", "bucket"])?
            .ok()?;
        exported_is(&carol, reference, state)?;
    }
    Ok(())
}

#[test]
fn a_full_disk_at_the_bucket_is_told_and_dropping_goes_on() -> Result<()> {
    let Some(hub) = Hub::on_small_disk(24 * MIB as u64)? else {
        return Ok(());
    };
    let alice = alice_with(&hub)?;
    let ticket = alice.invite(&[])?;
    let state = alice.scratch("state");
    fill(&state, 2, 4 * MIB, 1)?;
    share(&alice, &state)?;
    let large = alice.scratch("large");
    fill(&large, 3, 10 * MIB, 2)?;
    share_at_once(&alice, &large)?;
    let message = alice.run(&["share", "orders:2", "--wait"])?.failed(DISK)?;
    ensure!(message.contains("full"), "{message}");
    ensure!(waiting(&alice)? == 1);
    // What was there is as it was.
    let bob = alone("bob")?;
    bob.join(&ticket)?.ok()?;
    bob.run(&["pull", "orders:1", "--source", "bucket"])?.ok()?;
    exported_is(&bob, "orders:1", &state)?;
    alice.run(&["drop", "orders:2"])?.ok()?;
    change_file(&state.join("file-00001.bin"), MIB as u64, MIB, 5)?;
    share(&alice, &state)?;
    ensure!(waiting(&alice)? == 0);
    Ok(())
}

#[test]
fn more_than_the_quota_is_refused_before_a_byte_is_sent() -> Result<()> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    let team = team_of(&alice)?;
    let hubs = Replicas::start_with(&team, 1, &format!("quota_bytes = {}\n", 8 * MIB))?;
    alice.run(&["team", "set-hub", &hubs.url()])?.ok()?;
    let state = alice.scratch("state");
    fill(&state, 3, 4 * MIB, 1)?;
    share_at_once(&alice, &state)?;
    let message = alice.run(&["share", "orders:1", "--wait"])?.failed(DISK)?;
    ensure!(message.contains("podsync uploaded nothing"), "{message}");
    ensure!(hubs.objects("packs")?.is_empty());
    alice.run(&["drop", "orders:1"])?.ok()?;
    fill(&state, 1, MIB, 2)?;
    std::fs::remove_file(state.join("file-00001.bin"))?;
    std::fs::remove_file(state.join("file-00002.bin"))?;
    share(&alice, &state).map(drop)
}

#[test]
fn a_hub_that_is_killed_beside_another_is_not_missed() -> Result<()> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    let mut hubs = Replicas::start(&team_of(&alice)?, 2)?;
    let set = alice.run(&["team", "set-hub", &hubs.url()])?.ok()?;
    ensure!(set["witnesses"] == true, "{set}");
    let (for_bob, for_carol) = (alice.invite(&[])?, alice.invite(&[])?);
    let state = alice.scratch("state");
    fill(&state, 5, 16 * MIB, 1)?;
    let from = state.to_string_lossy().into_owned();
    let save = alice.spawn(
        &["save", "orders", "--share", "--wait", "--from", &from],
        &[],
    )?;
    // In the middle: some of it is there.
    while hubs.objects("packs")?.is_empty() {}
    hubs.kill(0)?;
    let saved = finish(save)?.ok()?;
    ensure!(saved["shared"]["durable"] == true, "{saved}");
    alice.stop()?;
    // The other way round.
    hubs.revive()?;
    for (name, ticket, killed) in [("bob", for_bob, 1), ("carol", for_carol, 0)] {
        let home = alone(name)?;
        home.join(&ticket)?.ok()?;
        let pull = home.spawn(&["pull", "orders", "--source", "bucket"], &[])?;
        let before = hubs.connections();
        while hubs.connections() == before {}
        hubs.kill(killed)?;
        let pulled = finish(pull)?.ok()?;
        ensure!(pulled["sources"][0]["name"] == "the bucket", "{pulled}");
        exported_is(&home, "orders", &state)?;
        hubs.revive()?;
    }
    Ok(())
}

#[test]
fn a_hub_whose_keys_ended_is_told_and_goes_on_with_new_ones() -> Result<()> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    let mut hubs = Replicas::start(&team_of(&alice)?, 1)?;
    alice.run(&["team", "set-hub", &hubs.url()])?.ok()?;
    let ticket = alice.invite(&[])?;
    let state = alice.scratch("state");
    fill(&state, 2, MIB, 1)?;
    share(&alice, &state)?;
    hubs.lose_keys()?;
    fill(&state, 2, MIB, 2)?;
    share_at_once(&alice, &state)?;
    let message = alice
        .run(&["pull", "orders:1", "--source", "bucket"])?
        .failed(UNREACHABLE)?;
    ensure!(message.contains("refuses the hub"), "{message}");
    // Nothing is to be waited for until the operator has changed something.
    let message = alice
        .run(&["share", "orders", "--wait"])?
        .failed(UNREACHABLE)?;
    ensure!(
        message.contains("refuses the hub") && message.contains("Shared orders:2, but"),
        "{message}"
    );
    hubs.kill(0)?;
    hubs.revive()?;
    alice.run(&["share", "orders", "--wait"])?.ok()?;
    bob_has(&ticket, &state)
}

fn team_of(home: &Home) -> Result<String> {
    let status = home.run(&["status"])?.ok()?;
    let id = status["teams"][0]["id"].as_str().map(str::to_owned);
    id.context("no team")
}

#[test]
fn who_was_removed_learns_nothing_from_the_hub() -> Result<()> {
    let hub = Hub::start()?;
    let alice = alice_with(&hub)?;
    let ticket = alice.invite(&[])?;
    let state = alice.scratch("state");
    fill(&state, 2, MIB, 1)?;
    share(&alice, &state)?;
    let mut bob = alone("bob")?;
    bob.join(&ticket)?.ok()?;
    bob.run(&["pull", "orders"])?.ok()?;
    bob.stop()?;
    alice.run(&["team", "remove", "bob", "--yes"])?.ok()?;
    fill(&state, 2, MIB, 2)?;
    share(&alice, &state)?;
    bob.start(&[])?;
    let message = bob
        .run(&["pull", "orders", "--source", "bucket"])?
        .failed(FORBIDDEN)?;
    ensure!(
        message.contains("admin") || message.contains("member"),
        "{message}"
    );
    bob.run(&["versions", "orders"])?.ok()?;
    let his = bob.scratch("state");
    fill(&his, 1, MIB, 3)?;
    let before = hub.objects("packs")?.len();
    let from = his.to_string_lossy().into_owned();
    // He may not know of it yet. Then his versions stay local.
    bob.run(&["save", "orders", "--share", "--from", &from])?;
    bob.run(&["share", "orders", "--wait"])?.failed(FORBIDDEN)?;
    ensure!(hub.objects("packs")?.len() == before, "he uploaded");
    Ok(())
}

#[test]
fn what_somebody_else_dropped_first_holds_up_nothing() -> Result<()> {
    let mut hub = Hub::start()?;
    let mut alice = alice_with(&hub)?;
    let for_bob = alice.invite(&["--role", "admin"])?;
    let for_carol = alice.invite(&[])?;
    let mut bob = Home::new("bob")?;
    bob.start(&[&alice])?;
    bob.join(&for_bob)?.ok()?;
    hub.kill()?;
    let state = alice.scratch("state");
    fill(&state, 2, MIB, 1)?;
    share_at_once(&alice, &state)?;
    bob.run(&["pull", "orders"])?.ok()?;
    bob.run(&["drop", "orders:1"])?.ok()?;
    let listed = || -> Result<bool> {
        let list = alice.run(&["list"])?.ok()?;
        Ok(list.as_array().is_some_and(Vec::is_empty))
    };
    while !listed()? {}
    // Unlisted data is deleted at a start at the latest.
    alice.stop()?;
    alice.start(&[&bob])?;
    alice.run(&["gc"])?.ok()?;
    hub.run()?;
    fill(&state, 2, MIB, 2)?;
    share(&alice, &state)?;
    let carol = alone("carol")?;
    carol.join(&for_carol)?.ok()?;
    carol
        .run(&["pull", "orders:2", "--source", "bucket"])?
        .ok()?;
    exported_is(&carol, "orders:2", &state)
}

#[test]
fn another_hub_gets_everything() -> Result<()> {
    let (mut old, new) = (Hub::start()?, Hub::start()?);
    let mut alice = alice_with(&old)?;
    let state = alice.scratch("state");
    fill(&state, 2, MIB, 1)?;
    share(&alice, &state)?;
    alice.run(&["drop", "orders:1"])?.ok()?;
    alice.run(&["gc"])?.ok()?;
    fill(&state, 2, MIB, 2)?;
    share(&alice, &state)?;
    old.kill()?;
    alice.run(&["team", "set-hub", &new.url()])?.ok()?;
    alice.run(&["share", "orders:2", "--wait"])?.ok()?;
    let ticket = alice.invite(&[])?;
    alice.stop()?;
    bob_has(&ticket, &state)
}

#[test]
fn two_teams_of_one_home_have_a_bucket_each() -> Result<()> {
    let hub = Hub::start()?;
    let alice = alice_with(&hub)?;
    alice.found("warehouse")?;
    alice
        .run(&["team", "set-hub", &hub.url(), "--team", "warehouse"])?
        .ok()?;
    let state = alice.scratch("state");
    let from = state.to_string_lossy().into_owned();
    let mut tickets = Vec::new();
    for (seed, team) in [(1, "payments"), (2, "warehouse")] {
        fill(&state, 2, MIB, seed)?;
        alice
            .run(&[
                "save", "orders", "--share", "--wait", "--from", &from, "--team", team,
            ])?
            .ok()?;
        tickets.push(alice.invite(&["--team", team])?);
    }
    bob_has(&tickets[1], &state)?;
    let bob = alone("bob")?;
    bob.join(&tickets[0])?.ok()?;
    let pulled = bob.run(&["pull", "orders", "--source", "bucket"])?.ok()?;
    let theirs = alice
        .run(&["versions", "orders", "--team", "payments"])?
        .ok()?;
    ensure!(pulled["version"] == theirs[0]["id"], "{pulled} {theirs}");
    Ok(())
}

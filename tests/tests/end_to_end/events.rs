//! `GET /v1/events`: listeners get every event.

use anyhow::{Context, Result, ensure};
use podsync_tests::kit::{Events, FakeEmulator, Home, Member, fill, zip};
use serde_json::Value;

use crate::share::alice_and_bob;

const MIB: usize = 1 << 20;
/// Streams that a daemon serves at once.
const MAX_STREAMS: usize = 64;

/// Shares a state of so many files.
pub(crate) fn share(home: &Home, pod: &str, files: usize) -> Result<()> {
    let state = home.scratch(&format!("{pod}-{files}"));
    fill(&state, files, MIB, files as u64)?;
    let from = state.to_string_lossy().into_owned();
    home.run(&["save", pod, "-m", "see here", "--share", "--from", &from])?
        .ok()
        .map(drop)
}

fn has(event: &Value, fields: &[(&str, Value)]) -> Result<()> {
    for (name, value) in fields {
        ensure!(event[name] == *value, "{name} is not {value}: {event}");
    }
    Ok(())
}

#[test]
fn what_a_team_does_is_told_to_whoever_listens() -> Result<()> {
    let (alice, mut bob) = alice_and_bob()?;
    let (mut at_alice, mut at_bob) = (alice.listen(None)?, bob.listen(None)?);

    share(&alice, "orders", 3)?;
    let orders = |more: &[(&'static str, Value)]| {
        [
            &[
                ("team", Value::from("payments")),
                ("pod", "orders".into()),
                ("reference", "orders:1".into()),
            ],
            more,
        ]
        .concat()
    };
    has(
        &at_alice.wait_for("saved")?,
        &[("message", "see here".into())],
    )?;
    let own = [("this_device", true.into()), ("author", "alice".into())];
    has(&at_alice.wait_for("shared")?, &orders(&own))?;
    let heard = at_bob.wait_for("shared")?;
    let theirs = [
        ("this_device", false.into()),
        ("author", "alice".into()),
        ("message", "see here".into()),
        ("number", 1.into()),
    ];
    has(&heard, &orders(&theirs))?;

    bob.run(&["pull", "orders"])?.ok()?;
    let begun = at_bob.wait_for("transfer")?;
    has(&begun, &orders(&[("direction", "pull".into())]))?;
    ensure!(begun["id"].is_null(), "nobody can come back to it: {begun}");
    let mut last = begun;
    let pulled = loop {
        match at_bob.next_one()?.context("the events ended")? {
            moved if moved["kind"] == "transfer" => last = moved,
            pulled if pulled["kind"] == "pulled" => break pulled,
            _ => {}
        }
    };
    has(&last, &[("state", "done".into())])?;
    ensure!(last["bytes"] == last["of"], "{last}");
    has(&pulled, &orders(&[("author", "alice".into())]))?;
    ensure!(pulled["fetched"].as_u64() >= Some(3 * MIB as u64));

    alice.run(&["tag", "orders:1", "baseline"])?.ok()?;
    let tagged = at_bob.wait_for("tagged")?;
    has(&tagged, &orders(&[("tag", "baseline".into())]))?;
    alice.run(&["drop", "orders:1"])?.ok()?;
    let dropped = at_bob.wait_for("dropped")?;
    has(&dropped, &orders(&[("shared", true.into())]))?;
    ensure!(
        dropped["by"]
            .as_str()
            .is_some_and(|by| by.starts_with("alice/"))
    );

    let mut carol = Home::new("carol")?;
    carol.start(&[&alice])?;
    carol.join(&alice.invite(&[])?)?.ok()?;
    let joined = at_bob.wait_for("joined")?;
    has(
        &joined,
        &[("member", "carol".into()), ("role", "publisher".into())],
    )?;
    alice.run(&["team", "remove", "carol", "--yes"])?.ok()?;
    has(
        &at_bob.wait_for("removed")?,
        &[("device", joined["device"].clone())],
    )?;

    bob.stop()?;
    ensure!(
        at_bob.next_one().is_ok(),
        "a stream ends with the daemon in good order"
    );
    let gone = at_alice.wait_for("peer")?;
    ensure!(gone["name"].is_string(), "{gone}");
    Ok(())
}

#[test]
fn a_load_and_a_drop_of_what_is_private_are_told() -> Result<()> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    let mut events = alice.listen(None)?;
    let emulator = FakeEmulator::start(&zip(&[Member::stored("s3/buckets", &[1; 5000])]))?;
    let endpoint = emulator.endpoint();
    for command in ["save", "load"] {
        alice
            .run(&[command, "orders", "--endpoint", &endpoint])?
            .ok()?;
    }
    let loaded = events.wait_for("loaded")?;
    has(
        &loaded,
        &[
            ("reference", "orders:+1".into()),
            ("endpoint", endpoint.as_str().into()),
            ("checkpoint", "checkpoint:+1".into()),
        ],
    )?;
    alice.run(&["undo", "--endpoint", &endpoint])?.ok()?;
    has(
        &events.wait_for("loaded")?,
        &[("reference", "checkpoint:+1".into())],
    )?;
    alice.run(&["drop", "orders:+1"])?.ok()?;
    has(
        &events.wait_for("dropped")?,
        &[("shared", false.into()), ("this_device", true.into())],
    )
}

#[test]
fn who_comes_back_hears_what_it_missed() -> Result<()> {
    let (alice, mut bob) = alice_and_bob()?;
    share(&alice, "orders", 1)?;
    // Bob has heard of it before he listens.
    bob.run(&["pull", "orders"])?.ok()?;
    let mut first = bob.listen(None)?;
    // One that was cut off before anything happened knows where it was too.
    let begin = first.last_id().to_owned();
    share(&alice, "billing", 1)?;
    let heard = first.wait_for("shared")?;
    ensure!(heard["id"] == first.last_id(), "{heard}");
    let after_billing = first.last_id().to_owned();
    drop(first);
    share(&alice, "users", 1)?;

    let mut again = bob.listen(Some(&after_billing))?;
    has(&again.wait_for("shared")?, &[("pod", "users".into())])?;
    let mut from_the_start = bob.listen(Some(&begin))?;
    has(
        &from_the_start.wait_for("shared")?,
        &[("pod", "billing".into())],
    )?;

    // Another run of the daemon knows nothing of it, and says so before all else.
    bob.stop()?;
    bob.start(&[&alice])?;
    let mut other_run = bob.listen(Some(&after_billing))?;
    let missed = other_run.next_one()?.context("the events ended")?;
    has(&missed, &[("kind", "missed".into())])?;
    share(&alice, "carts", 1)?;
    has(&other_run.wait_for("shared")?, &[("pod", "carts".into())])
}

#[test]
fn ids_that_are_none_are_told_as_missed_and_streams_are_counted() -> Result<()> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    for id in ["x", "00000000-0", "-1", &"9".repeat(5000), "\u{fc}"] {
        let first = alice.listen(Some(id))?.next_one()?;
        ensure!(
            first.is_some_and(|event| event["kind"] == "missed"),
            "{id:?}"
        );
    }
    let (status, _) = alice.post("events", &serde_json::json!({}))?;
    ensure!(status == 405, "{status}");
    // Closed streams have freed their places; a stream too many is refused with a hint.
    let mut streams: Vec<Events> = Vec::new();
    let refused = loop {
        match alice.listen(None) {
            Ok(stream) => streams.push(stream),
            Err(refused) => break refused,
        }
    };
    ensure!(streams.len() == MAX_STREAMS, "{}", streams.len());
    ensure!(refused.to_string().contains("409"), "{refused}");
    alice.run(&["status"])?.ok()?;
    Ok(())
}

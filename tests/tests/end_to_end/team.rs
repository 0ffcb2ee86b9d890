//! Who is in and who isn't.

use anyhow::Result;
use podsync_tests::kit::{Home, fill};

use crate::share::alice_and_bob;

const TICKET: i32 = 13;
const NOT_FOUND: i32 = 3;

#[test]
fn a_ticket_is_good_once() -> Result<()> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    let ticket = alice.invite(&["--uses", "1"])?;
    let mut bob = Home::new("bob")?;
    bob.start(&[&alice])?;
    bob.join(&ticket)?.ok()?;
    let mut carol = Home::new("carol")?;
    carol.start(&[&alice])?;
    carol.join(&ticket)?.failed(TICKET)?;
    let members = alice.run(&["team", "members"])?.ok()?;
    assert_eq!(members.as_array().map_or(0, Vec::len), 2);
    Ok(())
}

#[test]
fn a_mistyped_or_expired_ticket_is_refused() -> Result<()> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    let ticket = alice.invite(&["--expires", "0s"])?;
    let mut bob = Home::new("bob")?;
    bob.start(&[&alice])?;
    bob.join(&ticket)?.failed(TICKET)?;
    let mut typo = ticket.clone();
    typo.replace_range(30..31, if &ticket[30..31] == "a" { "b" } else { "a" });
    bob.join(&typo)?.failed(TICKET)?;
    bob.join("hello")?.failed(TICKET)?;
    Ok(())
}

#[test]
fn who_is_removed_neither_pulls_nor_shares() -> Result<()> {
    let (alice, bob) = alice_and_bob()?;
    alice.run(&["team", "remove", "bob"])?.ok()?;
    let state = alice.scratch("state");
    fill(&state, 2, 100_000, 1)?;
    alice
        .run(&[
            "save",
            "orders",
            "--share",
            "--from",
            &state.to_string_lossy(),
        ])?
        .ok()?;
    let pulled = bob.run(&["pull", "orders", "--wait", "1s"])?;
    assert_ne!(pulled.code, Some(0), "{pulled:?}");
    // He may not have heard of it yet; what he shares counts for nobody all the same.
    bob.run(&["save", "own", "--share", "--from", &state.to_string_lossy()])?;
    let answer = alice.run(&["show", "own"])?;
    assert_eq!(answer.code, Some(NOT_FOUND), "{answer:?}");
    Ok(())
}

#[test]
fn a_stranger_sees_nothing() -> Result<()> {
    let (alice, _bob) = alice_and_bob()?;
    let state = alice.scratch("state");
    fill(&state, 2, 100_000, 1)?;
    alice
        .run(&[
            "save",
            "orders",
            "--share",
            "--from",
            &state.to_string_lossy(),
        ])?
        .ok()?;
    let mut mallory = Home::new("mallory")?;
    mallory.found("others")?;
    mallory.start(&[&alice])?;
    let pulled = mallory.run(&["pull", "orders", "--wait", "1s"])?;
    assert_eq!(pulled.code, Some(3), "{pulled:?}");
    let list = mallory.run(&["list"])?.ok()?;
    assert_eq!(list.as_array().map_or(1, Vec::len), 0);
    Ok(())
}

#[test]
fn one_daemon_a_home_and_a_clean_stop() -> Result<()> {
    let mut alice = Home::new("alice")?;
    alice.start(&[])?;
    let id = alice.daemon_id().unwrap_or_default().to_string();
    let message = alice
        .run(&["daemon", "--listen", "127.0.0.1:0"])?
        .failed(11)?;
    assert!(message.contains(&id), "{message}");
    assert_eq!(alice.stop()?, Some(0));
    Ok(())
}

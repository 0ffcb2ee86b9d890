//! Members and removed devices.

use anyhow::{Result, ensure};
use podsync_tests::kit::{Home, fill};

use crate::share::alice_and_bob;

const INVALID: i32 = 2;
const TICKET: i32 = 13;
const NOT_FOUND: i32 = 3;
const FORBIDDEN: i32 = 5;
const UNREACHABLE: i32 = 7;

#[test]
fn a_new_machine_founds_or_joins_a_team_with_one_command() -> Result<()> {
    let mut alice = Home::uninitialised("alice")?;
    alice.run(&["list"])?.failed(NOT_FOUND)?;
    alice.found("payments")?;
    alice.start(&[])?;
    let bob = Home::uninitialised("bob")?;
    bob.join(&alice.invite(&[])?)?.ok()?;
    let members = bob.run(&["team", "members"])?.ok()?;
    assert_eq!(members.as_array().map_or(0, Vec::len), 2);
    Ok(())
}

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
    let ticket = alice.expired_ticket()?;
    let mut bob = Home::new("bob")?;
    bob.start(&[&alice])?;
    bob.join(&ticket)?.failed(TICKET)?;
    let mut typo = ticket.clone();
    typo.replace_range(30..31, if &ticket[30..31] == "a" { "b" } else { "a" });
    bob.join(&typo)?.failed(TICKET)?;
    bob.join("hello")?.failed(TICKET)?;
    Ok(())
}

/// The daemon says so to every client; one that asks for no time at all is told by the command line already.
#[test]
fn a_ticket_that_nobody_could_use_in_time_is_not_made() -> Result<()> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    for time in ["1ms", "59s"] {
        let told = alice
            .run(&["team", "invite", "--expires", time])?
            .failed(INVALID)?;
        ensure!(
            told.contains("60 s") && told.contains("--expires"),
            "{told}"
        );
    }
    let told = alice
        .run(&["team", "invite", "--expires", "999999999d"])?
        .failed(INVALID)?;
    ensure!(told.contains("the most is 366 days"), "{told}");
    let call = serde_json::json!({ "role": "publisher", "expires_s": 0, "uses": 1 });
    let (status, answer) = alice.post("teams/-/invite", &call)?;
    ensure!(
        status == 400 && answer["code"] == "invalid",
        "{status} {answer}"
    );
    let open = alice.run(&["team", "invite", "list"])?.ok()?;
    ensure!(open.as_array().is_some_and(Vec::is_empty), "{open}");
    alice.invite(&["--expires", "1m"])?;
    Ok(())
}

#[test]
fn who_is_removed_neither_pulls_nor_shares() -> Result<()> {
    let (alice, bob) = alice_and_bob()?;
    alice.run(&["team", "remove", "bob", "--yes"])?.ok()?;
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
    // The device that refuses him shows him why.
    let message = bob
        .run(&["pull", "orders", "--wait", "60s"])?
        .failed(FORBIDDEN)?;
    ensure!(
        message.contains("no member of team payments any more"),
        "{message}"
    );
    let status = bob.run(&["status"])?.ok()?;
    ensure!(status["teams"][0]["role"].is_null(), "{status}");
    bob.run(&["save", "own", "--share", "--from", &state.to_string_lossy()])?
        .failed(FORBIDDEN)?;
    let answer = alice.run(&["show", "own"])?;
    assert_eq!(answer.code, Some(NOT_FOUND), "{answer:?}");
    // One answer everywhere, also with a good ticket and for what was shared before.
    let ticket = alice.invite(&[])?;
    for command in [
        &["share", "own"][..],
        &["share", "orders"],
        &["team", "leave", "--yes"],
        &["team", "invite"],
        &["team", "join", &ticket, "--as", "bob"],
    ] {
        let answer = bob.run(command)?;
        let hint = answer.json["error"]["hint"].to_string();
        ensure!(hint.contains("--home"), "{command:?}: {answer:?}");
        let message = answer.failed(FORBIDDEN)?;
        ensure!(
            message.contains("no member of team payments any more"),
            "{command:?}: {message}"
        );
    }
    Ok(())
}

#[test]
fn the_name_of_somebody_removed_is_told_as_that() -> Result<()> {
    let (alice, _bob) = alice_and_bob()?;
    alice.run(&["team", "remove", "bob", "--yes"])?.ok()?;
    let ticket = alice.invite(&[])?;
    let mut another = Home::new("bob")?;
    another.start(&[&alice])?;
    let answer = another.run(&["team", "join", &ticket, "--as", "bob"])?;
    let hint = answer.json["error"]["hint"].to_string();
    ensure!(hint.contains("--as"), "{answer:?}");
    let message = answer.failed(TICKET)?;
    ensure!(message.contains("was removed"), "{message}");
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

/// Alice's team with bob and carol in it, all daemons up.
fn three() -> Result<(Home, Home, Home)> {
    let (alice, bob) = alice_and_bob()?;
    let mut carol = Home::new("carol")?;
    carol.start(&[&alice, &bob])?;
    carol.join(&alice.invite(&[])?)?.ok()?;
    Ok((alice, bob, carol))
}

/// The members of the team as `home` knows them.
fn members(home: &Home) -> Result<Vec<String>> {
    let members = home.run(&["team", "members"])?.ok()?;
    let names = members.as_array().into_iter().flatten();
    Ok(names
        .filter_map(|member| member["member"].as_str().map(str::to_owned))
        .collect())
}

#[test]
fn a_removal_that_was_not_heard_of_holds_once_it_is() -> Result<()> {
    let (mut alice, mut bob, mut carol) = three()?;
    let state = alice.scratch("state");
    fill(&state, 2, 100_000, 1)?;
    let from = state.to_string_lossy().into_owned();
    bob.run(&["save", "before", "--share", "--from", &from])?
        .ok()?;
    alice.run(&["pull", "before"])?.ok()?;
    bob.stop()?;
    carol.stop()?;
    alice.run(&["team", "remove", "bob", "--yes"])?.ok()?;
    alice.stop()?;
    // Neither knows of the removal: to the two of them bob is still a member.
    carol.start(&[])?;
    bob.start(&[&carol])?;
    bob.run(&["save", "after", "--share", "--from", &from])?
        .ok()?;
    carol.run(&["pull", "after"])?.ok()?;
    // Alice is back: what bob shared before counts, what he shared since does not.
    alice.start(&[&carol])?;
    while members(&carol)?.contains(&"bob".to_owned()) {}
    carol.run(&["show", "after"])?.failed(NOT_FOUND)?;
    carol.run(&["show", "before"])?.ok()?;
    alice
        .run(&["save", "secret", "--share", "--from", &from])?
        .ok()?;
    carol.run(&["pull", "secret"])?.ok()?;
    // Any of them that bob connects to shows him his removal.
    bob.run(&["pull", "secret", "--wait", "60s"])?
        .failed(FORBIDDEN)?;
    Ok(())
}

#[test]
fn a_role_bounds_what_a_member_may_do() -> Result<()> {
    let (alice, bob) = alice_and_bob()?;
    let state = alice.scratch("state");
    fill(&state, 2, 100_000, 1)?;
    let from = state.to_string_lossy().into_owned();
    bob.run(&["team", "invite"])?.failed(FORBIDDEN)?;
    bob.run(&["team", "remove", "alice"])?.failed(FORBIDDEN)?;
    bob.run(&["team", "role", "bob", "admin"])?
        .failed(FORBIDDEN)?;
    alice.run(&["team", "role", "bob", "reader"])?.ok()?;
    while role(&bob)? != "reader" {}
    bob.run(&["save", "orders", "--from", &from])?.ok()?;
    bob.run(&["share", "orders"])?.failed(FORBIDDEN)?;
    // Nothing is saved by a command that is refused.
    bob.run(&["save", "new", "--share", "--from", &from])?
        .failed(FORBIDDEN)?;
    bob.run(&["versions", "new"])?.failed(NOT_FOUND)?;
    // Whoever is connected: this machine knows what is pinned.
    let told = bob.run(&["unpin", "ordres:+1"])?.failed(NOT_FOUND)?;
    ensure!(told.contains("did you mean orders"), "{told}");
    alice.run(&["team", "role", "bob", "publisher"])?.ok()?;
    while role(&bob)? != "publisher" {}
    bob.run(&["share", "orders"])?.ok()?;
    alice.run(&["pull", "orders"])?.ok()?;
    alice
        .run(&["team", "role", "nobody", "reader"])?
        .failed(NOT_FOUND)?;
    alice
        .run(&["team", "remove", "nobody"])?
        .failed(NOT_FOUND)?;
    Ok(())
}

/// This home's own role.
fn role(home: &Home) -> Result<String> {
    let status = home.run(&["status"])?.ok()?;
    Ok(status["teams"][0]["role"]
        .as_str()
        .unwrap_or_default()
        .to_owned())
}

/// A ticket of a team that nobody here is in.
#[test]
fn a_foreign_ticket_finds_no_witness() -> Result<()> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    let mut mallory = Home::new("mallory")?;
    mallory.found("others")?;
    mallory.start(&[])?;
    let ticket = mallory.invite(&[])?;
    mallory.stop()?;
    let mut bob = Home::new("bob")?;
    bob.start(&[&alice])?;
    let answer = bob.join(&ticket)?;
    assert!(
        matches!(answer.code, Some(TICKET | UNREACHABLE)),
        "{answer:?}"
    );
    let status = bob.run(&["status"])?.ok()?;
    assert_eq!(
        status["teams"].as_array().map_or(1, Vec::len),
        0,
        "{status}"
    );
    Ok(())
}

#[test]
fn the_recovery_key_makes_a_member_an_admin_where_none_is_left() -> Result<()> {
    let mut alice = Home::new("alice")?;
    let founded = alice
        .run(&["team", "create", "payments", "--as", "alice"])?
        .ok()?;
    let key = founded["recovery_key"].as_str().unwrap_or_default();
    alice.start(&[])?;
    let ticket = alice.invite(&[])?;
    let mut bob = Home::new("bob")?;
    bob.start(&[&alice])?;
    bob.join(&ticket)?.ok()?;
    alice.kill()?;
    bob.run(&["team", "invite"])?.failed(FORBIDDEN)?;

    let recover = |key: &str| bob.run_with(&["team", "recover", "-"], &[], Some(key));
    let other = Home::new("other")?;
    let another = other
        .run(&["team", "create", "another", "--as", "eve"])?
        .ok()?;
    let message = recover(another["recovery_key"].as_str().unwrap_or_default())?.failed(TICKET)?;
    assert!(message.contains("payments"), "{message}");
    recover("hello")?.failed(TICKET)?;
    recover("")?.failed(TICKET)?;
    bob.run(&["team", "invite"])?.failed(FORBIDDEN)?;

    assert_eq!(recover(key)?.ok()?["role"], "admin");
    assert_eq!(recover(key)?.ok()?["role"], "admin", "twice is no error");
    let ticket = bob.invite(&[])?;
    let mut carol = Home::new("carol")?;
    carol.start(&[&bob])?;
    carol.join(&ticket)?.ok()?;
    bob.run(&["team", "remove", "alice", "--yes"])?.ok()?;
    // A returning device accepts the key's actions, and learns that she was removed.
    alice.start(&[&bob])?;
    bob.run(&["team", "members"])?.ok()?;
    Ok(())
}

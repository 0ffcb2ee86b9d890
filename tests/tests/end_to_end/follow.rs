//! `podsync follow`: teammates' versions arrive by themselves, and are loaded into an instance only if nothing
//! is lost by it.

use std::os::unix::fs::PermissionsExt;

use anyhow::{Context, Result, ensure};
use podsync_tests::kit::{Conduct, FakeEmulator, Home, Member, zip};
use serde_json::Value;

use crate::{events::share, share::alice_and_bob};

const INVALID: i32 = 2;
const NOT_FOUND: i32 = 3;
const DISK: i32 = 10;

const STATE: &str = "GET /_localstack/pods/state";

fn state(byte: u8) -> Vec<u8> {
    zip(&[
        Member::stored("s3/buckets", &[byte; 5000]),
        Member::stored("sqs/queues", &[byte; 5000]),
    ])
}

/// Alice shares what an emulator of hers holds.
fn share_state(alice: &Home, byte: u8) -> Result<()> {
    let emulator = FakeEmulator::start(&state(byte))?;
    let endpoint = emulator.endpoint();
    let saved = alice.run(&["save", "orders", "--share", "--endpoint", &endpoint])?;
    saved.ok().map(drop)
}

fn loads(emulator: &FakeEmulator) -> usize {
    let posts = emulator.posts();
    posts
        .iter()
        .filter(|line| line.starts_with("POST /_localstack/pods?"))
        .count()
}

#[test]
fn what_teammates_share_comes_by_itself_also_after_a_restart() -> Result<()> {
    let (alice, mut bob) = alice_and_bob()?;
    share(&alice, "orders", 1)?;
    let mut events = bob.listen(None)?;
    let followed = bob.run(&["follow", "orders"])?.ok()?;
    ensure!(followed["known"] == true, "{followed}");
    let pulled = events.wait_for("pulled")?;
    ensure!(pulled["reference"] == "orders:1", "{pulled}");

    // Another pod stays where it is.
    share(&alice, "billing", 1)?;
    share(&alice, "orders", 2)?;
    let pulled = events.wait_for("pulled")?;
    ensure!(pulled["reference"] == "orders:2", "{pulled}");

    // What is shared while nobody is there comes at the next start.
    bob.stop()?;
    share(&alice, "orders", 3)?;
    bob.start(&[&alice])?;
    let status = bob.run(&["status"])?.ok()?;
    ensure!(status["follows"][0]["pod"] == "orders", "{status}");
    let mut events = bob.listen(None)?;
    let held = |home: &Home| -> Result<Value> {
        Ok(home.run(&["show", "orders:3"])?.ok()?["version"]["held"].clone())
    };
    // It may have come before anybody listened.
    if !matches!(held(&bob), Ok(held) if held == true) {
        let pulled = events.wait_for("pulled")?;
        ensure!(pulled["reference"] == "orders:3", "{pulled}");
    }

    bob.run(&["unfollow", "orders"])?.ok()?;
    bob.run(&["unfollow", "orders"])?.failed(NOT_FOUND)?;
    let status = bob.run(&["status"])?.ok()?;
    ensure!(
        status["follows"].as_array().is_some_and(Vec::is_empty),
        "{status}"
    );
    Ok(())
}

#[test]
fn what_is_followed_is_loaded_only_over_what_is_saved_and_of_known_signers() -> Result<()> {
    let (alice, bob) = alice_and_bob()?;
    let emulator = FakeEmulator::start(&state(7))?;
    let endpoint = emulator.endpoint();
    share_state(&alice, 1)?;
    let mut events = bob.listen(None)?;
    bob.run(&["follow", "orders", "--load", "--endpoint", &endpoint])?
        .ok()?;

    // Nobody has approved alice's states yet.
    let trouble = events.wait_for("trouble")?;
    let says = |trouble: &Value, what: &str| -> Result<()> {
        let said = trouble["message"].as_str().context("no message")?;
        ensure!(said.contains(what), "{trouble}");
        let hint = trouble["hint"].as_str().context("no hint")?;
        ensure!(hint.contains("`podsync load orders`"), "{trouble}");
        Ok(())
    };
    says(&trouble, "nothing of that device was loaded here before")?;
    ensure!(loads(&emulator) == 0);

    // Approved once by hand: from then on the instance holds podsync's data.
    bob.run(&["load", "orders", "--new-signer", "--endpoint", &endpoint])?
        .ok()?;
    events.wait_for("loaded")?;
    share_state(&alice, 2)?;
    let loaded = events.wait_for("loaded")?;
    ensure!(loaded["reference"] == "orders:2", "{loaded}");
    ensure!(loaded["checkpoint"].is_string(), "{loaded}");
    ensure!(loads(&emulator) == 2);

    // The instance was changed by hand: nothing is overwritten without a question.
    emulator.on(STATE, Conduct::Answer(200, state(8)));
    share_state(&alice, 3)?;
    let trouble = events.wait_for("trouble")?;
    says(&trouble, "holds changes that are not saved")?;
    ensure!(loads(&emulator) == 2);
    ensure!(bob.run(&["show", "orders:3"])?.ok()?["version"]["held"] == true);

    // What is saved may go.
    bob.run(&["save", "mine", "--endpoint", &endpoint])?.ok()?;
    share_state(&alice, 4)?;
    let loaded = events.wait_for("loaded")?;
    ensure!(loaded["reference"] == "orders:4", "{loaded}");
    Ok(())
}

#[test]
fn a_folder_that_is_followed_is_said_to_be_exported() -> Result<()> {
    let (alice, bob) = alice_and_bob()?;
    let emulator = FakeEmulator::start(&state(7))?;
    let mut events = bob.listen(None)?;
    let endpoint = emulator.endpoint();
    bob.run(&["follow", "orders", "--load", "--endpoint", &endpoint])?
        .ok()?;
    share(&alice, "orders", 1)?;
    let trouble = events.wait_for("trouble")?;
    let hint = trouble["hint"].as_str().context("no hint")?;
    ensure!(hint.contains("`podsync export orders"), "{trouble}");
    Ok(())
}

/// A `PATH` on which `busctl` answers as NetworkManager would.
fn path_where_the_link_is(home: &Home, answer: &str) -> Result<String> {
    let folder = home.scratch(&format!("link-{answer}"));
    std::fs::create_dir(&folder)?;
    let program = folder.join("busctl");
    std::fs::write(&program, format!("#!/bin/sh\necho 'u {answer}'\n"))?;
    std::fs::set_permissions(&program, PermissionsExt::from_mode(0o755))?;
    let before = std::env::var("PATH").unwrap_or_default();
    Ok(format!("{}:{before}", folder.display()))
}

/// NMMetered.
const METERED: &str = "1";
const UNMETERED: &str = "2";

#[test]
#[cfg(target_os = "linux")]
fn over_a_metered_link_nothing_comes_that_nobody_asked_for() -> Result<()> {
    let (alice, mut bob) = alice_and_bob()?;
    bob.run(&["follow", "orders"])?.ok()?;
    let address = alice.address()?;
    let restart = |bob: &mut Home, link: &str| -> Result<()> {
        bob.stop()?;
        let path = path_where_the_link_is(bob, link)?;
        let listen = ["daemon", "--listen", "127.0.0.1:0", "--no-mdns", "--peer"];
        bob.start_with(&[&listen[..], &[&address]].concat(), &[("PATH", &path)])?;
        let status = bob.run(&["status"])?.ok()?;
        ensure!(status["metered"] == (link == METERED), "{status}");
        Ok(())
    };
    let comes_by_itself = "pulled a version of a pod that podsync follows";

    restart(&mut bob, METERED)?;
    let mut events = bob.listen(None)?;
    share(&alice, "orders", 1)?;
    let shared = events.wait_for("shared")?;
    ensure!(
        shared["reference"] == "orders:1",
        "it is heard of: {shared}"
    );
    // What somebody asks for is fetched.
    share(&alice, "billing", 1)?;
    bob.run(&["pull", "billing", "--wait", "30s"])?.ok()?;
    ensure!(bob.run(&["show", "orders:1"])?.ok()?["version"]["held"] == false);
    ensure!(!bob.log().contains(comes_by_itself), "{}", bob.log());

    restart(&mut bob, UNMETERED)?;
    let mut events = bob.listen(None)?;
    while bob.run(&["show", "orders:1"])?.ok()?["version"]["held"] == false {
        events.wait_for("pulled")?;
    }
    Ok(())
}

#[test]
fn an_instance_elsewhere_and_a_damaged_list_are_told() -> Result<()> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    let elsewhere = ["follow", "orders", "--load", "--endpoint"];
    for (endpoint, why) in [
        ("http://192.0.2.7:4566", "not on this machine"),
        ("https://s3.amazonaws.com", "amazonaws.com"),
        ("nonsense", "nonsense"),
    ] {
        let message = alice
            .run(&[&elsewhere[..], &[endpoint]].concat())?
            .failed(INVALID)?;
        ensure!(message.contains(why), "{message}");
    }
    alice.run(&["follow", "../orders"])?.failed(INVALID)?;
    let unknown = alice.run(&["follow", "orders"])?.ok()?;
    ensure!(unknown["known"] == false, "{unknown}");

    alice.stop()?;
    let list = alice.path().join("follows.json");
    std::fs::write(&list, "{\"format\":1,\"content\":")?;
    alice.start(&[])?;
    let status = alice.run(&["status"])?.ok()?;
    let warnings = status["warnings"].to_string();
    ensure!(
        warnings.contains("follows.json") && warnings.contains("damaged"),
        "{status}"
    );
    let message = alice.run(&["follow", "orders"])?.failed(DISK)?;
    ensure!(message.contains("`mv "), "{message}");
    ensure!(std::fs::read_to_string(&list)?.len() == 22);
    Ok(())
}

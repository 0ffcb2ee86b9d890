//! `podsync autosave` and `restore`: a state outlives its instance.

use anyhow::{Context, Result, ensure};
use podsync_tests::kit::{Conduct, FakeEmulator, Home, Member, zip};
use serde_json::Value;

const INVALID: i32 = 2;
const NOT_FOUND: i32 = 3;

const STATE: &str = "GET /_localstack/pods/state";
const INFO: &str = "GET /_localstack/info";

fn state(byte: u8) -> Vec<u8> {
    zip(&[
        Member::stored("s3/buckets", &[byte; 5000]),
        Member::stored("sqs/queues", &[byte; 5000]),
    ])
}

fn alice() -> Result<Home> {
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    Ok(alice)
}

fn is_run(emulator: &FakeEmulator, run: &str) {
    let info = format!(r#"{{"session_id":"{run}","version":"4.14.0"}}"#);
    emulator.on(INFO, Conduct::Answer(200, info.into_bytes()));
}

fn references(home: &Home) -> Result<Vec<Value>> {
    let versions = home.run(&["versions", "orders"])?.ok()?;
    let versions = versions.as_array().context("no list")?;
    Ok(versions
        .iter()
        .map(|version| version["reference"].clone())
        .collect())
}

#[test]
fn a_state_is_saved_while_it_changes_and_comes_back_after_a_restart() -> Result<()> {
    let mut alice = alice()?;
    let emulator = FakeEmulator::start(&state(1))?;
    let endpoint = emulator.endpoint();
    let mut events = alice.listen(None)?;
    let autosave = [
        "autosave",
        "orders",
        "--every",
        "5s",
        "--keep",
        "2",
        "--endpoint",
        &endpoint,
    ];
    alice.run(&autosave)?.ok()?;
    let saved = events.wait_for("saved")?;
    ensure!(
        saved["reference"] == "orders:+1" && saved["message"] == "autosave",
        "{saved}"
    );

    // An unchanged state makes no version: the next one is of the next state.
    emulator.forget();
    for _ in 0..2 {
        emulator.wait_for(STATE);
        emulator.forget();
    }
    ensure!(references(&alice)? == ["orders:+1"]);
    for (byte, reference) in [(2, "orders:+2"), (3, "orders:+3")] {
        emulator.on(STATE, Conduct::Answer(200, state(byte)));
        let saved = events.wait_for("saved")?;
        ensure!(saved["reference"] == reference, "{saved}");
    }
    // The oldest is let go of once the newest is noted.
    let status = alice.run(&["status"])?.ok()?;
    ensure!(status["autosaves"][0]["every_s"] == 5, "{status}");
    emulator.forget();
    emulator.wait_for(STATE);
    ensure!(references(&alice)? == ["orders:+2", "orders:+3"]);

    // After its restart the instance holds other data. An autosave of that does not replace the old state.
    is_run(&emulator, "fake-2");
    emulator.on(STATE, Conduct::Answer(200, state(9)));
    events.wait_for("saved")?;
    emulator.forget();
    emulator.wait_for(STATE);
    alice.stop()?;
    alice.start(&[])?;
    let restored = alice
        .run(&["restore", "orders", "--endpoint", &endpoint])?
        .ok()?;
    ensure!(restored["loaded"]["reference"] == "orders:+3", "{restored}");
    ensure!(restored["loaded"]["checkpoint"].is_string(), "{restored}");

    let stopped = alice.run(&["autosave", "orders", "--off"])?.ok()?;
    ensure!(stopped["versions"] == 2, "{stopped}");
    alice
        .run(&["autosave", "orders", "--off"])?
        .failed(NOT_FOUND)?;
    Ok(())
}

#[test]
fn a_hook_saves_before_the_stop_and_restores_after_the_start() -> Result<()> {
    let mut alice = alice()?;
    let emulator = FakeEmulator::start(&state(1))?;
    let endpoint = emulator.endpoint();
    let hook = |alice: &Home, hook: &str| {
        alice.run(&["run-hook", hook, "--timeout", "5s", "--endpoint", &endpoint])
    };
    // Nothing is set yet.
    hook(&alice, "ready")?.ok()?;
    let nothing = hook(&alice, "shutdown")?.ok()?;
    ensure!(
        nothing["references"].as_array().is_some_and(Vec::is_empty),
        "{nothing}"
    );
    alice
        .run(&["autosave", "orders", "--on-stop", "--endpoint", &endpoint])?
        .ok()?;
    let saved = hook(&alice, "shutdown")?.ok()?;
    ensure!(saved["references"][0] == "orders:+1", "{saved}");

    is_run(&emulator, "fake-2");
    ensure!(hook(&alice, "ready")?.ok()?.is_null());
    ensure!(emulator.posts().is_empty(), "no setting says so");
    alice.stop()?;
    std::fs::write(
        alice.path().join("config.toml"),
        "auto_restore = ['orders']",
    )?;
    alice.start(&[])?;
    let restored = hook(&alice, "ready")?.ok()?;
    ensure!(restored["loaded"]["reference"] == "orders:+1", "{restored}");
    // A hook that is run again for the same start does nothing.
    let again = hook(&alice, "ready")?.ok()?;
    ensure!(again["loaded"]["already"] == true, "{again}");
    Ok(())
}

#[test]
fn an_instance_that_is_gone_or_has_nothing_in_it_is_not_saved() -> Result<()> {
    let alice = alice()?;
    let emulator = FakeEmulator::start(&zip(&[]))?;
    emulator.holds("");
    let endpoint = emulator.endpoint();
    let mut events = alice.listen(None)?;
    alice
        .run(&[
            "autosave",
            "orders",
            "--every",
            "5s",
            "--endpoint",
            &endpoint,
        ])?
        .ok()?;
    emulator.wait_for(STATE);
    emulator.forget();
    emulator.wait_for(STATE);
    emulator.holds("s3,sqs");
    emulator.on(STATE, Conduct::Answer(200, state(1)));
    let first = loop {
        let event = events.next_one()?.context("the events ended")?;
        ensure!(event["kind"] != "trouble", "{event}");
        if event["kind"] == "saved" {
            break event;
        }
    };
    ensure!(first["reference"] == "orders:+1", "{first}");

    let none = alice.run(&["restore", "billing"])?.failed(NOT_FOUND)?;
    ensure!(none.contains("no autosave of billing"), "{none}");
    for wrong in [
        &["autosave", "orders"][..],
        &["autosave", "orders", "--every", "0s"],
        &["autosave", "orders", "--every", "1s"],
        &["autosave", "orders", "--every", "10m", "--keep", "0"],
        &["autosave", "orders", "--every", "10m", "--off"],
        &["autosave", "orders", "--every", "10m", "--endpoint", "x"],
    ] {
        alice.run(wrong)?.failed(INVALID)?;
    }
    Ok(())
}

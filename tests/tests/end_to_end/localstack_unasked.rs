//! What podsync does by itself, on real instances: follow, autosave and restore.

use anyhow::{Context, Result, ensure};
use podsync_tests::kit::{Home, LocalStack, localstack_python};
use serde_json::Value;

use crate::{localstack::similar, share::alice_and_bob};

fn share(home: &Home, instance: &LocalStack) -> Result<()> {
    let endpoint = instance.endpoint();
    let save = ["save", "orders", "--share", "--endpoint", &endpoint];
    home.run(&save)?.ok().map(drop)
}

fn says(trouble: &Value, what: &str) -> Result<()> {
    let said = trouble["message"].as_str().context("no message")?;
    ensure!(said.contains(what), "{trouble}");
    Ok(())
}

#[test]
fn what_is_followed_comes_into_a_localstack_and_takes_no_work_away() -> Result<()> {
    let Some(python) = localstack_python() else {
        return Ok(());
    };
    let (hers, his) = (LocalStack::start(&python)?, LocalStack::start(&python)?);
    let (alice, bob) = alice_and_bob()?;
    let endpoint = his.endpoint();
    let mut events = bob.listen(None)?;
    bob.run(&["follow", "orders", "--load", "--endpoint", &endpoint])?
        .ok()?;

    // Nobody has said yes to alice's states yet.
    hers.fill()?;
    share(&alice, &hers)?;
    let trouble = events.wait_for("trouble")?;
    says(&trouble, "nothing of that device was loaded here before")?;
    let load = ["load", "orders", "--new-signer", "--endpoint", &endpoint];
    bob.run(&load)?.ok()?;
    events.wait_for("loaded")?;

    // From here on it comes by itself, as long as nothing there is unsaved. Whoever reads a secret changes when it
    // was read last, so nothing looks into his instance before.
    hers.fill_more()?;
    share(&alice, &hers)?;
    let loaded = events.wait_for("loaded")?;
    ensure!(loaded["reference"] == "orders:2", "{loaded}");
    ensure!(loaded["failed"] == serde_json::json!([]), "{loaded}");
    ensure!(loaded["checkpoint"].is_string(), "{loaded}");
    similar(&hers.dump()?, &his.dump()?);

    his.fill_with_objects(3, 0)?;
    let his_work = his.dump()?;
    hers.fill_with_objects(5, 0)?;
    share(&alice, &hers)?;
    let trouble = events.wait_for("trouble")?;
    says(&trouble, "holds changes that are not saved")?;
    similar(&his_work, &his.dump()?);
    Ok(())
}

#[test]
fn a_localstack_has_its_state_again_after_a_restart() -> Result<()> {
    let Some(python) = localstack_python() else {
        return Ok(());
    };
    let mut instance = LocalStack::start(&python)?;
    let endpoint = instance.endpoint();
    let mut alice = Home::new("alice")?;
    alice.found("payments")?;
    alice.start(&[])?;
    instance.fill()?;
    let mut events = alice.listen(None)?;
    let every = ["autosave", "orders", "--every", "5s", "--endpoint"];
    alice.run(&[&every[..], &[&endpoint]].concat())?.ok()?;
    let saved = events.wait_for("saved")?;
    ensure!(saved["reference"] == "orders:+1", "{saved}");
    // What stays as it is makes no version, so the second one has the change.
    instance.fill_more()?;
    let saved = events.wait_for("saved")?;
    ensure!(saved["reference"] == "orders:+2", "{saved}");
    let held = instance.dump()?;

    // The new run holds nothing. What is saved of it is not what comes back.
    instance.restart()?;
    ensure!(instance.dump()? != held);
    let restore = ["restore", "orders", "--endpoint", &endpoint];
    let restored = alice.run(&restore)?.ok()?;
    ensure!(restored["loaded"]["checkpoint"].is_string(), "{restored}");
    similar(&held, &instance.dump()?);

    // The same by hooks, as a compose file runs them.
    alice.run(&["autosave", "orders", "--off"])?.ok()?;
    let on_stop = ["autosave", "orders", "--on-stop", "--endpoint", &endpoint];
    alice.run(&on_stop)?.ok()?;
    alice.stop()?;
    let settings = alice.path().join("config.toml");
    std::fs::write(settings, "auto_restore = ['orders']")?;
    alice.start(&[])?;
    let hook = |hook: &str| {
        let arguments = [
            "run-hook",
            hook,
            "--timeout",
            "60s",
            "--endpoint",
            &endpoint,
        ];
        alice.run(&arguments)?.ok()
    };
    instance.fill_with_objects(3, 0)?;
    let held = instance.dump()?;
    let saved = hook("shutdown")?;
    ensure!(saved["references"][0].is_string(), "{saved}");
    instance.restart()?;
    let restored = hook("ready")?;
    ensure!(
        restored["loaded"]["reference"] == saved["references"][0],
        "{restored}"
    );
    similar(&held, &instance.dump()?);
    Ok(())
}

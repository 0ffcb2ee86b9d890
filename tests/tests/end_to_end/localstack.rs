//! The main job, on real instances.

use anyhow::Result;
use podsync_tests::kit::{LocalStack, localstack_python};

use crate::share::alice_and_bob;

#[test]
fn what_one_localstack_held_another_holds_after_pull_and_load() -> Result<()> {
    let Some(python) = localstack_python() else {
        return Ok(());
    };
    let (hers, his) = (LocalStack::start(&python)?, LocalStack::start(&python)?);
    let (alice, bob) = alice_and_bob()?;
    hers.fill()?;
    let saved = alice
        .run(&["save", "orders", "--share", "--endpoint", &hers.endpoint()])?
        .ok()?;
    assert_eq!(saved["failed"].as_array().map_or(1, Vec::len), 0, "{saved}");
    let again = alice
        .run(&["save", "orders", "--endpoint", &hers.endpoint()])?
        .ok()?;
    assert_eq!(again["unchanged"], true);

    let loaded = bob
        .run(&[
            "load",
            "orders",
            "--merge",
            "overwrite",
            "--new-signer",
            "--endpoint",
            &his.endpoint(),
        ])?
        .ok()?;
    assert!(
        loaded["applied"]
            .as_array()
            .is_some_and(|applied| !applied.is_empty()),
        "{loaded}"
    );
    similar(&hers.dump()?, &his.dump()?);

    bob.run(&["undo", "--endpoint", &his.endpoint()])?.ok()?;
    assert_ne!(hers.dump()?, his.dump()?);
    Ok(())
}

fn similar(left: &str, right: &str) {
    let difference = left
        .lines()
        .zip(right.lines())
        .find(|(left, right)| left != right);
    assert!(left == right, "first difference: {difference:?}");
}

#[test]
fn no_instance_and_no_emulator_are_told_apart() -> Result<()> {
    let (alice, _bob) = alice_and_bob()?;
    let message = alice
        .run(&["save", "orders", "--endpoint", "http://127.0.0.1:9"])?
        .failed(8)?;
    assert!(message.contains("127.0.0.1:9"), "{message}");
    let message = alice.run(&[
        "save",
        "orders",
        "--endpoint",
        "https://sqs.eu-west-1.amazonaws.com",
    ])?;
    assert_ne!(message.code, Some(0));
    Ok(())
}

//! The main job, on real instances.

use anyhow::Result;
use podsync_tests::kit::{Home, LocalStack, localstack_python};

use crate::share::alice_and_bob;

/// What one message more may cost.
const MOST_MOVED: u64 = 1 << 20;

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

    let endpoint = his.endpoint();
    let dry_run = |services: &[&str]| -> Result<serde_json::Value> {
        let arguments = ["load", "orders", "--dry-run", "--endpoint", &endpoint];
        bob.run(&[&arguments, services].concat())?.ok()
    };
    let foreseen = dry_run(&[])?;
    assert_eq!(
        foreseen["planned"], false,
        "nothing of her device was loaded here, and a plan runs what is in a state"
    );
    assert!(
        foreseen["changes"]["added"].as_u64() > Some(4),
        "{foreseen}"
    );
    let before = his.dump()?;
    let queues = dry_run(&["--services", "sqs"])?;
    let list = queues["changes"]["list"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    assert!(!list.is_empty(), "{queues}");
    for change in list {
        assert_eq!(change["subject"]["resource"]["service"], "sqs", "{change}");
    }
    assert_eq!(before, his.dump()?, "a dry run changes nothing");

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
    let back = bob
        .run(&["save", "orders", "--endpoint", &endpoint])?
        .ok()?;
    assert_eq!(
        back["unchanged"], true,
        "another run holds the same: {back}"
    );
    similar(&hers.dump()?, &his.dump()?);
    let foreseen = dry_run(&[])?;
    assert_eq!(foreseen["planned"], true, "{foreseen}");
    let numbers = &foreseen["changes"];
    assert_eq!(
        (&numbers["added"], &numbers["removed"]),
        (&0.into(), &0.into()),
        "{foreseen}"
    );
    looked_inside(&alice, &hers)?;

    bob.run(&["undo", "--endpoint", &his.endpoint()])?.ok()?;
    assert_ne!(hers.dump()?, his.dump()?);

    let arguments = ["load", "orders", "--services", "sqs", "--endpoint"];
    let loaded = bob.run(&[&arguments[..], &[&endpoint]].concat())?.ok()?;
    assert_eq!(loaded["applied"], serde_json::json!(["sqs"]), "{loaded}");
    Ok(())
}

/// Contents and differences by resource, from the indexes alone.
fn looked_inside(home: &Home, instance: &LocalStack) -> Result<()> {
    let shown = home.run(&["show", "orders:1", "--contents"])?.ok()?;
    let resources = shown["resources"].as_array().cloned().unwrap_or_default();
    for service in ["s3", "sqs", "ssm", "secretsmanager", "iam"] {
        assert!(
            resources
                .iter()
                .any(|resource| resource["service"] == service),
            "{service}: {shown}"
        );
    }
    assert_eq!(shown["entries"], serde_json::Value::Null);
    instance.fill_more()?;
    let saved = home
        .run(&["save", "orders", "--endpoint", &instance.endpoint()])?
        .ok()?;
    let moves = saved["new_len"].as_u64();
    assert!(moves < Some(MOST_MOVED), "one message more: {saved}");
    let newer = saved["reference"].as_str().unwrap_or_default();
    let differs = home.run(&["diff", "orders:1", newer])?.ok()?;
    let added = differs["changes"]["list"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    assert!(
        added.iter().any(|change| change["difference"] == "added"
            && change["subject"]["resource"]["name"]
                .as_str()
                .is_some_and(|name| name.contains("one-more"))),
        "{differs}"
    );
    let same = home.run(&["diff", "orders:1", "orders:1"])?.ok()?;
    assert_eq!(same["changes"]["added"], 0);
    Ok(())
}

pub(crate) fn similar(left: &str, right: &str) {
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

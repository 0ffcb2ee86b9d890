//! Retention as people set it: signed by an admin, the same for everybody, carried out once.

use anyhow::{Result, ensure};
use podsync_tests::kit::{Home, fill, finish};
use serde_json::Value;

use crate::share::alice_and_bob;

const INVALID: i32 = 2;
const FORBIDDEN: i32 = 5;
const UNCONFIRMED: i32 = 15;

/// Shares so many versions of `orders`, one after the other.
fn share(home: &Home, versions: u64) -> Result<()> {
    for seed in 0..versions {
        let state = home.scratch(&format!("state-{seed}"));
        fill(&state, 1, 100_000, seed)?;
        let from = state.to_string_lossy().into_owned();
        home.run(&["save", "orders", "--share", "--from", &from])?
            .ok()?;
    }
    Ok(())
}

fn references(list: &Value) -> Vec<String> {
    let versions = list.as_array().into_iter().flatten();
    versions
        .filter_map(|version| version["reference"].as_str().map(str::to_owned))
        .collect()
}

fn versions(home: &Home) -> Result<Vec<String>> {
    Ok(references(&home.run(&["versions", "orders"])?.ok()?))
}

#[test]
fn what_a_policy_lets_go_of_is_dropped_for_everybody() -> Result<()> {
    let (alice, bob) = alice_and_bob()?;
    share(&alice, 5)?;
    alice.run(&["tag", "orders:1", "baseline"])?.ok()?;
    let policy = ["retention", "set", "--keep-last", "2"];
    let soon = [&policy[..], &["--grace", "0s"]].concat();
    // Foreseen, and nothing is set by that.
    let foreseen = alice.run(&[&soon[..], &["--dry-run"]].concat())?.ok()?;
    assert_eq!(references(&foreseen["due"]), ["orders:2", "orders:3"]);
    assert_eq!(
        foreseen["rules"],
        serde_json::json!([{ "pod": null, "policy": "last=2 tagged grace=0" }])
    );
    assert_eq!(
        alice.run(&["retention", "show"])?.ok()?["rules"],
        serde_json::json!([])
    );
    // A day's grace keeps all that was made just now. They go tomorrow, and that takes a yes.
    let why = alice.run(&policy)?.failed(UNCONFIRMED)?;
    ensure!(
        why.contains("in 24 hours: orders:2, orders:3"),
        "it doesn't say what goes and when: {why}"
    );
    alice.run(&[&policy[..], &["--yes"]].concat())?.ok()?;
    // The same again changes nothing. Less grace does.
    alice.run(&policy)?.ok()?;
    let hour = [&policy[..], &["--grace", "1h"]].concat();
    alice.run(&hour)?.failed(UNCONFIRMED)?;
    let applied = alice.run(&["retention", "apply"])?.ok()?;
    assert_eq!(applied["dropped"], serde_json::json!([]));
    assert_eq!(versions(&alice)?.len(), 5);

    let set = alice.run(&[&soon[..], &["--yes"]].concat())?.ok()?;
    assert_eq!(references(&set["due"]), ["orders:2", "orders:3"]);
    // Bob gets the rule and the same result, and may drop none of her versions.
    while bob.run(&["retention", "show"])?.ok()?["due"] == serde_json::json!([]) {}
    let his = bob.run(&["retention", "apply"])?.ok()?;
    assert_eq!(his["dropped"], serde_json::json!([]));
    assert_eq!(references(&his["left"]), ["orders:2", "orders:3"]);
    let dry = alice.run(&["retention", "apply", "--dry-run"])?.ok()?;
    assert_eq!(references(&dry["dropped"]), ["orders:2", "orders:3"]);
    assert_eq!(versions(&alice)?.len(), 5);

    alice.run(&["retention", "apply"])?.ok()?;
    let kept = ["orders:1", "orders:4", "orders:5"];
    assert_eq!(versions(&alice)?, kept);
    while versions(&bob)? != kept {}
    // A pod's own rule beats the team's.
    alice
        .run(&[
            "retention",
            "set",
            "orders",
            "--keep-last",
            "1",
            "--drop-tagged",
            "--grace",
            "0s",
            "--yes",
        ])?
        .ok()?;
    alice.run(&["retention", "apply"])?.ok()?;
    assert_eq!(versions(&alice)?, ["orders:5"]);
    alice
        .run(&["retention", "set", "orders", "--keep-all"])?
        .ok()?;
    share(&alice, 3)?;
    let applied = alice.run(&["retention", "apply"])?.ok()?;
    assert_eq!(applied["dropped"], serde_json::json!([]));
    alice
        .run(&["retention", "set", "orders", "--unset", "-y"])?
        .ok()?;
    ensure!(
        !alice
            .run(&["retention", "show"])?
            .ok()?
            .to_string()
            .contains("keep-all")
    );
    Ok(())
}

#[test]
fn two_daemons_that_carry_it_out_at_once_do_no_harm() -> Result<()> {
    let (alice, bob) = alice_and_bob()?;
    share(&alice, 4)?;
    alice.run(&["team", "role", "bob", "admin"])?.ok()?;
    alice
        .run(&[
            "retention",
            "set",
            "--keep-last",
            "1",
            "--grace",
            "0s",
            "-y",
        ])?
        .ok()?;
    while bob.run(&["retention", "show"])?.ok()?["due"]
        .as_array()
        .is_none_or(|due| due.len() < 3 || due.iter().any(|due| due["ours"] != true))
    {}
    let both = [
        alice.spawn(&["retention", "apply"], &[])?,
        bob.spawn(&["retention", "apply"], &[])?,
    ];
    for one in both {
        finish(one)?.ok()?;
    }
    while versions(&alice)? != ["orders:4"] || versions(&bob)? != ["orders:4"] {}
    let status = alice.run(&["status"])?.ok()?;
    assert_eq!(status["teams"][0]["quarantined"], serde_json::json!([]));
    Ok(())
}

#[test]
fn nonsense_is_no_policy_and_only_admins_set_one() -> Result<()> {
    let (alice, bob) = alice_and_bob()?;
    for nonsense in [
        &["retention", "set"][..],
        &["retention", "set", "--keep-tagged"],
        &["retention", "set", "--keep-last", "0"],
        &["retention", "set", "--keep-last", "-3"],
        &["retention", "set", "--keep-daily", "4000000000"],
        &["retention", "set", "--keep-last", "3", "--keep-all"],
        &[
            "retention",
            "set",
            "--keep-last",
            "3",
            "--grace",
            "100years",
        ],
        &["retention", "set", "../orders", "--keep-last", "3"],
    ] {
        alice.run(nonsense)?.failed(INVALID)?;
    }
    assert_eq!(
        alice.run(&["retention", "show"])?.ok()?["rules"],
        serde_json::json!([])
    );
    bob.run(&["retention", "set", "--keep-last", "3"])?
        .failed(FORBIDDEN)?;
    Ok(())
}

//! Two machines that nobody introduced: found by mDNS.

use anyhow::{Result, ensure};
use podsync_tests::kit::{Home, Lan, fill, same_tree};

use crate::share::alice_and_bob;

#[test]
fn two_machines_find_each_other_and_share() -> Result<()> {
    let Some(lan) = Lan::new(2)? else {
        return Ok(());
    };
    let mut alice = Home::within("alice", lan.prefix(1))?;
    let mut bob = Home::within("bob", lan.prefix(2))?;
    alice.found("payments")?;
    alice.start_with(&["daemon"], &[])?;
    bob.start_with(&["daemon"], &[])?;
    bob.join(&alice.invite(&[])?)?.ok()?;
    let state = alice.scratch("state");
    fill(&state, 10, 1 << 20, 1)?;
    alice
        .run(&[
            "save",
            "orders",
            "--share",
            "--from",
            &state.to_string_lossy(),
        ])?
        .ok()?;
    let pulled = bob.run(&["pull", "orders"])?.ok()?;
    println!("two namespaces on a bridge: {pulled}");
    let out = bob.scratch("out");
    bob.run(&["export", "orders", &out.to_string_lossy()])?
        .ok()?;
    same_tree(&state, &out)
}

/// Bob and carol learn of each other only from alice, who is connected to both: their addresses travel
/// with the heads, so they stay connected when alice leaves.
#[test]
fn members_who_share_only_an_acquaintance_find_each_other() -> Result<()> {
    let (mut alice, bob) = alice_and_bob()?;
    let mut carol = Home::new("carol")?;
    carol.start(&[&alice])?;
    carol.join(&alice.invite(&[])?)?.ok()?;
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    loop {
        let peers = carol.run(&["peers"])?.ok()?;
        let connected = |peer: &&serde_json::Value| {
            peer["name"]
                .as_str()
                .is_some_and(|name| name.starts_with("bob"))
                && peer["connected"] == true
        };
        if peers
            .as_array()
            .is_some_and(|peers| peers.iter().any(|peer| connected(&peer)))
        {
            break;
        }
        ensure!(std::time::Instant::now() < until, "they never met: {peers}");
    }
    alice.stop()?;
    let state = bob.scratch("state");
    fill(&state, 2, 100_000, 1)?;
    bob.run(&[
        "save",
        "orders",
        "--share",
        "--from",
        &state.to_string_lossy(),
    ])?
    .ok()?;
    carol.run(&["pull", "orders"])?.ok()?;
    Ok(())
}

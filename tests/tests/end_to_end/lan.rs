//! Two machines that nobody introduced: found by mDNS.

use anyhow::Result;
use podsync_tests::kit::{Home, Lan, fill, same_tree};

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

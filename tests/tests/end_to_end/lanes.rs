//! Packs come over connections of their own, and without these as well.

use anyhow::{Result, ensure};
use podsync_tests::kit::{Home, Lan, fill, same_tree};

/// Where a daemon listens for lanes that has all ports to itself.
const LANES: u16 = 7638;

/// Alice shares a state, each at a machine of its own, and bob pulls it.
fn bob_pulls(lan: &Lan) -> Result<(Home, Home)> {
    let mut alice = Home::within("alice", lan.prefix(1))?;
    let mut bob = Home::within("bob", lan.prefix(2))?;
    alice.found("payments")?;
    alice.start_with(&["daemon"], &[])?;
    bob.start_with(&["daemon"], &[])?;
    bob.join(&alice.invite(&[])?)?.ok()?;
    let state = alice.scratch("state");
    fill(&state, 10, 1 << 20, 1)?;
    let from = state.to_string_lossy().into_owned();
    let save = ["save", "orders", "--share", "--from", &from];
    alice.run(&save)?.ok()?;
    bob.run(&["pull", "orders"])?.ok()?;
    let out = bob.scratch("out");
    let export = ["export", "orders", &out.to_string_lossy()];
    bob.run(&export)?.ok()?;
    same_tree(&state, &out)?;
    Ok((alice, bob))
}

/// Bytes that a home received of its only teammate: all, and over lanes.
fn received(home: &Home) -> Result<(u64, u64)> {
    let peers = home.run(&["peers"])?.ok()?;
    let count = |name: &str| peers[0][name].as_u64().unwrap_or_default();
    ensure!(
        peers.as_array().is_some_and(|peers| peers.len() == 1),
        "{peers}"
    );
    Ok((count("received"), count("received_over_lane")))
}

#[test]
fn packs_come_over_a_lane() -> Result<()> {
    let Some(lan) = Lan::new(2)? else {
        return Ok(());
    };
    let (_alice, bob) = bob_pulls(&lan)?;
    let (all, over_lane) = received(&bob)?;
    ensure!(all >= 10 << 20 && over_lane == all, "{over_lane} of {all}");
    Ok(())
}

#[test]
fn a_closed_port_for_lanes_is_told_and_the_packs_come() -> Result<()> {
    let Some(lan) = Lan::new(2)? else {
        return Ok(());
    };
    lan.close(1, LANES)?;
    let (_alice, bob) = bob_pulls(&lan)?;
    let (all, over_lane) = received(&bob)?;
    ensure!(all >= 10 << 20 && over_lane == 0, "{over_lane} of {all}");
    let told = format!("10.77.0.1:{LANES}");
    ensure!(
        bob.log()
            .lines()
            .any(|line| line.contains("WARN") && line.contains(&told))
    );
    Ok(())
}

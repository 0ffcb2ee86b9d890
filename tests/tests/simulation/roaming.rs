//! Machines change networks: nodes that knew each other find each other again, and soon.

use std::{collections::BTreeSet, time::Duration};

use podsync_tests::sim::{Climate, Figures, NodeId, Violation, World};

use crate::with_seeds;

/// For a machine that has moved to have everybody again: others may have to hear of it, and the larger key
/// of a pair lets the smaller one dial.
const SOON: Duration = Duration::from_secs(2);

/// A team in two networks that multicast doesn't cross; all know the first one's address, nobody else's.
fn acquainted(seed: u64, climate: Climate, count: usize) -> Result<World, Violation> {
    let (mut world, _) = World::founded(seed, climate, count)?;
    let nodes: Vec<_> = world.nodes().collect();
    let everybodys = nodes[0];
    world.settle_in(everybodys, 1, &[])?;
    for (number, &node) in nodes.iter().enumerate().skip(1) {
        world.settle_in(node, 1 + (number % 2) as u8, &[everybodys])?;
    }
    Ok(world)
}

fn all_but(world: &World, node: NodeId) -> BTreeSet<podsync_core::DeviceId> {
    let others = world.nodes().filter(|other| *other != node);
    others.map(|other| world.device(other)).collect()
}

fn all_are_connected(world: &World) -> bool {
    let mut nodes = world.nodes();
    nodes.all(|node| !world.is_up(node) || world.connected(node) == up_but(world, node))
}

fn up_but(world: &World, node: NodeId) -> BTreeSet<podsync_core::DeviceId> {
    let others = world.nodes().filter(|other| *other != node);
    let up = others.filter(|other| world.is_up(*other));
    up.map(|other| world.device(other)).collect()
}

#[test]
fn who_only_know_a_third_find_each_other_across_networks() {
    with_seeds(0..40, |seed| {
        let count = 3 + seed as usize % 8;
        let mut world = acquainted(seed, Climate::fair(), count)?;
        let met = world.run_until(Duration::from_secs(15), all_are_connected)?;
        assert!(met, "seed {seed}: not all of {count} have met");
        Ok(world.figures())
    });
}

#[test]
fn who_moves_has_everybody_again_within_seconds() {
    with_seeds(100..140, moves);
}

fn moves(seed: u64) -> Result<Figures, Violation> {
    let count = 3 + seed as usize % 6;
    let mut world = acquainted(seed, Climate::fair(), count)?;
    world.run_until(Duration::from_secs(15), all_are_connected)?;
    for step in 0..12 {
        world.run_for(Duration::from_secs(30))?;
        let mover = world
            .nodes()
            .nth((seed as usize + 7 * step) % count)
            .expect("there are as many");
        world.move_to(mover, 3 + (step % 5) as u8)?;
        assert!(world.connected(mover).is_empty(), "its address is gone");
        let again = world.run_until(SOON, |world| {
            world.connected(mover) == all_but(world, mover)
        })?;
        assert!(
            again,
            "seed {seed}, step {step}: {mover:?} has {:?} of {:?}",
            world.connected(mover),
            all_but(&world, mover)
        );
    }
    Ok(world.figures())
}

/// Everybody moves at once, as when a router is replaced, but one: the others find each other by it.
#[test]
fn a_whole_team_that_moves_finds_itself_again_by_who_stayed() {
    with_seeds(200..230, |seed| {
        let count = 3 + seed as usize % 6;
        let mut world = acquainted(seed, Climate::fair(), count)?;
        world.run_until(Duration::from_secs(15), all_are_connected)?;
        world.run_for(Duration::from_secs(60))?;
        for (number, node) in world.nodes().skip(1).enumerate() {
            world.move_to(node, 4 + number as u8)?;
        }
        let met = world.run_until(Duration::from_secs(15), all_are_connected)?;
        assert!(met, "seed {seed}: not all have met again");
        Ok(world.figures())
    });
}

/// A restart remembers where others were reached; one that was away for long finds them where they are now.
#[test]
fn who_was_away_while_others_moved_finds_them() {
    with_seeds(300..330, |seed| {
        let count = 4 + seed as usize % 5;
        let mut world = acquainted(seed, Climate::fair(), count)?;
        world.run_until(Duration::from_secs(15), all_are_connected)?;
        world.run_for(Duration::from_secs(60))?;
        let nodes: Vec<_> = world.nodes().collect();
        let sleeper = nodes[count - 1];
        world.crash(sleeper)?;
        world.run_for(Duration::from_secs(20))?;
        for &node in &nodes[1..count - 1] {
            world.move_to(node, 5)?;
        }
        world.run_for(Duration::from_secs(600))?;
        world.start(sleeper)?;
        let met = world.run_until(Duration::from_secs(15), all_are_connected)?;
        assert!(met, "seed {seed}: not all have met again");
        Ok(world.figures())
    });
}

/// A pair with nobody else to ask: a moved node is dialled at the address it dials from, even before its
/// record arrives.
#[test]
fn two_who_move_one_right_after_the_other_find_each_other() {
    with_seeds(400..440, |seed| {
        let mut world = acquainted(seed, Climate::fair(), 2)?;
        world.run_until(Duration::from_secs(15), all_are_connected)?;
        for step in 0..10 {
            world.run_for(Duration::from_secs(20))?;
            for (number, node) in world.nodes().enumerate() {
                world.move_to(node, 3 + 2 * step + number as u8)?;
                let met = world.run_until(SOON, all_are_connected)?;
                assert!(met, "seed {seed}, step {step}: {node:?} has nobody");
            }
        }
        Ok(world.figures())
    });
}

/// Neither knows where the other one went, but multicast is heard where both are.
#[test]
fn two_who_move_at_once_meet_in_the_network_that_both_went_to() {
    with_seeds(500..530, |seed| {
        let mut world = acquainted(seed, Climate::fair(), 2)?;
        world.run_until(Duration::from_secs(15), all_are_connected)?;
        for step in 0..5 {
            world.run_for(Duration::from_secs(60))?;
            for node in world.nodes() {
                world.move_to(node, 3 + step)?;
            }
            let met = world.run_until(2 * SOON, all_are_connected)?;
            assert!(met, "seed {seed}, step {step}: they have not met");
        }
        Ok(world.figures())
    });
}

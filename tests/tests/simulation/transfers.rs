//! Pulling from many at once: liars, stallers, crashes, and those who have only a part.

use std::time::Duration;

use podsync_core::{TeamId, VersionId};
use podsync_tests::sim::{Climate, Conduct, NodeId, Violation, World};

use crate::with_seeds;

const A_MINUTE: Duration = Duration::from_secs(60);
const MIB: u64 = 1 << 20;
/// Bytes of the version that is shared here, without its manifest.
const VERSION_LEN: u64 = 95 * MIB + 12;

fn node(world: &World, number: usize) -> NodeId {
    world.nodes().nth(number).expect("the node is there")
}

/// A team whose first `providers` nodes have a version of some 100 MiB; the others have none of it.
fn shared(
    seed: u64,
    count: usize,
    providers: usize,
) -> Result<(World, TeamId, VersionId), Violation> {
    let mut world = World::new(seed, Climate::fair());
    let team = world.gather(count)?;
    let author = node(&world, 0);
    let version = world.publish(
        author,
        team,
        "orders",
        &[32 * MIB, 32 * MIB + 5, 31 * MIB, 7],
    )?;
    world.run_for(A_MINUTE)?;
    for number in 1..providers {
        assert_eq!(pull(&mut world, number, team, version)?, Some(true));
    }
    Ok((world, team, version))
}

fn pull(
    world: &mut World,
    number: usize,
    team: TeamId,
    version: VersionId,
) -> Result<Option<bool>, Violation> {
    let puller = node(world, number);
    let transfer = world
        .pull(puller, team, version)?
        .expect("the version is known");
    world.run_until(10 * A_MINUTE, |world| {
        world.transfer(puller, transfer).is_some()
    })?;
    Ok(world.transfer(puller, transfer))
}

#[test]
fn a_liar_and_a_staller_hold_nobody_up() {
    with_seeds(0..30, |seed| {
        let (mut world, team, version) = shared(seed, 5, 4)?;
        world.set_conduct(node(&world, 1), Conduct::Liar);
        world.set_conduct(node(&world, 2), Conduct::Staller);
        assert_eq!(pull(&mut world, 4, team, version)?, Some(true));
        world.mend_and_agree()?;
        Ok(world.figures())
    });
}

#[test]
fn providers_may_come_and_go() {
    with_seeds(0..30, |seed| {
        let (mut world, team, version) = shared(seed, 5, 3)?;
        let puller = node(&world, 4);
        let transfer = world
            .pull(puller, team, version)?
            .expect("the version is known");
        let mut number = 0;
        while world.transfer(puller, transfer).is_none() {
            let provider = node(&world, number % 3);
            world.crash(provider)?;
            world.run_for(Duration::from_millis(100 + seed * 20))?;
            world.start(provider)?;
            world.run_for(Duration::from_secs(5))?;
            number += 1;
        }
        assert_eq!(world.transfer(puller, transfer), Some(true));
        world.mend_and_agree()?;
        Ok(world.figures())
    });
}

#[test]
fn a_crash_of_the_puller_costs_only_what_was_under_way() {
    with_seeds(0..30, |seed| {
        let (mut world, team, version) = shared(seed, 4, 2)?;
        let puller = node(&world, 3);
        world.pull(puller, team, version)?;
        world.run_for(Duration::from_millis(50 + seed * 30))?;
        world.crash(puller)?;
        world.start(puller)?;
        world.run_for(A_MINUTE)?;
        assert_eq!(pull(&mut world, 3, team, version)?, Some(true));
        world.mend_and_agree()?;
        Ok(world.figures())
    });
}

#[test]
fn everybody_pulls_at_once() {
    with_seeds(0..20, |seed| {
        let (mut world, team, version) = shared(seed, 8, 1)?;
        let pullers: Vec<_> = world.nodes().skip(1).collect();
        let mut transfers = Vec::new();
        for puller in pullers {
            transfers.push((
                puller,
                world
                    .pull(puller, team, version)?
                    .expect("the version is known"),
            ));
        }
        world.run_until(30 * A_MINUTE, |world| {
            transfers
                .iter()
                .all(|(puller, transfer)| world.transfer(*puller, *transfer).is_some())
        })?;
        for (puller, transfer) in transfers {
            assert_eq!(world.transfer(puller, transfer), Some(true), "{puller:?}");
        }
        Ok(world.figures())
    });
}

/// All who have a version go away in the middle of a pull: the bucket ends it.
#[test]
fn the_bucket_serves_when_peers_vanish() {
    with_seeds(0..30, |seed| {
        let (mut world, team, version) = shared(seed, 4, 2)?;
        world.upload(node(&world, 0), team, version)?;
        let puller = node(&world, 3);
        let transfer = world
            .pull(puller, team, version)?
            .expect("the version is known");
        world.run_for(Duration::from_millis(30 + seed * 20))?;
        assert_eq!(world.bucket_sent(), 0, "peers come first");
        for number in 0..3 {
            world.crash(node(&world, number))?;
        }
        world.run_until(A_MINUTE, |world| world.transfer(puller, transfer).is_some())?;
        assert_eq!(world.transfer(puller, transfer), Some(true));
        assert!(world.bucket_sent() > 0);
        world.mend_and_agree()?;
        Ok(world.figures())
    });
}

/// A sleeping laptop costs seconds: not the ten after which its fetches are given up.
#[test]
fn the_bucket_steps_in_for_peers_that_sleep() {
    with_seeds(0..30, |seed| {
        let (mut world, team, version) = shared(seed, 5, 4)?;
        world.upload(node(&world, 0), team, version)?;
        for number in 0..4 {
            world.set_conduct(node(&world, number), Conduct::Staller);
        }
        let (puller, begun) = (node(&world, 4), world.now());
        assert_eq!(pull(&mut world, 4, team, version)?, Some(true));
        let took = world.now() - begun;
        assert!(took < Duration::from_secs(8), "{puller:?} waited {took:?}");
        world.mend_and_agree()?;
        Ok(world.figures())
    });
}

#[test]
fn a_bucket_that_lies_is_given_up_and_peers_serve() {
    with_seeds(0..30, |seed| {
        let (mut world, team, version) = shared(seed, 4, 2)?;
        world.upload(node(&world, 0), team, version)?;
        world.set_bucket_conduct(Conduct::Liar);
        for number in 0..3 {
            world.crash(node(&world, number))?;
        }
        world.run_for(A_MINUTE)?;
        assert_eq!(
            pull(&mut world, 3, team, version)?,
            Some(false),
            "nobody has it"
        );

        // A provider that returns in time is used.
        let puller = node(&world, 3);
        let transfer = world
            .pull(puller, team, version)?
            .expect("the version is known");
        world.run_for(Duration::from_secs(5))?;
        world.start(node(&world, 1))?;
        world.run_until(2 * A_MINUTE, |world| {
            world.transfer(puller, transfer).is_some()
        })?;
        assert_eq!(world.transfer(puller, transfer), Some(true));
        world.mend_and_agree()?;
        Ok(world.figures())
    });
}

#[test]
fn a_slow_bucket_holds_nobody_up_who_has_peers() {
    with_seeds(0..30, |seed| {
        let (mut world, team, version) = shared(seed, 5, 3)?;
        world.upload(node(&world, 0), team, version)?;
        world.set_bucket_pace(Duration::from_secs(1)..Duration::from_secs(4));
        world.set_conduct(node(&world, 1), Conduct::Staller);
        assert_eq!(pull(&mut world, 4, team, version)?, Some(true));
        assert!(
            world.bucket_sent() < VERSION_LEN / 20,
            "{} bytes came from the bucket",
            world.bucket_sent()
        );
        world.mend_and_agree()?;
        Ok(world.figures())
    });
}

/// Peers have a part, the bucket the whole.
#[test]
fn both_serve_one_pull() {
    with_seeds(0..30, |seed| {
        let (mut world, team, version) = shared(seed, 4, 1)?;
        let half = node(&world, 1);
        world.pull(half, team, version)?;
        world.run_for(Duration::from_millis(700))?;
        world.upload(node(&world, 0), team, version)?;
        world.crash(node(&world, 0))?;
        // The transfer that was under way here is over, and what came of it is offered.
        world.crash(half)?;
        world.start(half)?;
        world.run_for(A_MINUTE)?;
        let before = world.bucket_sent();
        assert_eq!(pull(&mut world, 3, team, version)?, Some(true));
        let from_bucket = world.bucket_sent() - before;
        assert!(
            from_bucket > 0 && from_bucket < VERSION_LEN,
            "{from_bucket} bytes"
        );
        world.mend_and_agree()?;
        Ok(world.figures())
    });
}

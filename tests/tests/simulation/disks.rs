//! Disks that lie still, fail, or lose what they were never asked to keep.

use std::time::Duration;

use podsync_core::engine::{Command, EngineError};
use podsync_tests::sim::{Climate, Mood, NodeId, World};

use crate::with_seeds;

const A_MINUTE: Duration = Duration::from_secs(60);

fn node(world: &World, number: usize) -> NodeId {
    world.nodes().nth(number).expect("the node is there")
}

#[test]
fn what_is_not_written_was_never_shared() {
    with_seeds(0..30, |seed| {
        let mut world = World::new(seed, Climate::fair());
        let team = world.gather(3)?;
        let (author, reader) = (node(&world, 1), node(&world, 2));
        world.set_mood(author, Mood::Failing);
        let publish = world
            .saved(author, team, "orders", &[1000])?
            .expect("it has the key");
        let version = publish.version;
        let refused = world.ask_and_wait(author, Command::Publish(Box::new(publish.clone())))?;
        assert!(
            matches!(refused, Err(EngineError::NotPersisted(_))),
            "{refused:?}"
        );
        world.run_for(2 * A_MINUTE)?;
        assert!(!world.lists(author, team, version) && !world.lists(reader, team, version));
        world.set_mood(author, Mood::Sound);
        world.must(author, Command::Publish(Box::new(publish)))?;
        world.mend_and_agree()?;
        assert!(world.lists(reader, team, version));
        Ok(world.figures())
    });
}

#[test]
fn a_crash_at_any_moment_of_sharing_leaves_all_or_nothing() {
    with_seeds(0..60, |seed| {
        let mut world = World::new(seed, Climate::fair());
        let team = world.gather(3)?;
        let author = node(&world, 1);
        world.set_mood(author, Mood::Slow(50));
        for round in 0..6 {
            let publish = world
                .saved(author, team, "orders", &[1000])?
                .expect("it has the key");
            let command = world.ask(author, Command::Publish(Box::new(publish.clone())))?;
            world.run_for(Duration::from_millis(seed * 7 + round * 40))?;
            let was_answered = world.answer(author, command).is_some();
            world.crash(author)?;
            world.run_for(Duration::from_secs(1))?;
            world.start(author)?;
            assert!(
                !was_answered || world.lists(author, team, publish.version),
                "it was reported and is gone"
            );
        }
        world.mend_and_agree()?;
        Ok(world.figures())
    });
}

#[test]
fn what_was_heard_is_not_unheard_by_a_restart() {
    with_seeds(0..30, |seed| {
        let mut world = World::new(seed, Climate::fair());
        let team = world.gather(3)?;
        let (author, reader) = (node(&world, 1), node(&world, 2));
        let version = world.publish(author, team, "orders", &[1000])?;
        world.run_for(A_MINUTE)?;
        world.partition([reader]);
        world.crash(reader)?;
        world.start(reader)?;
        assert!(world.lists(reader, team, version));
        world.mend_and_agree()?;
        Ok(world.figures())
    });
}

#[test]
fn a_failing_disk_takes_in_what_it_missed_when_it_is_mended() {
    with_seeds(0..30, |seed| {
        let mut world = World::new(seed, Climate::fair());
        let team = world.gather(3)?;
        let (author, reader) = (node(&world, 1), node(&world, 2));
        world.set_mood(reader, Mood::Failing);
        let version = world.publish(author, team, "orders", &[1000])?;
        world.run_for(A_MINUTE)?;
        world.set_mood(reader, Mood::Sound);
        world.run_for(A_MINUTE)?;
        world.crash(author)?;
        world.crash(reader)?;
        world.start(reader)?;
        assert!(
            world.lists(reader, team, version),
            "it was heard again, and kept"
        );
        world.mend_and_agree()?;
        Ok(world.figures())
    });
}

//! Trust: forgers, copies, strangers, and members that were removed.

use std::time::Duration;

use podsync_core::{
    engine::{Command, EngineError},
    membership::Role,
};
use podsync_tests::sim::{Climate, NodeId, World};

use crate::with_seeds;

const A_MINUTE: Duration = Duration::from_secs(60);

fn node(world: &World, number: usize) -> NodeId {
    world.nodes().nth(number).expect("the node is there")
}

#[test]
fn a_forgers_word_counts_for_nothing() {
    with_seeds(0..30, |seed| {
        let mut world = World::new(seed, Climate::fair());
        let team = world.gather(4)?;
        let [founder, victim, forger] = [0, 1, 2].map(|number| node(&world, number));
        let (admin, victims_device) = (world.device(founder), world.device(victim));
        world.publish(victim, team, "orders", &[1000])?;
        world.run_for(A_MINUTE)?;
        assert!(
            world.forge_version(forger, victims_device, team)?,
            "the forger knows all it needs"
        );
        world.forge_promotion(forger, admin, team)?;
        world.run_for(A_MINUTE)?;
        let its_invite = world.ask_and_wait(forger, Command::Rotate { team })?;
        assert!(matches!(
            its_invite,
            Err(EngineError::RoleTooLow { .. }
                | EngineError::Membership(_)
                | EngineError::Expelled(_))
        ));
        world.mend_and_agree()?;
        Ok(world.figures())
    });
}

#[test]
fn a_join_is_written_once_though_many_could_witness_it() {
    with_seeds(0..30, |seed| {
        let mut world = World::new(seed, Climate::fair());
        let team = world.gather(6)?;
        let founder = node(&world, 0);
        let ticket = world.invite(founder, team, Role::Publisher, 1)?;
        world.run_for(A_MINUTE)?;
        let before = world.operations(founder, team);
        let members: Vec<_> = world.nodes().collect();
        let newcomer = world.add()?;
        for member in members {
            world.link(member, newcomer);
        }
        let join = world.join(newcomer, &ticket);
        world.must(newcomer, join)?;
        world.run_for(A_MINUTE)?;
        assert_eq!(world.operations(founder, team), before + 1);
        world.mend_and_agree()?;
        Ok(world.figures())
    });
}

#[test]
fn entries_that_were_changed_are_refused() {
    with_seeds(0..30, |seed| {
        let mut world = World::new(seed, Climate::fair());
        let team = world.gather(3)?;
        let [founder, author, tamperer] = [0, 1, 2].map(|number| node(&world, number));
        let mut versions = Vec::new();
        for _ in 0..5 {
            versions.push(world.publish(author, team, "orders", &[1000])?);
        }
        world.run_for(A_MINUTE)?;
        world.set_conduct(tamperer, podsync_tests::sim::Conduct::Tamperer);
        let ticket = world.invite(founder, team, Role::Publisher, 1)?;
        world.run_for(A_MINUTE)?;
        let newcomer = world.add()?;
        world.link(tamperer, newcomer);
        let join = world.join(newcomer, &ticket);
        world.must(newcomer, join)?;
        world.run_for(A_MINUTE)?;
        for version in &versions {
            assert!(
                !world.lists(newcomer, team, *version),
                "it came changed, and counts"
            );
        }
        world.link(author, newcomer);
        world.run_for(2 * A_MINUTE)?;
        for version in versions {
            assert!(
                world.lists(newcomer, team, version),
                "an honest member gives what is missing"
            );
        }
        world.mend_and_agree()?;
        Ok(world.figures())
    });
}

#[test]
fn a_copied_home_is_quarantined_alike() {
    with_seeds(0..40, |seed| {
        let mut world = World::new(seed, Climate::fair());
        let team = world.gather(5)?;
        let original = node(&world, 1);
        let before = world.publish(original, team, "orders", &[1000])?;
        world.run_for(A_MINUTE)?;
        let far = [node(&world, 2), node(&world, 3)];
        world.partition(far);
        world.run_for(A_MINUTE)?;
        let copy = world.copy_home(original)?;
        world.partition([far[0], far[1], copy]);
        far.iter().for_each(|other| world.link(copy, *other));
        world.run_for(A_MINUTE)?;
        let one = world.publish(original, team, "orders", &[1000])?;
        let other = world.publish(copy, team, "orders", &[1000])?;
        world.run_for(A_MINUTE)?;
        assert!(world.lists(far[0], team, other) && !world.lists(far[0], team, one));
        world.heal();
        world.run_for(5 * A_MINUTE)?;
        for node in world.nodes() {
            for version in [before, one, other] {
                assert!(
                    !world.lists(node, team, version),
                    "{node:?} counts a forked feed"
                );
            }
        }
        for home in [original, copy] {
            let publish = world
                .saved(home, team, "orders", &[1000])?
                .expect("it has the key");
            let refused = world.ask_and_wait(home, Command::Publish(Box::new(publish)))?;
            assert!(
                matches!(refused, Err(EngineError::DeviceMustBeMinted)),
                "{refused:?}"
            );
        }
        let (founder, device) = (node(&world, 0), world.device(original));
        world.must(founder, Command::Remove { team, device })?;
        world.mend_and_agree()?;
        Ok(world.figures())
    });
}

#[test]
fn a_removal_beats_what_its_device_did_unheard() {
    with_seeds(0..40, |seed| {
        let mut world = World::new(seed, Climate::fair());
        let team = world.gather(5)?;
        let [founder, friend, removed] = [0, 3, 4].map(|number| node(&world, number));
        let device = world.device(removed);
        let kept = world.publish(removed, team, "orders", &[1000])?;
        world.run_for(A_MINUTE)?;
        world.partition([friend, removed]);
        world.run_for(A_MINUTE)?;
        world.must(founder, Command::Remove { team, device })?;
        let late = world.publish(removed, team, "orders", &[1000])?;
        world.run_for(A_MINUTE)?;
        assert!(
            world.lists(friend, team, late),
            "the friend hasn't heard of the removal"
        );
        world.heal();
        world.run_for(3 * A_MINUTE)?;
        for other in world.nodes().filter(|node| *node != removed) {
            assert!(!world.is_member(other, team, device));
            assert!(
                world.lists(other, team, kept),
                "what came before the removal stays"
            );
            assert!(
                !world.lists(other, team, late),
                "{other:?} counts what came after it"
            );
        }
        world.mend_and_agree()?;
        Ok(world.figures())
    });
}

#[test]
fn strangers_are_served_nothing() {
    with_seeds(0..20, |seed| {
        let mut world = World::new(seed, Climate::fair());
        let team = world.gather(3)?;
        let (author, removed) = (node(&world, 1), node(&world, 2));
        let stranger = world.add()?;
        let publish = world
            .saved(author, team, "orders", &[1000])?
            .expect("it has the key");
        let blobs = [publish.manifest.id, publish.packs[0].id];
        world.must(author, Command::Publish(Box::new(publish)))?;
        world.run_for(A_MINUTE)?;
        let (outside, inside) = (world.device(stranger), world.device(removed));
        for blob in blobs {
            assert!(world.is_served(author, inside, blob)?);
            assert!(!world.is_served(author, outside, blob)?);
        }
        let founder = node(&world, 0);
        world.must(
            founder,
            Command::Remove {
                team,
                device: inside,
            },
        )?;
        world.run_for(A_MINUTE)?;
        for blob in blobs {
            assert!(!world.is_served(author, inside, blob)?);
        }
        Ok(world.figures())
    });
}

#[test]
fn a_spent_ticket_lets_nobody_in() {
    with_seeds(0..20, |seed| {
        let mut world = World::new(seed, Climate::fair());
        let team = world.gather(2)?;
        let founder = node(&world, 0);
        let ticket = world.invite(founder, team, Role::Reader, 1)?;
        let newcomers = [world.add()?, world.add()?];
        for newcomer in newcomers {
            world.link(founder, newcomer);
            let join = world.join(newcomer, &ticket);
            let answer = world.ask_and_wait(newcomer, join)?;
            assert_eq!(answer.is_ok(), newcomer == newcomers[0], "{answer:?}");
        }
        let join = world.join(newcomers[0], &ticket);
        let again = world.ask_and_wait(newcomers[0], join)?;
        assert!(
            matches!(again, Err(EngineError::AlreadyMember(_))),
            "{again:?}"
        );
        world.mend_and_agree()?;
        Ok(world.figures())
    });
}

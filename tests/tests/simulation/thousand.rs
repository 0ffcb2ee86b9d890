//! A thousand engines in one process: joins, removals, a copied home, transfers, loss, a partition and
//! crashes, and one catalog at the end.

use std::time::Duration;

use podsync_core::{engine::Command, membership::Role};
use podsync_tests::sim::{Climate, World};

use crate::with_seeds;

const NODES: usize = 1000;
const NEWCOMERS: usize = 20;
const LINKS_EACH: usize = 8;

#[test]
fn a_thousand_nodes_agree() {
    with_seeds(0..1, |seed| {
        let (mut world, team) = World::founded(seed, Climate::fair(), NODES - NEWCOMERS)?;
        world.link_sparsely(LINKS_EACH);
        world.run_for(Duration::from_secs(60))?;
        let nodes: Vec<_> = world.nodes().collect();
        let founder = nodes[0];

        let ticket = world.invite(founder, team, Role::Publisher, NEWCOMERS as u32)?;
        for number in 0..NEWCOMERS {
            let newcomer = world.add()?;
            (0..LINKS_EACH).for_each(|link| world.link(newcomer, nodes[number * 31 + link * 7]));
            let join = world.join(newcomer, &ticket);
            world.must(newcomer, join)?;
        }

        world.set_climate(Climate {
            loss: 0.02,
            ..Climate::fair()
        });
        let original = nodes[500];
        world.publish(original, team, "orders", &[1000])?;
        let version = world.publish(nodes[405], team, "invoices", &[20 << 20])?;
        world.run_for(Duration::from_secs(60))?;
        world.partition(nodes.iter().copied().skip(NODES / 2 - 100).step_by(2));
        let copy = world.copy_home(original)?;
        nodes
            .iter()
            .skip(601)
            .step_by(50)
            .for_each(|other| world.link(copy, *other));
        for number in [450, 451, 700, 701] {
            world.publish(nodes[number], team, "payments", &[1 << 20])?;
        }
        for home in [original, copy] {
            let publish = world
                .saved(home, team, "orders", &[1000])?
                .expect("it has the key");
            world.ask(home, Command::Publish(Box::new(publish)))?;
        }
        for number in (100..900).step_by(20) {
            world.crash(nodes[number])?;
        }
        for number in [5, 6, 7] {
            let device = world.device(nodes[number]);
            world.must(founder, Command::Remove { team, device })?;
        }
        for number in (150..350).step_by(10) {
            world.link(nodes[number], nodes[405]);
            world.pull(nodes[number], team, version)?;
        }
        world.run_for(Duration::from_secs(120))?;
        world.mend_and_agree()?;
        assert!(world.figures().transfers > 0, "nobody pulled");
        Ok(world.figures())
    });
}

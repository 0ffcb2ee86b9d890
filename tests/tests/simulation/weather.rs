//! For any user actions and failures: the invariants hold, and in the end all nodes agree.

use std::time::Duration;

use podsync_tests::sim::{Climate, Conduct, Figures, Violation, World};

use crate::with_seeds;

/// How long users and accidents act.
const LIFE: Duration = Duration::from_secs(600);

#[test]
fn in_fair_weather() {
    with_seeds(0..150, |seed| life(seed, Climate::fair()));
}

#[test]
fn in_foul_weather() {
    with_seeds(1000..1150, |seed| life(seed, Climate::foul()));
}

/// No two nodes are ever connected: operations, feeds and blobs travel only by the hub and the
/// bucket.
#[test]
fn of_nodes_that_never_meet() {
    with_seeds(2000..2060, |seed| {
        let count = 3 + seed as usize % 6;
        let climate = match seed % 2 {
            0 => Climate::fair(),
            _ => Climate::foul(),
        };
        let (mut world, team) = World::founded(seed, climate, count)?;
        world.open_hub();
        world.live(team, LIFE)?;
        world.mend_and_agree()?;
        let first = world.nodes().next().expect("there are at least three");
        assert!(
            !world.versions(first, team).is_empty(),
            "something was shared"
        );
        Ok(world.figures())
    });
}

fn life(seed: u64, climate: Climate) -> Result<Figures, Violation> {
    let count = 3 + seed as usize % 10;
    let mut world = World::new(seed, Climate::fair());
    let team = world.gather(count)?;
    let odd = [
        Conduct::Honest,
        Conduct::Liar,
        Conduct::Staller,
        Conduct::Tamperer,
    ][seed as usize / 10 % 4];
    let last = world.nodes().last().expect("there are at least three");
    world.set_conduct(last, odd);
    world.set_climate(climate);
    world.live(team, LIFE)?;
    world.mend_and_agree()?;
    Ok(world.figures())
}

#[test]
fn a_seed_is_a_run() {
    let run = || life(7, Climate::foul()).expect("it runs");
    assert_eq!(run(), run());
}

//! Commit and garbage collection, played against each other: random writers, droppers, menders and sweepers over
//! a simulated bucket with a clock of its own, stalled for days and killed between any two calls.
//!
//! Writers use the rules that the hub's commit uses, sweepers are the hub's own. The bucket knows the truth:
//! which entries are committed, and it fails the test when an object that one of them names goes.

mod bucket;
mod team;
mod world;
mod writer;

use std::time::Instant;

use self::world::World;

/// Calls to the bucket in all worlds together.
const STEPS: u64 = 1_000_000;
const STEPS_A_WORLD: u64 = 4_000;

/// Another seed for a world that failed: `PODSYNC_GC_SEED=N`.
fn seeds() -> Vec<u64> {
    match std::env::var("PODSYNC_GC_SEED").map(|seed| seed.parse()) {
        Ok(Ok(seed)) => vec![seed],
        _ => (0..STEPS / STEPS_A_WORLD).collect(),
    }
}

#[test]
fn no_named_object_is_lost_and_garbage_goes() {
    let started = Instant::now();
    let seeds = seeds();
    let half = seeds.len().div_ceil(2);
    let play = |seeds: &[u64]| {
        let mut total = world::Tally::default();
        for seed in seeds {
            let mut world = World::new(*seed);
            world.play(STEPS_A_WORLD);
            total += world.finish();
        }
        total
    };
    let total = std::thread::scope(|scope| {
        let threads: Vec<_> = seeds
            .chunks(half)
            .map(|seeds| scope.spawn(move || play(seeds)))
            .collect();
        let mut total = world::Tally::default();
        for thread in threads {
            // The world has printed its own message.
            total += thread.join().expect("a world failed");
        }
        total
    });
    eprintln!("{total:?} in {:.1?}", started.elapsed());
    // A model in which little happens shows little.
    if seeds.len() > 1 {
        assert!(total.steps >= STEPS, "{total:?}");
        for (what, count, least) in [
            ("commits", total.commits, 4_000),
            ("commits that met a marker", total.refused, 100),
            ("drops", total.drops, 800),
            ("deletions", total.deletions, 3_000),
            ("objects that came back", total.revived, 500),
            ("named and condemned at once", total.named_and_condemned, 20),
            ("objects put right", total.mended, 1_000),
            ("of which nobody named any more", total.mended_late, 5),
            ("crashes", total.crashes, 5_000),
        ] {
            assert!(count >= least, "only {count} {what}: {total:?}");
        }
    }
}

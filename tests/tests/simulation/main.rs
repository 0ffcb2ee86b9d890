//! The engine in teams of simulated nodes, with hundreds of seeds, and every invariant checked at
//! every step.
//!
//! A failure names its seed; `PODSYNC_SEED=17` runs each test with that seed alone.

mod disks;
mod roaming;
mod thousand;
mod transfers;
mod trust;
mod weather;

use std::ops::Range;

use podsync_tests::sim::{Figures, Violation};

/// Runs a story once with each seed, and says how much happened.
fn with_seeds(seeds: Range<u64>, mut story: impl FnMut(u64) -> Result<Figures, Violation>) {
    let only = std::env::var("PODSYNC_SEED")
        .ok()
        .and_then(|seed| seed.parse().ok());
    let seeds: Vec<u64> = only.map_or_else(|| seeds.collect(), |seed| vec![seed]);
    let mut all = Figures::default();
    for seed in &seeds {
        match story(*seed) {
            Ok(figures) => all += figures,
            Err(violation) => panic!("{violation}"),
        }
    }
    println!("{} seeds, {all}", seeds.len());
}

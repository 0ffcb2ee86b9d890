//! Runs each decoder on broken copies of its valid inputs. None panics or takes more memory than
//! stated.
//!
//! This test has its own allocator: over the limit it fails, and the process ends naming the target
//! that it printed last. That is why all of it is one test.

use std::alloc::System;

use cap::Cap;
use podsync_fuzz::{TARGETS, Target};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

#[global_allocator]
static MEMORY: Cap<System> = Cap::new(System, usize::MAX);

/// Random changes for each target; `PODSYNC_FUZZ_ROUNDS` asks for more.
const ROUNDS: usize = 2_000;

#[test]
fn no_decoder_panics_or_takes_more_than_it_says() {
    let rounds = std::env::var("PODSYNC_FUZZ_ROUNDS")
        .ok()
        .and_then(|rounds| rounds.parse().ok())
        .unwrap_or(ROUNDS);
    for target in &TARGETS {
        let mut seeds = target.seeds();
        seeds.push(vec![1]);
        let mut tried = 0;
        for seed in &seeds {
            tried += each_length(target, seed) + promises(target, seed);
        }
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        for _ in 0..rounds {
            let bytes = changed(&seeds, &mut rng);
            attempt(target, &bytes);
        }
        println!("{}: {} inputs", target.name, tried + rounds);
    }
}

/// Runs a decoder within its limit.
fn attempt(target: &Target, bytes: &[u8]) {
    let before = MEMORY.allocated();
    MEMORY
        .set_limit(before + target.memory)
        .expect("the limit lies above what is taken");
    (target.run)(bytes);
    MEMORY.set_limit(usize::MAX).expect("no limit is above all");
}

/// Every beginning of a seed, and every byte of it flipped.
fn each_length(target: &Target, seed: &[u8]) -> usize {
    for at in 0..seed.len() {
        attempt(target, &seed[..at]);
        let mut flipped = seed.to_vec();
        flipped[at] ^= 1 << (at % 8);
        attempt(target, &flipped);
    }
    2 * seed.len()
}

/// Puts at each place a length that claims the largest count, followed by that many of the smallest
/// items: up to the format's bound, and one byte beyond it.
fn promises(target: &Target, seed: &[u8]) -> usize {
    let places = seed.len().min(400);
    for at in 0..places {
        let room = target.max_len.saturating_sub(at + 3);
        let promise = [
            (room | 0x80) as u8,
            (room >> 7 | 0x80) as u8,
            (room >> 14) as u8 & 0x7f,
        ];
        for fill in [0, 1] {
            // For the largest formats the full length is slow to make: only at some places.
            let len = if room <= 2 << 20 || at % 16 == 0 {
                room
            } else {
                4096
            };
            let mut bytes = [&seed[..at], &promise, &vec![fill; len]].concat();
            attempt(target, &bytes);
            bytes.push(fill);
            attempt(target, &bytes);
        }
    }
    4 * places
}

/// A seed with a few bytes changed, cut, doubled or put in from another.
fn changed(seeds: &[Vec<u8>], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let pick = |rng: &mut ChaCha8Rng| &seeds[rng.random_range(0..seeds.len())];
    let mut bytes = pick(rng).clone();
    for _ in 0..rng.random_range(1..6) {
        let at = rng.random_range(0..=bytes.len());
        match rng.random_range(0..5) {
            0 => bytes.truncate(at),
            1 => bytes.insert(at, rng.random()),
            2 => {
                let other = pick(rng);
                let from = rng.random_range(0..=other.len());
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
            3 => {
                let piece = bytes[at..].to_vec();
                bytes.extend(piece);
            }
            _ => {
                if let Some(byte) = bytes.get_mut(at) {
                    *byte = rng.random();
                }
            }
        }
    }
    bytes
}

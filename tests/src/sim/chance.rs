//! Random draws from a run's only source of randomness.

use std::{ops::Range, time::Duration};

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// A time within a span; its start if it is empty.
pub(super) fn time(rng: &mut ChaCha8Rng, span: &Range<Duration>) -> Duration {
    if span.is_empty() {
        span.start
    } else {
        rng.random_range(span.clone())
    }
}

/// One of several; none of none.
pub(super) fn one<'a, T>(rng: &mut ChaCha8Rng, among: &'a [T]) -> Option<&'a T> {
    (!among.is_empty()).then(|| &among[rng.random_range(0..among.len())])
}

/// A seed for an engine, a key or a salt.
pub(super) fn seed(rng: &mut ChaCha8Rng) -> [u8; 32] {
    rng.random()
}

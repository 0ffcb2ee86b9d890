//! The hub over loopback and buckets in memory: what it does, what it refuses, and what it never shows.

#![expect(
    clippy::unwrap_used,
    reason = "a test says by panicking what was not as it should be"
)]

mod bad_input;
mod collected;
mod fake;
mod feeds;
mod health;
mod kit;
mod lost;
mod membership;
mod mending;
mod moved;
mod program;
mod replicas;
mod room;
mod rotated;
mod running;
mod secrets;
mod shipped;
mod slow;
mod told;
mod unbound;

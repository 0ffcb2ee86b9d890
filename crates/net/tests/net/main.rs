//! Real networks on loopback: nothing here is simulated but the peers that lie.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod blobs;
mod connections;
mod exchanges;
mod gossip;
mod grafts;
mod hand;
mod hand_tls;
mod kit;
mod lanes;
mod liar;
mod strangers;

use std::alloc::System;

/// Counts what is allocated.
#[global_allocator]
static MEMORY: cap::Cap<System> = cap::Cap::new(System, usize::MAX);

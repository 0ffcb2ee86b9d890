//! Real networks on loopback: nothing here is simulated but the peers that lie.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod blobs;
mod connections;
mod exchanges;
mod gossip;
mod kit;
mod liar;

//! Real networks on loopback: nothing here is simulated but the peers that lie.

mod blobs;
mod connections;
mod exchanges;
mod gossip;
mod kit;
mod liar;

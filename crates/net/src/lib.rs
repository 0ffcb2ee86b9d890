//! Every byte of podsync to and from peers: one swarm, one key, one connection per peer.
//!
//! It carries bytes and makes no trust decisions: [`Gate`] says who is a member and what a peer may fetch.
//! The daemon decides whom to dial, when and where, and what to request. An actor owns the swarm; [`Net`] is
//! its handle, and it emits [`NetEvent`]s.
//!
//! Payloads bypass the actor: exchanges and blobs run on streams of their own, so that no transfer
//! waits behind another or in a queue of the swarm.

mod actor;
mod admission;
mod blobs;
mod config;
pub mod decoders;
mod error;
mod event;
mod exchange;
mod framing;
mod gate;
mod gossip;
mod handle;
mod interfaces;
mod lane;
mod limit;
mod outbox;
mod path;
mod peer_id;
mod peers;
mod places;
mod serve;
mod served;
mod streams;
mod swarm;

pub use blobs::{
    fetch::{BlobRange, FetchError, FetchStats, Sink},
    files::{BlobFiles, Shelf, Source},
};
pub use config::{DEFAULT_PORT, NetConfig, SpawnError};
pub use error::{DialError, NetGone, PublishError};
pub use event::{GossipId, NetEvent, Responder, ResponseTooLarge, Verdict};
pub use exchange::RequestError;
pub use gate::Gate;
pub use handle::Net;
pub use libp2p::{Multiaddr, multiaddr};
pub use limit::{MIN_RATE, Traffic};
pub use peer_id::split_address;
pub use peers::{Contact, PeerInfo};
pub use podsync_core::wire::{MAX_GOSSIP_LEN, Protocol};
pub use swarm::is_of_this_machine;

/// Makes ring the TLS provider of this process; every `main` calls it before anything else.
///
/// The dependencies bring two providers, and rustls panics where it has to choose by itself.
pub fn install_crypto() {
    // An error means that a provider is already installed, which is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
}

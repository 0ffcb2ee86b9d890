//! The names of iroh that iroh-blobs mentions, without iroh's network.
//!
//! podsync keeps blobs in iroh-blobs' store and speaks its protocol over libp2p. iroh-blobs can't be built
//! without iroh, which brings a QUIC of its own, relays, a DNS resolver and netlink: 33 packages that podsync
//! never calls. This crate takes iroh's place (`[patch.crates-io]` in the root's Cargo.toml).
//!
//! Whatever stands for a connection here has no value: nobody can make an [`Endpoint`], so the code of
//! iroh-blobs that would use one can't be reached, and the compiler leaves it out. iroh-blobs is pinned
//! exactly; a new version of it may need more names.

pub mod endpoint;
pub mod protocol;

use std::convert::Infallible;

pub use iroh_base::{EndpointAddr, EndpointId, PublicKey, RelayUrl, SecretKey, TransportAddr};

/// iroh's socket. There is none.
#[derive(Debug, Clone)]
pub struct Endpoint(Infallible);

impl Endpoint {
    pub async fn connect(
        &self,
        _to: impl Into<EndpointAddr>,
        _alpn: &[u8],
    ) -> Result<endpoint::Connection, endpoint::ConnectError> {
        match self.0 {}
    }
}

//! The data lane: bytes of packs on TLS 1.3 connections of their own, beside the libp2p connection.
//!
//! Both ends agree on a lane over `/podsync/lane/1`, and each proves the device key that the other knows from
//! there. Inside it go the requests and answers of `/podsync/blobs/1`, one after another. Nothing depends on
//! a lane: where none is to be had, the same bytes come over libp2p.

pub(crate) mod host;
mod newcomers;
pub(crate) mod offer;
mod offers;
pub(crate) mod pool;
pub(crate) mod sockets;
mod stream;
pub(crate) mod tls;

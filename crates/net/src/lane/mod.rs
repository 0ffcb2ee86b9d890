//! The data lane: carries pack data over separate TLS 1.3 connections beside the libp2p connection.
//!
//! Both ends agree on a lane over `/podsync/lane/2`, and each proves the device key that the other knows from
//! there. The lane carries requests and answers of `/podsync/blobs/1`, one after another. Lanes are optional:
//! without one the same bytes go over libp2p.

pub(crate) mod host;
mod newcomers;
pub(crate) mod offer;
mod offers;
pub(crate) mod pool;
pub(crate) mod sockets;
mod stream;
pub(crate) mod tls;

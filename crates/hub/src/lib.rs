//! The organisation's hub: it hands out presigned URLs and keeps feeds and membership in the bucket.
//!
//! It holds the bucket's credentials and no state of its own: the bucket is its database. What is asked of
//! it and how is `docs/hub-protocol.md`.

pub mod abilities;
pub mod aside;
pub mod audit;
pub mod authenticate;
pub mod certificates;
pub mod config;
pub mod embedded;
mod endpoints;
pub mod failure;
pub mod gc;
pub mod guard;
mod health;
mod hub;
mod inspect;
pub mod keys;
pub mod limits;
pub mod metrics;
pub mod moved;
mod nonces;
#[cfg(feature = "openapi")]
pub mod openapi;
pub mod operate;
mod regular;
pub mod reload;
pub mod router;
pub mod s3;
pub mod serve;
mod spans;
pub mod storage;
pub mod stored;
pub mod team;
mod teams;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
pub mod tls;
pub mod usage;
pub mod witness;

pub use hub::{Hub, Identity};
pub use team::{Confirm, TeamSettings};
pub use teams::Teams;

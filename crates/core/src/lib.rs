//! The domain of podsync: types, formats, signatures, rules and the engine.
//!
//! Pure: it takes inputs and a time, and returns outputs. No clock, no source of randomness, no
//! file and no socket is reachable from here; the daemon and the simulated network both drive it.

pub mod bounded;
pub mod catalog;
pub mod codec;
pub mod engine;
pub mod feed;
pub mod id;
pub mod keys;
pub mod manifest;
pub mod membership;
pub mod moved;
pub mod name;
pub mod nearest;
pub mod reference;
pub mod retention;
#[cfg(feature = "openapi")]
mod schema;
pub mod seal;
pub mod signed;
pub mod ticket;
pub mod units;
pub mod wire;

pub use id::{BlobId, ChunkId, ContentHash, DeviceId, EntryHash, EpochId, OpId, TeamId, VersionId};
pub use name::{DeviceLabel, MemberName, PodName, TagName, TeamName};

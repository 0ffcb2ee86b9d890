//! Every byte of podsync on the local disk.
//!
//! A [`Home`] is one install: its key, its lock and its folders. In it lie the [`Log`] (what was
//! signed and decided), the [`ChunkIndex`] (which chunk lies in which pack) and the [`Blobs`]
//! (packs and sealed manifests). All but [`Blobs`] block: call them from a blocking thread.

mod atomic;
mod blobs;
mod database;
mod error;
mod home;
mod index;
mod log;

pub use atomic::write_atomic;
pub use blobs::{BlobReader, Blobs, Held, PackFile, PackWriter, Pin, Ranges};
pub use error::StoreError;
pub use home::{Home, HomeError};
pub use index::{ChunkAt, ChunkIndex, ChunkLookup, PackClass, PackInfo};
pub use log::{EntryKey, Key, Log, Namespace, Record, Rows};

/// The places where a test can stop the process; see the feature `failpoints`.
pub const FAILPOINTS: [&str; 6] = [
    "store::identity::renamed",
    "store::log::commit",
    "store::index::commit",
    "store::pack::written",
    "store::pack::synced",
    "store::pack::adopted",
];

//! Every byte of podsync on the local disk.
//!
//! A [`Home`] is one install: its key, its lock and its folders. In it lie the [`Log`] (what was
//! signed and decided) and the [`Blobs`] (packs, whole or in part, and sealed manifests). All but
//! [`Blobs`] block: call them from a blocking thread.

mod atomic;
mod blobs;
mod database;
mod error;
mod holdings;
mod home;
mod log;
mod regular;
mod shell;
mod writeback;

pub use atomic::write_atomic;
pub use blobs::{BlobFiles, BlobReader, Blobs, Import, PackFile, PackWriter, Pin};
pub use error::{Remedy, StoreError};
pub use holdings::Holding;
pub use home::{Holder, Home, HomeError, NewHome, check_may_be_home, free_bytes, is_home};
pub use log::{EntryKey, Key, Log, Namespace, Record, Rows};
pub use regular::{MEND_LINK, open_regular, read_regular, read_text, refuse_dangling};
pub use shell::shell_word;

/// The points at which a test can stop the process; see the feature `failpoints`.
pub const FAILPOINTS: [&str; 6] = [
    "store::identity::renamed",
    "store::log::commit",
    "store::held::commit",
    "store::pack::written",
    "store::pack::synced",
    "store::pack::adopted",
];

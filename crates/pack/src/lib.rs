//! State to entries to chunks to packs, and back.
//!
//! Synchronous and free of clocks, randomness and network: files and readers come from the caller, and
//! so do the keys. Call it from a thread that may block.

mod chunker;
mod draft;
mod entry;
mod entry_bytes;
mod entry_table;
mod error;
mod fold;
mod frame;
mod known;
mod name;
mod needed;
mod ordered;
mod progress;
mod read;
mod rebuild;
mod rewrite;
mod rows;
mod save;
mod saved;
mod shelf;
mod slots;
mod source;
mod spool;
mod stream;
mod trailer;
mod writer;
mod zip;

pub use chunker::{CHUNK_AVERAGE_LEN, CHUNK_MAX_LEN, CHUNK_MIN_LEN};
pub use entry::{Entry, EntryError, EntryKind, decode_entry_table};
pub use error::SaveError;
pub use frame::FrameError;
pub use known::{Base, ChunkIndex, KnownChunks};
pub use name::{EntryName, LinkTarget, MAX_DEPTH, MAX_ENTRY_NAME_LEN, NameError};
pub use needed::{NeededUnits, table_units};
pub use progress::Progress;
pub use read::{ChunkRows, Entries, PackReader, ReadError, Version};
pub use rebuild::{Keep, RebuildError, Sink};
pub use rewrite::rewrite;
pub use save::{SaveOptions, save};
pub use saved::{SaveStats, Saved, SavedState};
pub use source::{Source, SourceError, folder_len, secret_in};
pub use trailer::{MAX_FRAMES, TrailerError, TrailerRow, decode_trailer, read_trailer};
pub use writer::PackSink;
pub use zip::directory::{Directory, DirectoryError, Loose, Member, Method, loose_members};

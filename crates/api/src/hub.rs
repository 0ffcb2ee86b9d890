//! The hub's HTTP shapes: requests of devices to the organisation's hub, and its answers.
//!
//! Both sides use these, and `docs/hub-protocol.md` says what they mean. Nothing here is trusted: entries, heads
//! and operations are signed bytes that each side verifies.

mod bytes;
mod code;
mod error;
mod feed;
mod membership;
mod objects;
#[cfg(feature = "signature")]
pub mod signature;

pub use bytes::Base64;
pub use code::HubErrorCode;
pub use error::HubError;
pub use feed::{
    Commit, CommitEntry, Committed, FeedPage, FeedQuery, Heads, MAX_COMMIT_ENTRIES,
    MAX_ENTRY_OUTBOARDS, PostLiveness, Stored,
};
pub use membership::{FetchOperations, JoinByInvite, Operations, PostOperations, TeamInfo, Time};
pub use objects::{
    Action, Actions, BatchOperation, BatchRequest, BatchResponse, BatchedId, BatchedObject,
    MAX_BATCH_OBJECTS, MAX_OUTBOARDS_LEN, ObjectError, ObjectId, ObjectKind, ObjectRef, Placement,
    Sha256,
};

/// The most bytes of a request's or an answer's body: a commit of the longest entry, its blobs
/// listed, has some 3 MiB.
pub const MAX_BODY_LEN: usize = 8 << 20;

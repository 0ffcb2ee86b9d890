//! Feeds at the hub: committing entries, and reading them back with the places of their blobs.
//!
//! The committer claims a placement, and nobody has to trust it: a device that fetches checks the bytes against the
//! BLAKE3 in the entry's header. So a wrong placement only costs a fetch.

use podsync_core::{DeviceId, OpId};
use serde::{Deserialize, Serialize};

use super::{Base64, ObjectRef, Placement};

/// The most entries of a commit.
pub const MAX_COMMIT_ENTRIES: usize = 64;
/// The most outboards objects of an entry: those of 1 TiB of packs.
pub const MAX_ENTRY_OUTBOARDS: usize = 64;

/// `POST commit`: the next entries of the signing device's own feed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Commit {
    /// The signed head that names the last of `entries`.
    #[cfg_attr(feature = "openapi", schema(value_type = String, content_encoding = "base64"))]
    pub head: Base64,
    /// Oldest first, without a gap; at most [`MAX_COMMIT_ENTRIES`]. Those that the bucket has
    /// already are passed over.
    pub entries: Vec<CommitEntry>,
}

/// A feed entry and where its blobs lie.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CommitEntry {
    /// The entry's bytes.
    #[cfg_attr(feature = "openapi", schema(value_type = String, content_encoding = "base64"))]
    pub entry: Base64,
    /// One for each blob that the entry's header lists, in the same order.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub objects: Vec<Placement>,
    /// Objects of the kind `outboards` that hold the outboard of every pack among the blobs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outboards: Vec<ObjectRef>,
}

/// An entry as the bucket has it.
pub type Committed = CommitEntry;

/// The answer to a commit: the feed reaches to here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Stored {
    pub seq: u64,
}

/// `GET heads`: the newest of everything. Ask with `If-None-Match`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Heads {
    /// The membership heads.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub membership: Vec<OpId>,
    /// Signed feed heads, one for each device; two where a device signed two feeds.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>, content_encoding = "base64"))]
    pub feeds: Vec<Base64>,
    /// The newest signed liveness statement of each device that made one.
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>, content_encoding = "base64"))]
    pub liveness: Vec<Base64>,
}

/// `GET feeds/{device}`: entries `from..=to`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::IntoParams))]
#[serde(deny_unknown_fields)]
pub struct FeedQuery {
    #[serde(default = "first")]
    pub from: u64,
    /// The newest where none is given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<u64>,
}

fn first() -> u64 {
    1
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FeedPage {
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub device: DeviceId,
    /// Newest first, so that each is proved by the one before it.
    pub entries: Vec<Committed>,
    /// The answer was full: ask again up to the number before the last of these.
    pub more: bool,
}

/// `POST liveness`: a signed liveness statement of the signing device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PostLiveness {
    #[cfg_attr(feature = "openapi", schema(value_type = String, content_encoding = "base64"))]
    pub statement: Base64,
}

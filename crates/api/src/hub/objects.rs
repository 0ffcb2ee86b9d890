//! Objects: bytes in the bucket under their SHA-256, and how to upload and download them.
//!
//! Members name objects by hash and never by bucket key: the hub builds the keys. A *generation* distinguishes an
//! object from one with the same bytes that the bucket's garbage collection has condemned.

use std::{collections::BTreeMap, fmt, str::FromStr};

use data_encoding::HEXLOWER;
use podsync_core::{
    manifest::{MAX_MANIFEST_LEN, PACK_MAX_LEN},
    seal::{SALT_LEN, TAG_LEN},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::HubErrorCode;

/// The most objects of a batch.
pub const MAX_BATCH_OBJECTS: usize = 1000;
/// The most bytes of an outboards object: those of 16 GiB of packs.
pub const MAX_OUTBOARDS_LEN: u64 = 64 << 20;

/// The SHA-256 of an object's bytes, in hex.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Sha256([u8; 32]);

impl Sha256 {
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        HEXLOWER.encode_display(&self.0).fmt(f)
    }
}

impl fmt::Debug for Sha256 {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sha256({self})")
    }
}

/// Text that is not a SHA-256.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not a SHA-256: expected 64 lower-case hex digits")]
pub struct ParseSha256Error;

impl FromStr for Sha256 {
    type Err = ParseSha256Error;

    fn from_str(text: &str) -> Result<Self, ParseSha256Error> {
        let bytes = HEXLOWER
            .decode(text.as_bytes())
            .map_err(|_| ParseSha256Error)?;
        bytes.try_into().map(Self).map_err(|_| ParseSha256Error)
    }
}

impl Serialize for Sha256 {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Sha256 {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = std::borrow::Cow::<str>::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// What an object is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ObjectKind {
    /// Sealed chunks.
    Pack,
    /// A sealed manifest.
    Manifest,
    /// The bao outboards of packs.
    Outboards,
}

impl ObjectKind {
    /// The most bytes that one may have.
    pub const fn max_len(self) -> u64 {
        match self {
            Self::Pack => PACK_MAX_LEN,
            Self::Manifest => (MAX_MANIFEST_LEN + SALT_LEN + TAG_LEN) as u64,
            Self::Outboards => MAX_OUTBOARDS_LEN,
        }
    }
}

/// Bytes that are to be put or fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ObjectId {
    pub kind: ObjectKind,
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub sha256: Sha256,
    /// Bytes.
    pub size: u64,
}

/// An object in the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ObjectRef {
    #[serde(flatten)]
    pub id: ObjectId,
    pub generation: u32,
}

/// Where a blob lies whose kind and length are told elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Placement {
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub sha256: Sha256,
    pub generation: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum BatchOperation {
    Upload,
    Download,
    /// Put an object right that is gone or has other bytes: a `PUT` over whatever is there.
    Replace,
}

/// `POST objects/batch`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BatchRequest {
    pub operation: BatchOperation,
    /// At most [`MAX_BATCH_OBJECTS`], none twice. For an upload the generation is ignored: the
    /// answer says which it is. For a replacement it is named.
    pub objects: Vec<BatchedId>,
    /// For an upload: bytes that this device asks for in later batches, as far as it knows. Room for them is
    /// kept until its next batch that says this.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub following: Option<u64>,
}

/// One object of a [`BatchRequest`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BatchedId {
    #[serde(flatten)]
    pub id: ObjectId,
    /// Which one to download or replace, as an entry's placement says; for a download none takes the one
    /// that is in use.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<u32>,
}

/// The answer: one for each object asked about, in the same order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BatchResponse {
    pub objects: Vec<BatchedObject>,
}

/// What to do about one object. An upload without `actions` and `error` is there already.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct BatchedObject {
    #[serde(flatten)]
    pub object: ObjectRef,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub actions: Option<Actions>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<ObjectError>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Actions {
    Upload(Action),
    Download(Action),
}

/// A request to the bucket that was signed beforehand: `PUT` to upload or replace, `GET` to download.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Action {
    /// As good as a key to this object until it expires: it belongs in no log.
    pub href: String,
    /// Headers to send as they are; they are part of the signature. A `Range` may be added.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub header: BTreeMap<String, String>,
    /// Seconds.
    pub expires_in: u64,
}

impl fmt::Debug for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Action")
            .field("href", &"hidden")
            .field("expires_in", &self.expires_in)
            .finish_non_exhaustive()
    }
}

/// Why nothing can be done about one object; the others of the batch are not concerned.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[error("{message}")]
pub struct ObjectError {
    pub code: HubErrorCode,
    pub message: String,
}

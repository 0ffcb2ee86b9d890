//! The feed: what one device has published, tagged and dropped, as a chain of entries.
//!
//! An entry carries no signature. It counts because a signed [`Head`] names its hash, or because a
//! later entry that counts does: one signature proves a whole feed. Entry bytes are hashed as
//! received; an [`Entry`] is never encoded a second time.

mod chain;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::{
    bounded::Bounded,
    codec::{CodecError, Format},
    id::{BlobId, DeviceId, EntryHash, EpochId, OpId, TeamId, VersionId},
    manifest::{Emulator, MAX_MANIFEST_LEN, MAX_MESSAGE_LEN, MAX_PACKS, PACK_MAX_LEN},
    name::{PodName, TagName},
    seal::{self, BrokenSeal, SALT_LEN, SecretKey},
    signed::{Domain, SignedPayload},
};

pub use crate::manifest::{MAX_PARENTS, MAX_SERVICES};
pub use chain::{Added, Feed, Fork};

/// The most bytes of an entry: a version of 256 GiB lists 8,192 packs of some 37 bytes.
pub const MAX_ENTRY_LEN: usize = 1 << 20;
/// The most blobs of an entry: the manifest and as many packs as a version may draw on.
pub const MAX_BLOBS: usize = MAX_PACKS + 1;
/// The most membership heads that an entry names.
pub const MAX_MEMBERSHIP_HEADS: usize = 64;
/// The most tags that are set along with a publication.
pub const MAX_TAGS: usize = 16;
/// The most earlier tag entries that one supersedes.
pub const MAX_SUPERSEDED: usize = 64;
/// The most entries that a drop retires: one version may have been announced by several devices.
pub const MAX_RETIRED: usize = 64;
/// The longest name of a service or an emulator.
const MAX_LABEL_LEN: usize = 128;
/// The largest manifest blob: the plain manifest, its salt and its tag.
const MAX_MANIFEST_BLOB_LEN: u64 = (MAX_MANIFEST_LEN + SALT_LEN + seal::TAG_LEN) as u64;

const BODY_CONTEXT: &str = "podsync 2026 feed body 1";

/// The newest entry of a device's feed, as signed by the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    pub seq: u64,
    pub entry: EntryHash,
}

impl Format for Head {
    const NAME: &'static str = "feed head";
    const VERSION: u8 = 1;
    const MAX_LEN: usize = 64;
}

impl SignedPayload for Head {
    const DOMAIN: Domain = Domain::Head;
}

/// The unsealed part of an entry: enough to chain it, judge it and fetch its blobs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    pub team: TeamId,
    pub device: DeviceId,
    /// Counts from 1.
    pub seq: u64,
    /// The previous entry. None for the first.
    pub previous: Option<EntryHash>,
    /// The membership heads that its author knew.
    pub membership: Bounded<OpId, MAX_MEMBERSHIP_HEADS>,
    /// The key epoch that its body and its manifest are sealed under.
    pub epoch: EpochId,
    pub kind: Kind,
    /// For a publication: the sealed manifest, then the packs. Otherwise empty.
    pub blobs: Bounded<BlobRef, MAX_BLOBS>,
}

impl Format for Header {
    const NAME: &'static str = "feed entry header";
    const VERSION: u8 = 1;
    const MAX_LEN: usize = MAX_ENTRY_LEN;
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    Publish,
    Tag,
    /// A drop that names its version only in the sealed body. It is read and no longer written.
    Drop,
    /// A drop whose unsealed part also names the publications that it ends, so a node without the team's
    /// key can delete their blobs.
    Retire(Bounded<EntryHash, MAX_RETIRED>),
}

/// A blob and its length: enough to fetch it from an untrusted provider.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct BlobRef {
    pub id: BlobId,
    pub len: u64,
}

/// The sealed part of an entry, for the team only.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Body {
    Publish(Publication),
    Tag(TagChange),
    Drop { pod: PodName, version: VersionId },
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    pub pod: PodName,
    /// 1 + the highest number that its author knew of. Two authors may pick the same one.
    pub number: u64,
    pub version: VersionId,
    /// All tips that its author knew. The version thereby merges earlier forks.
    pub parents: Bounded<VersionId, MAX_PARENTS>,
    pub message: String,
    pub services: Bounded<String, MAX_SERVICES>,
    pub emulator: Option<Emulator>,
    /// Unix milliseconds, for people; never for order.
    pub created_ms: u64,
    pub state_len: u64,
    pub entry_count: u64,
    /// Tags that are set to this version.
    pub tags: Bounded<TagName, MAX_TAGS>,
    /// Earlier entries on `tags` that this one replaces.
    pub supersedes: Bounded<EntryHash, MAX_SUPERSEDED>,
}

/// Moves or removes a tag.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TagChange {
    pub pod: PodName,
    pub tag: TagName,
    pub version: Option<VersionId>,
    /// Earlier entries on this tag that this one replaces: all that its author knew.
    pub supersedes: Bounded<EntryHash, MAX_SUPERSEDED>,
}

impl Format for Body {
    const NAME: &'static str = "feed entry body";
    const VERSION: u8 = 1;
    const MAX_LEN: usize = 64 << 10;
}

/// The wire form of an entry: the header's bytes, and the body sealed with them as associated data.
#[derive(Serialize, Deserialize)]
struct Envelope {
    header: ByteBuf,
    sealed_body: ByteBuf,
}

impl Format for Envelope {
    const NAME: &'static str = "feed entry";
    const VERSION: u8 = 1;
    const MAX_LEN: usize = MAX_ENTRY_LEN;
}

/// An entry with a checked form, and the hash of its bytes. [`Feed::add`] decides whether it
/// belongs to a feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    hash: EntryHash,
    header: Header,
    bytes: Arc<[u8]>,
}

/// Bytes that are no feed entry, or an entry that says something impossible.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EntryError {
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("feed entry: {0}")]
    Impossible(&'static str),
    #[error("feed entry: this team key does not open its body: {0}")]
    Seal(#[from] BrokenSeal),
}

impl Entry {
    /// Writes an entry. `salt` must be fresh.
    pub fn write(
        header: &Header,
        body: &Body,
        epoch_key: &SecretKey,
        salt: [u8; SALT_LEN],
    ) -> Result<Self, EntryError> {
        check_header(header)?;
        check_body(body)?;
        let header = header.encode();
        let sealed_body = seal::seal_once(epoch_key, BODY_CONTEXT, salt, &header, &body.encode());
        let envelope = Envelope {
            header: header.into(),
            sealed_body: sealed_body.into(),
        };
        Self::decode(&envelope.encode())
    }

    /// Reads an entry and hashes it.
    pub fn decode(bytes: &[u8]) -> Result<Self, EntryError> {
        let envelope = Envelope::decode(bytes)?;
        let header = Header::decode(&envelope.header)?;
        check_header(&header)?;
        Ok(Self {
            hash: EntryHash::of(bytes),
            header,
            bytes: bytes.into(),
        })
    }

    pub fn hash(&self) -> EntryHash {
        self.hash
    }

    pub fn header(&self) -> &Header {
        &self.header
    }

    /// The publications that this entry ends, from its unsealed part.
    pub fn retires(&self) -> &[EntryHash] {
        match &self.header.kind {
            Kind::Retire(entries) => entries,
            Kind::Publish | Kind::Tag | Kind::Drop => &[],
        }
    }

    /// The bytes as received.
    pub fn bytes(&self) -> &Arc<[u8]> {
        &self.bytes
    }

    /// Opens the body; its kind and bounds are checked against the header.
    pub fn open(&self, epoch_key: &SecretKey) -> Result<Body, EntryError> {
        let envelope = Envelope::decode(&self.bytes)?;
        let plain = seal::open_once(
            epoch_key,
            BODY_CONTEXT,
            &envelope.header,
            &envelope.sealed_body,
        )?;
        let body = Body::decode(&plain)?;
        check_body(&body)?;
        let fits = match body {
            Body::Publish(_) => self.header.kind == Kind::Publish,
            Body::Tag(_) => self.header.kind == Kind::Tag,
            Body::Drop { .. } => matches!(self.header.kind, Kind::Drop | Kind::Retire(_)),
        };
        if !fits {
            return Err(EntryError::Impossible(
                "its body is not of the kind that its header says",
            ));
        }
        Ok(body)
    }
}

fn check_header(header: &Header) -> Result<(), EntryError> {
    let fail = |what| Err(EntryError::Impossible(what));
    if header.seq == 0 || header.seq == u64::MAX {
        return fail("its number in the feed is impossible");
    }
    if (header.seq == 1) != header.previous.is_none() {
        return fail("only the first entry of a feed has none before it");
    }
    match (&header.kind, header.blobs.split_first()) {
        (Kind::Publish, None) => fail("it publishes a version without a manifest"),
        (Kind::Publish, Some((manifest, packs))) => {
            if manifest.len == 0 || manifest.len > MAX_MANIFEST_BLOB_LEN {
                return fail("its manifest has an impossible length");
            }
            if packs
                .iter()
                .any(|pack| pack.len == 0 || pack.len > PACK_MAX_LEN)
            {
                return fail("a pack has an impossible length");
            }
            Ok(())
        }
        (Kind::Tag | Kind::Drop | Kind::Retire(_), Some(_)) => {
            fail("only a publication lists blobs")
        }
        (Kind::Tag | Kind::Drop | Kind::Retire(_), None) => Ok(()),
    }
}

fn check_body(body: &Body) -> Result<(), EntryError> {
    let fail = |what| Err(EntryError::Impossible(what));
    let Body::Publish(publication) = body else {
        return Ok(());
    };
    let emulator_fits = publication
        .emulator
        .as_ref()
        .is_none_or(|emulator| emulator.name.len().max(emulator.version.len()) <= MAX_LABEL_LEN);
    if publication.number == 0 || publication.number == u64::MAX {
        return fail("its version number is impossible");
    }
    if publication.message.len() > MAX_MESSAGE_LEN {
        return fail("its message is longer than a message may be: shorten it");
    }
    if !emulator_fits
        || publication
            .services
            .iter()
            .any(|name| name.len() > MAX_LABEL_LEN)
    {
        return fail("a service or emulator name is too long");
    }
    if publication.parents.contains(&publication.version) {
        return fail("a version cannot be its own parent");
    }
    Ok(())
}

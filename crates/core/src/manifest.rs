//! The manifest: the complete description of a version.
//!
//! The header is small and travels sealed to the team key. The tables of entries and chunks are
//! themselves chunks in packs, so the header only says where those table chunks lie.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::{
    bounded::at_most,
    codec::{CodecError, Format},
    id::{BlobId, ChunkId, ContentHash, VersionId},
    name::PodName,
    seal::{self, BrokenSeal, SecretKey},
};

/// The most bytes of a plain manifest header.
pub const MAX_MANIFEST_LEN: usize = 1 << 20;
/// The most chunks of a version: with 64 KiB on average, 256 GiB of state.
pub const MAX_CHUNKS: u64 = 4 << 20;
/// The most entries of a version.
pub const MAX_ENTRIES: u64 = 2 << 20;
/// The most parents of a version: more devices than share one pod at the same moment.
pub const MAX_PARENTS: usize = 64;
/// The most services that a version's state may list; LocalStack has some 120.
pub const MAX_SERVICES: usize = 256;
/// The most packs that a version uses: 256 GiB in full packs.
pub const MAX_PACKS: usize = 8192;
/// The target size of a pack, in sealed bytes.
pub const PACK_TARGET_LEN: u64 = 32 << 20;
/// The most bytes of a pack that is accepted.
pub const PACK_MAX_LEN: u64 = 64 << 20;

const SEAL_CONTEXT: &str = "podsync 2026 manifest 1";

/// A version's header.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    pub pod: PodName,
    /// The versions this one was derived from; none for a pod's first.
    #[serde(deserialize_with = "at_most::<_, _, MAX_PARENTS>")]
    pub parents: Vec<VersionId>,
    /// The author's message, at most [`MAX_MESSAGE_LEN`] bytes.
    pub message: String,
    pub source: Source,
    /// Unix milliseconds, for people; never for order.
    pub created_ms: u64,
    /// What the state is rebuilt into.
    pub container: Container,
    /// Bytes of the state's stream: the plain bytes of all entries.
    pub state_len: u64,
    pub entry_count: u64,
    /// The hash of the content without entry times. An unchanged state has the same as its parent.
    pub content: ContentHash,
    /// Where the encoded entry table lies.
    pub entries: Table,
    /// Where the encoded chunk table lies.
    pub chunks: Table,
    /// The packs of this version; [`ChunkLocation::pack`] indexes it. Packs of a parent keep their
    /// index, so that an unchanged table stays the same bytes.
    #[serde(deserialize_with = "at_most::<_, _, MAX_PACKS>")]
    pub packs: Vec<PackRef>,
}

/// The most bytes of a version's message.
pub const MAX_MESSAGE_LEN: usize = 4096;

impl Format for Manifest {
    const NAME: &'static str = "manifest";
    const VERSION: u8 = 1;
    const MAX_LEN: usize = MAX_MANIFEST_LEN;
}

/// Where a state came from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Source {
    /// The emulator, where it came from a running one.
    pub emulator: Option<Emulator>,
    /// Services within, sorted; empty where unknown.
    #[serde(deserialize_with = "at_most::<_, _, MAX_SERVICES>")]
    pub services: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Emulator {
    /// `localstack`, `localstack-pro`, ...
    pub name: String,
    pub version: String,
}

impl fmt::Display for Emulator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.version)
    }
}

/// What a state is rebuilt into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Container {
    /// A folder: entries are its files and folders.
    Folder,
    /// A zip whose members are the entries; rebuilt the same every time.
    Zip,
    /// One file, byte for byte; it has one entry.
    File,
}

/// An encoded table: `len` plain bytes in the chunks given, in order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    pub len: u64,
    pub chunks: Vec<ChunkLocation>,
}

/// One chunk and where it lies: a row of the chunk table.
///
/// As a table row it is [`ChunkLocation::ROW_LEN`] bytes: id, then pack, frame, offset, sealed length
/// and plain length as little-endian `u32`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct ChunkLocation {
    pub id: ChunkId,
    /// Index into [`Manifest::packs`].
    pub pack: u32,
    /// The chunk's index in its pack: its nonce.
    pub frame: u32,
    /// Where its sealed bytes begin in the pack.
    pub offset: u32,
    /// Sealed bytes, tag included.
    pub sealed_len: u32,
    pub plain_len: u32,
}

impl ChunkLocation {
    pub const ROW_LEN: usize = 52;

    pub fn to_row(&self) -> [u8; Self::ROW_LEN] {
        let mut row = [0; Self::ROW_LEN];
        row[..32].copy_from_slice(self.id.as_bytes());
        let numbers = [
            self.pack,
            self.frame,
            self.offset,
            self.sealed_len,
            self.plain_len,
        ];
        for (field, number) in row[32..].chunks_exact_mut(4).zip(numbers) {
            field.copy_from_slice(&number.to_le_bytes());
        }
        row
    }

    pub fn from_row(row: &[u8; Self::ROW_LEN]) -> Self {
        let number = |at: usize| {
            let at = 32 + 4 * at;
            u32::from_le_bytes([row[at], row[at + 1], row[at + 2], row[at + 3]])
        };
        let mut id = [0; 32];
        id.copy_from_slice(&row[..32]);
        Self {
            id: ChunkId::from_bytes(id),
            pack: number(0),
            frame: number(1),
            offset: number(2),
            sealed_len: number(3),
            plain_len: number(4),
        }
    }
}

/// One pack of a version. Each pack has its own random key: a reader of the manifest can read the
/// pack.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PackRef {
    /// BLAKE3 of the sealed bytes.
    pub id: BlobId,
    /// SHA-256 of the sealed bytes, the pack's name in a bucket. Usually none: it is computed when the
    /// pack is uploaded.
    #[serde(with = "sha256_or_zeros")]
    pub sha256: Option<[u8; 32]>,
    /// Sealed bytes.
    pub len: u64,
    pub key: SecretKey,
}

/// Always 32 bytes. Zeros mean none, since no known input has that hash.
mod sha256_or_zeros {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    const NONE: [u8; 32] = [0; 32];

    pub(super) fn serialize<S: Serializer>(
        sha256: &Option<[u8; 32]>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        sha256.unwrap_or(NONE).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<[u8; 32]>, D::Error> {
        let bytes = <[u8; 32]>::deserialize(deserializer)?;
        Ok((bytes != NONE).then_some(bytes))
    }
}

/// Why a manifest cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ManifestError {
    #[error("manifest: {0}")]
    Seal(#[from] BrokenSeal),
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error("manifest: its hash is {found}, but {expected} was announced")]
    WrongVersion {
        expected: VersionId,
        found: VersionId,
    },
    #[error("manifest: {0}")]
    OutOfBounds(&'static str),
}

impl Manifest {
    /// The plain bytes and their version id.
    pub fn to_version(&self) -> (Vec<u8>, VersionId) {
        let plain = self.encode();
        let id = VersionId::of(&plain);
        (plain, id)
    }

    /// [`Self::to_version`], after checking every bound that a reader checks.
    pub fn to_sound_version(&self) -> Result<(Vec<u8>, VersionId), ManifestError> {
        let (plain, id) = self.to_version();
        Self::decode(&plain).map_err(|error| match error {
            CodecError::TooLarge { .. } => error.into(),
            _ => ManifestError::OutOfBounds("a list in it is longer than a version may have"),
        })?;
        self.check()?;
        Ok((plain, id))
    }

    /// Seals plain manifest bytes to a team key. The sealed bytes are the manifest's blob.
    pub fn seal(plain: &[u8], team_key: &SecretKey, salt: [u8; seal::SALT_LEN]) -> Vec<u8> {
        seal::seal_once(team_key, SEAL_CONTEXT, salt, b"", plain)
    }

    /// Opens a manifest blob, checks that it is `expected`, and checks its bounds.
    pub fn open(
        sealed: &[u8],
        team_key: &SecretKey,
        expected: VersionId,
    ) -> Result<Self, ManifestError> {
        let plain = seal::open_once(team_key, SEAL_CONTEXT, b"", sealed)?;
        let found = VersionId::of(&plain);
        if found != expected {
            return Err(ManifestError::WrongVersion { expected, found });
        }
        let manifest = Self::decode(&plain)?;
        manifest.check()?;
        Ok(manifest)
    }

    /// Checks the bounds that later reads rely on: nothing points outside its pack or the pack
    /// list.
    fn check(&self) -> Result<(), ManifestError> {
        let fail = |what| Err(ManifestError::OutOfBounds(what));
        if self.message.len() > MAX_MESSAGE_LEN {
            return fail("its message is too long");
        }
        if self.entry_count > MAX_ENTRIES {
            return fail("it has more entries than a version may have");
        }
        if self.packs.iter().any(|pack| pack.len > PACK_MAX_LEN) {
            return fail("a pack is larger than packs may be");
        }
        if !self
            .chunks
            .len
            .is_multiple_of(ChunkLocation::ROW_LEN as u64)
            || self.chunks.len / ChunkLocation::ROW_LEN as u64 > MAX_CHUNKS
        {
            return fail("its chunk table has an impossible length");
        }
        for table in [&self.entries, &self.chunks] {
            let mut len = 0_u64;
            for location in &table.chunks {
                self.check_location(location)?;
                len += u64::from(location.plain_len);
            }
            if len != table.len {
                return fail("a table's chunks do not add up to its length");
            }
        }
        Ok(())
    }

    /// Whether a row of the chunk table lies within its pack.
    pub fn check_location(&self, location: &ChunkLocation) -> Result<(), ManifestError> {
        let Some(pack) = self.packs.get(location.pack as usize) else {
            return Err(ManifestError::OutOfBounds(
                "a chunk lies in a pack that is not listed",
            ));
        };
        if u64::from(location.offset) + u64::from(location.sealed_len) > pack.len {
            return Err(ManifestError::OutOfBounds(
                "a chunk lies beyond the end of its pack",
            ));
        }
        Ok(())
    }
}

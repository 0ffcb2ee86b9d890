//! Identifiers: 32-byte newtypes that cannot be mixed up.
//!
//! All but [`DeviceId`] are BLAKE3 hashes written as lower-case hex; a device is an ed25519 public
//! key written as its libp2p `PeerId`, so that logs of both layers name it alike.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Text that is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is not a {kind}: expected {expected}")]
pub struct ParseIdError {
    kind: &'static str,
    expected: &'static str,
    text: String,
}

/// In formats for people (JSON) an identifier is its text, in our own the 32 bytes.
macro_rules! as_text_for_people {
    ($name:ident) => {
        #[cfg(feature = "openapi")]
        crate::schema::text_schema!($name);

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    self.0.serialize(serializer)
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                if deserializer.is_human_readable() {
                    let text = String::deserialize(deserializer)?;
                    text.parse().map_err(serde::de::Error::custom)
                } else {
                    <[u8; 32]>::deserialize(deserializer).map(Self)
                }
            }
        }
    };
}

macro_rules! hash_id {
    ($(#[$doc:meta])* $name:ident, $kind:literal) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name([u8; 32]);

        as_text_for_people!($name);

        impl $name {
            /// Wraps 32 bytes that are already a hash.
            pub const fn from_bytes(bytes: [u8; 32]) -> Self {
                Self(bytes)
            }

            /// The BLAKE3 hash of `bytes`.
            pub fn of(bytes: &[u8]) -> Self {
                Self(*blake3::hash(bytes).as_bytes())
            }

            pub const fn as_bytes(&self) -> &[u8; 32] {
                &self.0
            }

            /// The first ten hex digits: enough for people and for log spans.
            pub fn short(&self) -> String {
                self.to_string()[..10].to_owned()
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&data_encoding::HEXLOWER.encode(&self.0))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.short())
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                data_encoding::HEXLOWER
                    .decode(text.as_bytes())
                    .ok()
                    .and_then(|bytes| bytes.try_into().ok())
                    .map(Self)
                    .ok_or_else(|| ParseIdError {
                        kind: $kind,
                        expected: "64 lower-case hex digits",
                        text: text.chars().take(80).collect(),
                    })
            }
        }
    };
}

hash_id!(
    /// A team: the hash of its founding operation's envelope.
    TeamId,
    "team id"
);
hash_id!(
    /// A signed membership operation: the hash of its envelope as received.
    OpId,
    "operation id"
);
hash_id!(
    /// A feed entry: the hash of its bytes as received.
    EntryHash,
    "feed entry hash"
);
hash_id!(
    /// A version: the hash of its plain manifest.
    VersionId,
    "version id"
);
hash_id!(
    /// A chunk: the hash of its plain bytes. Seen only inside sealed things.
    ChunkId,
    "chunk id"
);
hash_id!(
    /// The content of a state without times: equal for two saves of an unchanged state.
    ContentHash,
    "content hash"
);
hash_id!(
    /// A blob, as sent and stored: a sealed pack or a sealed manifest.
    BlobId,
    "blob id"
);
hash_id!(
    /// A key epoch: random, minted with the team key it names.
    EpochId,
    "key epoch id"
);

/// A device: its ed25519 public key.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct DeviceId([u8; 32]);

as_text_for_people!(DeviceId);

/// What a libp2p `PeerId` of an ed25519 key puts before the 32 key bytes: identity multihash of a
/// 36-byte protobuf, key type ed25519, 32 bytes of key (libp2p peer-ids specification).
const PEER_ID_PREFIX: [u8; 6] = [0x00, 0x24, 0x08, 0x01, 0x12, 0x20];

impl DeviceId {
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The last eight characters of the peer id; the first ones are alike for every device.
    pub fn short(&self) -> String {
        let text = self.to_string();
        text[text.len() - 8..].to_owned()
    }

    /// The bytes of the libp2p `PeerId` of this key.
    pub fn to_peer_id_bytes(&self) -> Vec<u8> {
        [&PEER_ID_PREFIX[..], &self.0].concat()
    }

    /// The device behind a libp2p `PeerId`; none where the peer's key isn't ed25519.
    pub fn from_peer_id_bytes(bytes: &[u8]) -> Option<Self> {
        let key = bytes.strip_prefix(&PEER_ID_PREFIX)?;
        key.try_into().ok().map(Self)
    }
}

impl fmt::Display for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&bs58::encode(self.to_peer_id_bytes()).into_string())
    }
}

impl fmt::Debug for DeviceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceId({})", self.short())
    }
}

impl FromStr for DeviceId {
    type Err = ParseIdError;

    fn from_str(text: &str) -> Result<Self, ParseIdError> {
        let error = || ParseIdError {
            kind: "device id",
            expected: "a peer id that begins with 12D3Koo",
            text: text.chars().take(80).collect(),
        };
        // A peer id has 52 characters; base58 is quadratic, so longer input is refused unread.
        if text.len() > 60 {
            return Err(error());
        }
        let bytes = bs58::decode(text).into_vec().map_err(|_| error())?;
        Self::from_peer_id_bytes(&bytes).ok_or_else(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hash_ids_print_and_parse() {
        let id = VersionId::of(b"podsync");
        assert_eq!(id.to_string().parse(), Ok(id));
        assert!("abc".parse::<VersionId>().is_err());
        assert!("AB".repeat(32).parse::<VersionId>().is_err());
    }

    #[test]
    fn device_prints_as_its_peer_id() {
        let device = DeviceId::from_bytes([7; 32]);
        assert!(device.to_string().starts_with("12D3Koo"));
        assert_eq!(device.to_string().parse(), Ok(device));
        assert!("12D3KooWrong".parse::<DeviceId>().is_err());
        assert!("1".repeat(10_000).parse::<DeviceId>().is_err());
    }
}

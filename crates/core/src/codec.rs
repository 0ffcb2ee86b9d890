//! The encoding of every podsync format: a version byte, then postcard, with a bound on size.
//!
//! Bytes are hashed and signed as received and never re-encoded: keep the bytes beside the value.

use serde::{Serialize, de::DeserializeOwned};

/// Why bytes could not be decoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CodecError {
    #[error("{format}: {len} bytes, more than the {max} allowed")]
    TooLarge {
        format: &'static str,
        len: usize,
        max: usize,
    },
    #[error(
        "{format}: version {found} is not known here; a newer podsync wrote it, update this one"
    )]
    Version { format: &'static str, found: u8 },
    #[error("{format}: malformed")]
    Malformed { format: &'static str },
}

/// A format: its name in errors, the version that is written, and the maximum length that is read.
pub trait Format: Serialize + DeserializeOwned {
    const NAME: &'static str;
    const VERSION: u8;
    const MAX_LEN: usize;

    /// The version byte followed by the postcard encoding.
    fn encode(&self) -> Vec<u8> {
        postcard::to_extend(self, vec![Self::VERSION]).expect(
            "serialising to memory fails only for maps of unknown length, which no format has",
        )
    }

    /// Refuses oversized, unknown, malformed and trailing bytes.
    fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        if bytes.len() > Self::MAX_LEN {
            return Err(CodecError::TooLarge {
                format: Self::NAME,
                len: bytes.len(),
                max: Self::MAX_LEN,
            });
        }
        let (&version, body) = bytes
            .split_first()
            .ok_or(CodecError::Malformed { format: Self::NAME })?;
        if version != Self::VERSION {
            return Err(CodecError::Version {
                format: Self::NAME,
                found: version,
            });
        }
        match postcard::take_from_bytes(body) {
            Ok((value, [])) => Ok(value),
            _ => Err(CodecError::Malformed { format: Self::NAME }),
        }
    }
}

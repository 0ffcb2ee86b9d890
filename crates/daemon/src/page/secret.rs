//! Secrets of the page: drawn here, shown once, kept as hashes.

use std::fmt;

/// A secret as whoever shows it has it.
pub(super) struct Secret(String);

/// What is kept of one. Two are compared in constant time.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct SecretHash(blake3::Hash);

impl Secret {
    pub(super) fn draw() -> Self {
        Self(
            blake3::Hash::from_bytes(rand::random())
                .to_hex()
                .to_string(),
        )
    }

    pub(super) fn expose(&self) -> &str {
        &self.0
    }

    pub(super) fn hash(&self) -> SecretHash {
        SecretHash::of(&self.0)
    }
}

impl SecretHash {
    pub(super) fn of(secret: &str) -> Self {
        Self(blake3::hash(secret.as_bytes()))
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(hidden)")
    }
}

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(hidden)")
    }
}

//! Secrets of the page. The daemon generates each one, shows it once and stores only its hash.

use std::fmt;

/// A secret in the clear, as the browser sends it.
pub(super) struct Secret(String);

/// The BLAKE3 hash of a secret, which the daemon stores. Comparison takes constant time.
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

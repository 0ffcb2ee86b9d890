//! Sealing: AES-256-GCM under keys that are never used for two things.
//!
//! A key is either random and used with counter nonces (a pack), or derived from a team key and 32
//! random bytes and used once (a manifest, a feed body). Randomness always comes from the caller.

use std::fmt;

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Bytes that sealing adds.
pub const TAG_LEN: usize = 16;

/// A 256-bit key. Its `Debug` never shows it, and it is wiped when dropped.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct SecretKey([u8; 32]);

impl SecretKey {
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub const fn expose(&self) -> &[u8; 32] {
        &self.0
    }

    /// The key for one purpose: BLAKE3 `derive_key` over this key and `salt`.
    pub fn derive(&self, context: &'static str, salt: &[u8]) -> Self {
        let mut hasher = blake3::Hasher::new_derive_key(context);
        hasher.update(&self.0);
        hasher.update(salt);
        Self(*hasher.finalize().as_bytes())
    }
}

impl fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretKey(hidden)")
    }
}

/// The bytes were not sealed with this key: damaged, swapped, or for another recipient.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the seal is broken: the bytes were changed, or sealed under another key")]
pub struct BrokenSeal;

/// A key prepared for many frames, each with its own counter nonce.
pub struct Sealer(LessSafeKey);

impl Sealer {
    pub fn new(key: &SecretKey) -> Self {
        let key = UnboundKey::new(&AES_256_GCM, key.expose()).expect("the key has 32 bytes");
        Self(LessSafeKey::new(key))
    }

    /// Seals `buffer` in place and appends the tag. A `counter` must never be used twice with a key.
    pub fn seal(&self, counter: u64, aad: &[u8], buffer: &mut Vec<u8>) {
        self.0
            .seal_in_place_append_tag(nonce(counter), Aad::from(aad), buffer)
            .expect("a frame is far below the 64 GiB that GCM can seal");
    }

    /// Seals `body` in place and writes the tag beside it. A `counter` must never be used twice with a key.
    pub fn seal_beside(
        &self,
        counter: u64,
        aad: &[u8],
        body: &mut [u8],
        tag_space: &mut [u8; TAG_LEN],
    ) {
        let tag = self
            .0
            .seal_in_place_separate_tag(nonce(counter), Aad::from(aad), body)
            .expect("a frame is far below the 64 GiB that GCM can seal");
        tag_space.copy_from_slice(tag.as_ref());
    }

    /// Opens `buffer` in place and returns its plain part.
    pub fn open<'a>(
        &self,
        counter: u64,
        aad: &[u8],
        buffer: &'a mut [u8],
    ) -> Result<&'a mut [u8], BrokenSeal> {
        self.0
            .open_in_place(nonce(counter), Aad::from(aad), buffer)
            .map_err(|_| BrokenSeal)
    }
}

/// The length of the salt at the start of a salted box.
pub const SALT_LEN: usize = 32;

/// Seals one message under a key derived from `key` and a fresh `salt`: `salt || sealed bytes`.
pub fn seal_once(
    key: &SecretKey,
    context: &'static str,
    salt: [u8; SALT_LEN],
    aad: &[u8],
    plain: &[u8],
) -> Vec<u8> {
    let mut sealed = plain.to_vec();
    Sealer::new(&key.derive(context, &salt)).seal(0, aad, &mut sealed);
    [&salt[..], &sealed].concat()
}

/// Opens what [`seal_once`] made.
pub fn open_once(
    key: &SecretKey,
    context: &'static str,
    aad: &[u8],
    sealed: &[u8],
) -> Result<Vec<u8>, BrokenSeal> {
    let (salt, body) = sealed.split_at_checked(SALT_LEN).ok_or(BrokenSeal)?;
    let mut body = body.to_vec();
    let len = Sealer::new(&key.derive(context, salt))
        .open(0, aad, &mut body)?
        .len();
    body.truncate(len);
    Ok(body)
}

fn nonce(counter: u64) -> Nonce {
    let mut bytes = [0; 12];
    bytes[4..].copy_from_slice(&counter.to_be_bytes());
    Nonce::assume_unique_for_key(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONTEXT: &str = "podsync test 1";

    #[test]
    fn opens_only_what_was_sealed() {
        let key = SecretKey::from_bytes([1; 32]);
        let sealed = seal_once(&key, CONTEXT, [2; 32], b"aad", b"plain");
        assert_eq!(open_once(&key, CONTEXT, b"aad", &sealed).unwrap(), b"plain");
        assert!(open_once(&key, CONTEXT, b"other", &sealed).is_err());
        assert!(open_once(&key, "podsync test 2", b"aad", &sealed).is_err());
        for at in 0..sealed.len() {
            let mut bad = sealed.clone();
            bad[at] ^= 1;
            assert_eq!(open_once(&key, CONTEXT, b"aad", &bad), Err(BrokenSeal));
        }
        assert!(open_once(&key, CONTEXT, b"aad", &[0; 10]).is_err());
    }
}

//! Unpredictable numbers, derived from one seed that the daemon supplies at the start.
//!
//! The daemon must take the seed from the system's random source at every start and never store it.
//! Salts and keys derive from it: a repeated seed would use a key twice.

use zeroize::Zeroizing;

use crate::seal::SecretKey;

const CONTEXT: &str = "podsync 2026 engine entropy 1";

/// A stream of fresh seeds.
pub(super) struct Entropy {
    key: Zeroizing<[u8; 32]>,
    drawn: u64,
}

impl Entropy {
    pub(super) fn new(seed: [u8; 32]) -> Self {
        Self {
            key: Zeroizing::new(blake3::derive_key(CONTEXT, &seed)),
            drawn: 0,
        }
    }

    /// 32 bytes that were never given before.
    pub(super) fn seed(&mut self) -> [u8; 32] {
        self.drawn += 1;
        *blake3::keyed_hash(&self.key, &self.drawn.to_le_bytes()).as_bytes()
    }

    pub(super) fn key(&mut self) -> SecretKey {
        SecretKey::from_bytes(self.seed())
    }

    /// A number below `bound`, which must not be 0. The modulo bias is negligible.
    pub(super) fn below(&mut self, bound: u64) -> u64 {
        let seed = self.seed();
        let mut bytes = [0; 8];
        bytes.copy_from_slice(&seed[..8]);
        u64::from_le_bytes(bytes) % bound
    }
}

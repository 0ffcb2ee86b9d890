//! The keys of a device, and the wrapping of team keys to them.
//!
//! A device stores one 32-byte seed. It is the ed25519 key, and the X25519 key that team keys are
//! wrapped to is derived from it. Invites, robots and the recovery key are such seeds too. The
//! caller supplies randomness as seeds, which must be fresh each time.

use std::fmt;

use ed25519_dalek::SigningKey;
use hpke::{
    Deserializable, Kem as _, OpModeR, OpModeS, Serializable, aead::ChaCha20Poly1305,
    kdf::HkdfSha256, kem::X25519HkdfSha256,
};
use rand_chacha::{ChaCha20Rng, rand_core::SeedableRng};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    id::{DeviceId, EpochId, TeamId},
    seal::SecretKey,
    signed::{self, SignedPayload},
};

type Kem = X25519HkdfSha256;
type BoxSecret = <Kem as hpke::Kem>::PrivateKey;

const BOX_CONTEXT: &str = "podsync 2026 device box key 1";
const EPOCH_CONTEXT: &str = "podsync 2026 epoch id 1";
const WRAP_SEED_CONTEXT: &str = "podsync 2026 wrap seed 1";
const WRAP_INFO: &[u8] = b"podsync-key-wrap-1";

/// Fresh random bytes from the caller. Never use one twice.
pub type Seed = [u8; 32];

/// The secret half of a device, an invite, a robot or the recovery key.
#[derive(Clone)]
pub struct DeviceSecret {
    seed: Zeroizing<[u8; 32]>,
    signing: SigningKey,
    id: DeviceId,
    box_secret: BoxSecret,
    box_key: BoxKey,
}

impl DeviceSecret {
    pub fn from_seed(seed: Seed) -> Self {
        let signing = SigningKey::from_bytes(&seed);
        let ikm = Zeroizing::new(blake3::derive_key(BOX_CONTEXT, &seed));
        let (box_secret, public) = Kem::derive_keypair(&ikm[..]);
        Self {
            id: DeviceId::from_bytes(signing.verifying_key().to_bytes()),
            box_key: BoxKey(public.to_bytes().into()),
            seed: Zeroizing::new(seed),
            signing,
            box_secret,
        }
    }

    pub fn id(&self) -> DeviceId {
        self.id
    }

    pub fn box_key(&self) -> BoxKey {
        self.box_key
    }

    /// The public half: the device id, and the key to wrap team keys to.
    pub fn public(&self) -> PublicKeys {
        PublicKeys {
            device: self.id,
            box_key: self.box_key,
        }
    }

    pub fn signing_key(&self) -> &SigningKey {
        &self.signing
    }

    pub fn expose_seed(&self) -> &Seed {
        &self.seed
    }

    pub fn sign<T: SignedPayload>(&self, team: TeamId, value: &T) -> Vec<u8> {
        signed::sign(&self.signing, team, value)
    }

    /// Opens a key that was wrapped to this device's box key.
    pub fn unwrap(&self, wrap: &Wrap, aad: &[u8]) -> Result<SecretKey, NotForUs> {
        let enc = <Kem as hpke::Kem>::EncappedKey::from_bytes(&wrap.enc).map_err(|_| NotForUs)?;
        let plain = hpke::single_shot_open::<ChaCha20Poly1305, HkdfSha256, Kem>(
            &OpModeR::Base,
            &self.box_secret,
            &enc,
            WRAP_INFO,
            &wrap.sealed,
            aad,
        )
        .map(Zeroizing::new)
        .map_err(|_| NotForUs)?;
        let key: [u8; 32] = plain[..].try_into().map_err(|_| NotForUs)?;
        Ok(SecretKey::from_bytes(key))
    }
}

impl fmt::Debug for DeviceSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "DeviceSecret({}, hidden)", self.id.short())
    }
}

/// The public half of a [`DeviceSecret`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct PublicKeys {
    pub device: DeviceId,
    pub box_key: BoxKey,
}

/// An X25519 public key that team keys are wrapped to.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct BoxKey([u8; 32]);

impl BoxKey {
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// Whether a key can be wrapped to it. That fails for a point of low order: a member with such
    /// a key would block every rotation.
    pub fn is_usable(&self) -> bool {
        wrap(self, b"", &SecretKey::from_bytes([0; 32]), [0; 32]).is_ok()
    }

    /// Wraps `key` to this key. Only the same `aad` opens it.
    pub fn wrap(&self, aad: &[u8], key: &SecretKey, seed: &Seed) -> Result<Wrap, UnusableBoxKey> {
        // Derive a separate seed for each recipient and purpose, so that one caller seed is not
        // used twice.
        let mut hasher = blake3::Hasher::new_derive_key(WRAP_SEED_CONTEXT);
        hasher.update(seed).update(&self.0).update(aad);
        wrap(self, aad, key, *hasher.finalize().as_bytes())
    }
}

impl fmt::Debug for BoxKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "BoxKey({})",
            &data_encoding::HEXLOWER.encode(&self.0)[..10]
        )
    }
}

/// A key that only the holder of one box key can open: HPKE, X25519-HKDF-SHA256,
/// ChaCha20-Poly1305, base mode.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wrap {
    enc: [u8; 32],
    #[serde(with = "serde_bytes")]
    sealed: [u8; 48],
}

impl fmt::Debug for Wrap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Wrap(..)")
    }
}

/// This device's key does not open the wrap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "the key was not wrapped to this device, or its wrap is damaged; ask an admin to rotate the team key"
)]
pub struct NotForUs;

/// A box key that no key can be wrapped to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("box key {0:?} is not a usable X25519 key: make that device's identity anew")]
pub struct UnusableBoxKey(pub BoxKey);

/// The epoch id of a team key. It commits to the key, so a wrong key under a known id is detected.
pub fn epoch_of(key: &SecretKey) -> EpochId {
    EpochId::from_bytes(blake3::derive_key(EPOCH_CONTEXT, key.expose()))
}

fn wrap(to: &BoxKey, aad: &[u8], key: &SecretKey, seed: [u8; 32]) -> Result<Wrap, UnusableBoxKey> {
    let unusable = |_| UnusableBoxKey(*to);
    let public = <Kem as hpke::Kem>::PublicKey::from_bytes(&to.0).map_err(unusable)?;
    let (enc, sealed) = hpke::single_shot_seal_with_rng::<ChaCha20Poly1305, HkdfSha256, Kem>(
        &OpModeS::Base,
        &public,
        WRAP_INFO,
        key.expose(),
        aad,
        &mut ChaCha20Rng::from_seed(seed),
    )
    .map_err(unusable)?;
    Ok(Wrap {
        enc: enc.to_bytes().into(),
        sealed: sealed.try_into().expect("32 bytes and a tag of 16 are 48"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> SecretKey {
        SecretKey::from_bytes([9; 32])
    }

    #[test]
    fn only_the_recipient_unwraps() {
        let (alice, bob) = (
            DeviceSecret::from_seed([1; 32]),
            DeviceSecret::from_seed([2; 32]),
        );
        let wrap = alice.box_key().wrap(b"aad", &key(), &[3; 32]).unwrap();
        assert_eq!(alice.unwrap(&wrap, b"aad"), Ok(key()));
        assert_eq!(alice.unwrap(&wrap, b"other"), Err(NotForUs));
        assert_eq!(bob.unwrap(&wrap, b"aad"), Err(NotForUs));
    }

    #[test]
    fn every_changed_byte_of_a_wrap_is_noticed() {
        let alice = DeviceSecret::from_seed([1; 32]);
        let wrap = alice.box_key().wrap(b"aad", &key(), &[3; 32]).unwrap();
        for at in 0..32 {
            let mut bad = wrap.clone();
            bad.enc[at] ^= 1;
            assert_eq!(alice.unwrap(&bad, b"aad"), Err(NotForUs), "enc {at}");
        }
        for at in 0..48 {
            let mut bad = wrap.clone();
            bad.sealed[at] ^= 1;
            assert_eq!(alice.unwrap(&bad, b"aad"), Err(NotForUs), "sealed {at}");
        }
    }

    #[test]
    fn wraps_are_alike_only_for_one_seed_recipient_and_purpose() {
        let (alice, bob) = (
            DeviceSecret::from_seed([1; 32]),
            DeviceSecret::from_seed([2; 32]),
        );
        let wrap =
            |to: &DeviceSecret, aad: &[u8], seed| to.box_key().wrap(aad, &key(), &seed).unwrap();
        assert_eq!(wrap(&alice, b"a", [3; 32]), wrap(&alice, b"a", [3; 32]));
        let encs = [
            wrap(&alice, b"a", [3; 32]).enc,
            wrap(&alice, b"b", [3; 32]).enc,
            wrap(&alice, b"a", [4; 32]).enc,
            wrap(&bob, b"a", [3; 32]).enc,
        ];
        let distinct: std::collections::BTreeSet<_> = encs.into_iter().collect();
        assert_eq!(distinct.len(), 4, "an ephemeral key was used twice");
    }

    #[test]
    fn low_order_box_keys_are_unusable() {
        let mut one = [0; 32];
        one[0] = 1;
        for bytes in [[0; 32], one] {
            assert!(!BoxKey::from_bytes(bytes).is_usable());
        }
        assert!(DeviceSecret::from_seed([1; 32]).box_key().is_usable());
    }

    #[test]
    fn secrets_are_hidden() {
        let secret = DeviceSecret::from_seed([0xab; 32]);
        let shown = format!("{secret:?}");
        assert!(shown.contains("hidden") && !shown.contains("171") && !shown.contains("abab"));
    }
}

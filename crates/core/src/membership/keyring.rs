//! The team keys that a device can open.
//!
//! An epoch's id commits to its key, so a wrong key under a known id is ignored. Keys of void
//! epochs are kept too: somebody may have sealed data under one before learning of the removal that
//! voided it.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use super::{
    Membership,
    operation::{KeyWrap, Kind, MAX_PREVIOUS_LEN, MAX_TIPS, Operation, Rotate},
};
use crate::{
    codec::Format,
    id::{DeviceId, EpochId},
    keys::{DeviceSecret, PublicKeys, Seed, UnusableBoxKey, epoch_of},
    seal::{self, SecretKey},
};

const PREVIOUS_CONTEXT: &str = "podsync 2026 previous keys 1";

/// The most wraps to try at once. Opening one takes 0.1 ms, and void operations may hold any number
/// of useless ones.
const MAX_UNWRAPS: usize = 1024;

/// Team keys by epoch. `Debug` names the epochs and hides the keys.
#[derive(Clone, Default)]
pub struct KeyRing {
    keys: BTreeMap<EpochId, SecretKey>,
    /// Epochs whose key can be reached from another key of this ring.
    chained: BTreeSet<EpochId>,
}

impl KeyRing {
    /// Opens the keys wrapped to `secret`, and all earlier epochs that these lead to.
    pub fn unlock(membership: &Membership, secret: &DeviceSecret) -> Self {
        let mut ring = Self::default();
        ring.extend(membership, secret);
        ring
    }

    /// Opens keys that the ring lacks: after new operations, or with a second secret (a newcomer's
    /// invite, until the next key is wrapped to the newcomer itself).
    pub fn extend(&mut self, membership: &Membership, secret: &DeviceSecret) {
        let mut tries = MAX_UNWRAPS;
        for counting in [true, false] {
            for (op, _) in membership
                .operations()
                .rev()
                .filter(|(_, counts)| *counts == counting)
            {
                self.open_wraps(op, secret, &mut tries);
            }
        }
        // Newest first, so that each key is known before the earlier rotations that it opens.
        for (op, _) in membership.operations().rev() {
            if let Kind::Rotate(rotate) = &op.kind {
                self.open_previous(rotate);
            }
        }
    }

    /// Adds a key that this device made itself.
    pub fn insert(&mut self, key: SecretKey) -> EpochId {
        let epoch = epoch_of(&key);
        self.keys.insert(epoch, key);
        epoch
    }

    pub fn get(&self, epoch: &EpochId) -> Option<&SecretKey> {
        self.keys.get(epoch)
    }

    pub fn epochs(&self) -> impl Iterator<Item = &EpochId> {
        self.keys.keys()
    }

    /// The fewest keys from which all others can be reached, and that of `current`.
    pub(super) fn tips(&self, current: EpochId) -> impl Iterator<Item = (&EpochId, &SecretKey)> {
        let tip = move |epoch: &EpochId| *epoch == current || !self.chained.contains(epoch);
        let first = self.keys.get_key_value(&current);
        let others = self
            .keys
            .iter()
            .filter(move |(epoch, _)| tip(epoch) && **epoch != current);
        first.into_iter().chain(others).take(MAX_TIPS)
    }

    fn open_wraps(&mut self, op: &Operation, secret: &DeviceSecret, tries: &mut usize) {
        for wrap in op.wraps().iter().filter(|wrap| wrap.to == secret.id()) {
            if *tries == 0 || self.keys.contains_key(&wrap.epoch) {
                continue;
            }
            *tries -= 1;
            if let Ok(key) = secret.unwrap(&wrap.wrap, &wrap_aad(&wrap.epoch, &wrap.to))
                && epoch_of(&key) == wrap.epoch
            {
                self.keys.insert(wrap.epoch, key);
            }
        }
    }

    fn open_previous(&mut self, rotate: &Rotate) {
        let Some(key) = self.keys.get(&rotate.epoch) else {
            return;
        };
        let aad = rotate.epoch.as_bytes();
        let Ok(plain) = seal::open_once(key, PREVIOUS_CONTEXT, aad, &rotate.previous) else {
            return;
        };
        let Ok(previous) = PreviousKeys::decode(&zeroize::Zeroizing::new(plain)) else {
            return;
        };
        for key in previous.keys {
            let epoch = self.insert(key);
            self.chained.insert(epoch);
        }
    }
}

impl fmt::Debug for KeyRing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("KeyRing(hidden keys of ")?;
        f.debug_set().entries(self.keys.keys()).finish()?;
        f.write_str(")")
    }
}

/// The keys of earlier epochs that a new epoch leads to. Each key determines its epoch id.
#[derive(Debug, Serialize, Deserialize)]
pub struct PreviousKeys {
    pub keys: Vec<SecretKey>,
}

impl Format for PreviousKeys {
    const NAME: &'static str = "previous keys";
    const VERSION: u8 = 1;
    const MAX_LEN: usize = MAX_PREVIOUS_LEN;
}

impl PreviousKeys {
    /// Sealed under the key of the epoch that leads to them.
    pub(super) fn seal(&self, key: &SecretKey, salt: [u8; seal::SALT_LEN]) -> Vec<u8> {
        let plain = zeroize::Zeroizing::new(self.encode());
        seal::seal_once(
            key,
            PREVIOUS_CONTEXT,
            salt,
            epoch_of(key).as_bytes(),
            &plain,
        )
    }
}

/// Wraps a team key to one recipient.
pub(super) fn wrap_to(
    to: &PublicKeys,
    key: &SecretKey,
    seed: &Seed,
) -> Result<KeyWrap, UnusableBoxKey> {
    let epoch = epoch_of(key);
    let wrap = to.box_key.wrap(&wrap_aad(&epoch, &to.device), key, seed)?;
    Ok(KeyWrap {
        epoch,
        to: to.device,
        wrap,
    })
}

fn wrap_aad(epoch: &EpochId, to: &DeviceId) -> Vec<u8> {
    [&epoch.as_bytes()[..], to.as_bytes()].concat()
}

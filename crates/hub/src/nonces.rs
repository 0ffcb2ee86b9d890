//! Which requests were here before.
//!
//! Nonces are defence in depth and each replica's own: a request that is sent twice changes nothing.

use std::{
    collections::HashSet,
    sync::{Mutex, PoisonError},
    time::{Duration, Instant},
};

use podsync_api::hub::signature::{MAX_AHEAD, MAX_LIFETIME, Nonce};
use podsync_core::DeviceId;

/// The most nonces of one half of the cache: 16 MiB together.
const MAX_NONCES: usize = 1 << 16;

/// The nonces of the last minutes, in two halves of which the older one is forgotten.
#[derive(Debug, Default)]
pub(crate) struct Nonces(Mutex<Halves>);

#[derive(Debug, Default)]
struct Halves {
    newer: HashSet<(DeviceId, Nonce)>,
    older: HashSet<(DeviceId, Nonce)>,
    turned: Option<Instant>,
}

impl Nonces {
    /// Whether a nonce is new. Where more come than are kept, the oldest are forgotten early.
    pub(crate) fn is_new(&self, device: DeviceId, nonce: Nonce) -> bool {
        /// After this a request is refused for its time.
        const LIFETIME: Duration = Duration::from_secs(MAX_AHEAD + MAX_LIFETIME);
        let mut halves = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let due = halves
            .turned
            .is_none_or(|turned| turned.elapsed() > LIFETIME);
        if due || halves.newer.len() >= MAX_NONCES {
            halves.older = std::mem::take(&mut halves.newer);
            halves.turned = Some(Instant::now());
        }
        let key = (device, nonce);
        !halves.older.contains(&key) && halves.newer.insert(key)
    }
}

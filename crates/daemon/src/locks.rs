//! One lock for each pod: two saves at once would both build on the same parent.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError, Weak},
};

use podsync_core::{PodName, TeamId};
use tokio::sync::{Mutex as AsyncMutex, OwnedMutexGuard};

type Lock = AsyncMutex<()>;

/// The locks of all pods. A lock that nobody holds or waits for is removed.
#[derive(Default)]
pub(crate) struct PodLocks(Mutex<BTreeMap<(TeamId, PodName), Weak<Lock>>>);

impl PodLocks {
    /// Waits for the pod's lock.
    pub(crate) async fn lock(&self, team: TeamId, pod: &PodName) -> OwnedMutexGuard<()> {
        let lock = {
            let mut locks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            locks.retain(|_, lock| lock.strong_count() > 0);
            let key = (team, pod.clone());
            match locks.get(&key).and_then(Weak::upgrade) {
                Some(lock) => lock,
                None => {
                    let lock = Arc::new(Lock::new(()));
                    locks.insert(key, Arc::downgrade(&lock));
                    lock
                }
            }
        };
        lock.lock_owned().await
    }
}

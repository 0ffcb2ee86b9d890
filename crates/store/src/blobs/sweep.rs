//! Deleting from iroh-blobs' store, which only its own collector may do.
//!
//! That collector runs in rounds and asks before each what to protect. This code holds its answer
//! back until a round is wanted; the next question shows that the round is over. The collector
//! stops silently when its database fails, so the database is checked too.

use std::{collections::HashSet, sync::Arc, time::Duration};

use iroh_blobs::{
    Hash,
    api::Store,
    store::{GcConfig, ProtectOutcome},
};
use tokio::sync::{Mutex, OwnedMutexGuard, mpsc, oneshot};

use crate::StoreError;

/// How often the database is checked during a long round.
const ALIVE_INTERVAL: Duration = Duration::from_secs(1);

/// One round: the blobs to keep, and the caller that waits for its end.
struct Round {
    live: HashSet<Hash>,
    done: oneshot::Sender<()>,
}

/// Runs rounds, one at a time.
#[derive(Debug, Clone)]
pub(super) struct Sweeper {
    rounds: Arc<Mutex<mpsc::Sender<Round>>>,
}

/// The right to run the next round.
pub(super) struct Turn(OwnedMutexGuard<mpsc::Sender<Round>>);

impl Sweeper {
    /// The sweeper, and the configuration to open the store with.
    pub(super) fn new() -> (Self, GcConfig) {
        // Only the holder of the turn sends, so there is never a second message.
        let (sender, receiver) = mpsc::channel(1);
        let rounds = Arc::new(Mutex::new(Rounds {
            receiver,
            running: None,
        }));
        let config = GcConfig {
            interval: Duration::ZERO,
            add_protected: Some(Arc::new(move |live| {
                let rounds = rounds.clone();
                Box::pin(async move { rounds.lock().await.next(live).await })
            })),
        };
        (
            Self {
                rounds: Arc::new(Mutex::new(sender)),
            },
            config,
        )
    }

    pub(super) async fn turn(&self) -> Turn {
        Turn(self.rounds.clone().lock_owned().await)
    }
}

impl Turn {
    /// Deletes all but `live` from `store`, and returns when it is done.
    pub(super) async fn sweep(&self, store: &Store, live: HashSet<Hash>) -> Result<(), StoreError> {
        let (done, mut ended) = oneshot::channel();
        self.0
            .send(Round { live, done })
            .await
            .map_err(|_| StoreError::Closed)?;
        loop {
            match tokio::time::timeout(ALIVE_INTERVAL, &mut ended).await {
                Ok(ended) => return ended.map_err(|_| StoreError::Closed),
                Err(_) => store.sync_db().await.map_err(|_| StoreError::Closed)?,
            }
        }
    }
}

/// The collector's side.
struct Rounds {
    receiver: mpsc::Receiver<Round>,
    running: Option<oneshot::Sender<()>>,
}

impl Rounds {
    async fn next(&mut self, live: &mut HashSet<Hash>) -> ProtectOutcome {
        if let Some(done) = self.running.take() {
            // The waiting caller may have given up.
            let _ = done.send(());
        }
        match self.receiver.recv().await {
            Some(round) => {
                *live = round.live;
                self.running = Some(round.done);
                ProtectOutcome::Continue
            }
            // No caller is left. An answer would start a round at once: it would delete everything,
            // or spin.
            None => std::future::pending().await,
        }
    }
}

//! What runs beside the engine: calls and upkeep, and how all of it is told to end.

use tokio::task::JoinHandle;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// How long a daemon is meant to live.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// Until it is told to stop.
    Service,
    /// For one command, in its process.
    Transient,
}

impl Lifetime {
    /// What a second process is told that this one does.
    pub(crate) const fn purpose(self) -> &'static str {
        match self {
            Self::Service => "podsync daemon",
            Self::Transient => "a podsync command",
        }
    }
}

/// A handle; clones are about the same tasks.
#[derive(Clone, Default)]
pub(crate) struct Tasks {
    stop: CancellationToken,
    tracker: TaskTracker,
}

impl Tasks {
    /// Cancelled when the daemon begins to end.
    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.stop
    }

    pub(crate) fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) {
        self.tracker.spawn(task);
    }

    /// Runs on a thread that may block. The daemon doesn't end before it, within its time to end.
    pub(crate) fn spawn_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        self.tracker.spawn_blocking(work)
    }

    pub(crate) fn begin_stop(&self) {
        self.stop.cancel();
    }

    /// Resolves when every task has ended; none may be spawned any more.
    pub(crate) async fn finished(&self) {
        self.tracker.close();
        self.tracker.wait().await;
    }
}

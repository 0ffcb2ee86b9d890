//! Tasks that run beside the engine: calls and upkeep. Also how all of them are cancelled.

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
    /// What this process is, as the error of a second process names it.
    pub(crate) const fn purpose(self) -> &'static str {
        match self {
            Self::Service => "podsync daemon",
            Self::Transient => "a podsync command",
        }
    }
}

/// A handle; clones share one set of tasks.
#[derive(Clone, Default)]
pub(crate) struct Tasks {
    stop: CancellationToken,
    tracker: TaskTracker,
    /// Those that leave files behind if the process ends before them.
    tidying: TaskTracker,
}

impl Tasks {
    /// Cancelled when the daemon begins to end.
    pub(crate) fn stopping(&self) -> &CancellationToken {
        &self.stop
    }

    pub(crate) fn spawn<T: Send + 'static>(&self, task: impl Future<Output = T> + Send + 'static) {
        self.tracker.spawn(task);
    }

    /// Runs on a blocking thread. The daemon waits for it at its end, within the grace period.
    pub(crate) fn spawn_blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> JoinHandle<T> {
        self.tidying.spawn_blocking(work)
    }

    /// Deletes what an unfinished task wrote.
    pub(crate) fn tidy(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tidying.spawn(task);
    }

    pub(crate) fn begin_stop(&self) {
        self.stop.cancel();
    }

    /// Resolves when every task has ended. No task may be spawned after this call.
    pub(crate) async fn finished(&self) {
        self.tracker.close();
        self.tracker.wait().await;
        self.tidied().await;
    }

    /// Resolves when no task is left that would leave files behind.
    pub(crate) async fn tidied(&self) {
        self.tidying.close();
        self.tidying.wait().await;
    }
}

//! Tasks that run beside the engine: calls and upkeep. Also how all of them are cancelled, and why.

use std::sync::{Arc, OnceLock};

use podsync_api::ApiError;
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
    failure: Arc<OnceLock<ApiError>>,
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

    /// Begins to stop because the daemon can't go on.
    pub(crate) fn fail(&self, reason: ApiError) {
        // The first reason stays.
        let _ = self.failure.set(reason);
        self.begin_stop();
    }

    /// Why the daemon can't go on.
    pub(crate) fn failure(&self) -> Option<&ApiError> {
        self.failure.get()
    }

    /// What a call's client is told: a call that the daemon can't finish ends with the daemon's reason.
    pub(crate) fn told<T>(&self, outcome: Result<T, ApiError>) -> Result<T, ApiError> {
        outcome.map_err(|error| self.failure().cloned().unwrap_or(error))
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

#[cfg(test)]
mod tests {
    use podsync_api::ErrorCode;

    use super::*;

    #[test]
    fn calls_of_a_daemon_that_fails_end_with_its_reason() {
        let tasks = Tasks::default();
        let cut_off = || ApiError::new(ErrorCode::Cancelled, "it was cancelled");
        let told = tasks.told::<()>(Err(cut_off()));
        assert_eq!(told.unwrap_err().code, ErrorCode::Cancelled);
        tasks.fail(ApiError::new(ErrorCode::Disk, "the disk fails"));
        tasks.fail(ApiError::new(ErrorCode::Busy, "a later one"));
        assert!(tasks.stopping().is_cancelled());
        let told = tasks.told::<()>(Err(cut_off())).unwrap_err();
        assert_eq!(
            (told.code, told.message.as_str()),
            (ErrorCode::Disk, "the disk fails")
        );
        assert_eq!(tasks.told(Ok(1)).unwrap(), 1);
    }
}

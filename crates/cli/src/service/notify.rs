//! What a daemon tells the supervisor that started it: that it serves, that it still answers, that it ends.
//! Without such a supervisor this does nothing.

use podsync_daemon::Running;
use sd_notify::NotifyState;

/// Reports that the daemon serves. The command that started the service waits for this.
pub(crate) fn ready() {
    tell(NotifyState::Ready);
}

pub(crate) fn stopping() {
    tell(NotifyState::Stopping);
}

/// Reports at intervals that the daemon answers. A supervisor that hears nothing in time kills it and starts
/// another.
pub(crate) async fn keep_watchdog(running: &Running) {
    let Some(limit) = sd_notify::watchdog_enabled().filter(|limit| !limit.is_zero()) else {
        return std::future::pending().await;
    };
    let mut due = tokio::time::interval(limit / 2);
    due.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    loop {
        due.tick().await;
        if running.responds().await {
            tell(NotifyState::Watchdog);
        }
    }
}

fn tell(state: NotifyState<'_>) {
    if let Err(error) = sd_notify::notify(&[state]) {
        tracing::warn!(%error, "the supervisor was not told");
    }
}

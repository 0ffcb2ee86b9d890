//! One call in progress: its context beside the request, and the trait of the services that carry it out.
//!
//! A call's token is cancelled once nobody waits for its answer any more.

use axum::response::sse::Event;
use podsync_api::{Call, Progress, event};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{sync::mpsc, time::Instant};
use tokio_util::sync::CancellationToken;

use crate::error::Failure;

/// How long a call may report nothing before the caller is told for whom it waits.
const QUIET_AFTER: Duration = Duration::from_secs(5);

/// A call's context beside its request.
pub(crate) struct Context {
    /// The team part of the path; `-` for the only one.
    pub(crate) team: String,
    progress: Option<mpsc::Sender<Event>>,
    /// How often progress was reported.
    reports: AtomicU64,
    /// Cancelled when nobody waits for the answer any more.
    pub(crate) cancel: CancellationToken,
}

impl Context {
    /// Sends the call's progress to `progress`.
    pub(crate) fn new(
        team: String,
        progress: Option<mpsc::Sender<Event>>,
        cancel: CancellationToken,
    ) -> Self {
        Self {
            team,
            progress,
            reports: AtomicU64::new(0),
            cancel,
        }
    }

    /// For background work of the daemon. Its progress goes nowhere.
    pub(crate) fn silent() -> Self {
        Self::new(String::new(), None, CancellationToken::new())
    }

    /// Reports for whom the call waits while nothing else is reported. `waiting` is asked with the time since when
    /// that is so. Never resolves.
    pub(crate) async fn say_while_quiet(&self, waiting: impl Fn(Instant) -> Progress) {
        let (mut before, mut since) = (self.reports.load(Ordering::Relaxed), Instant::now());
        loop {
            tokio::time::sleep(QUIET_AFTER).await;
            let now = self.reports.load(Ordering::Relaxed);
            if now == before {
                self.report(&waiting(since));
                // Its own report.
                before = now + 1;
            } else {
                (before, since) = (now, Instant::now());
            }
        }
    }

    pub(crate) fn report(&self, progress: &Progress) {
        self.reports.fetch_add(1, Ordering::Relaxed);
        if let Some(queue) = &self.progress
            && let Ok(event) = Event::default().event(event::PROGRESS).json_data(progress)
        {
            // If the queue is full the reader is behind, and a later report replaces this one.
            let _ = queue.try_send(event);
        }
    }
}

/// Carries out one kind of call.
pub(crate) trait Handle<C: Call>: Send + Sync + 'static {
    fn handle(
        self: Arc<Self>,
        call: C,
        context: Arc<Context>,
    ) -> impl Future<Output = Result<C::Answer, Failure>> + Send;
}

//! One call as it is carried out: what it knows beside its request, and what carries it out.
//!
//! A call lives as long as somebody waits for its answer: then its token is cancelled.

use axum::response::sse::Event;
use podsync_api::{Call, Progress, event};
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::error::Failure;

/// What a call knows beside its request.
pub(crate) struct Context {
    /// The team part of the path; `-` for the only one.
    pub(crate) team: String,
    progress: Option<mpsc::Sender<Event>>,
    /// Cancelled when nobody waits for the answer any more.
    pub(crate) cancel: CancellationToken,
}

impl Context {
    /// With `progress` as the way to tell how far the call is.
    pub(crate) fn new(
        team: String,
        progress: Option<mpsc::Sender<Event>>,
        cancel: CancellationToken,
    ) -> Self {
        Self {
            team,
            progress,
            cancel,
        }
    }

    /// For what the daemon does unasked: nobody is told how far it is.
    pub(crate) fn silent() -> Self {
        Self::new(String::new(), None, CancellationToken::new())
    }

    pub(crate) fn report(&self, progress: &Progress) {
        if let Some(queue) = &self.progress
            && let Ok(event) = Event::default().event(event::PROGRESS).json_data(progress)
        {
            // A full queue means that the reader is behind: it needs no older news.
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

//! `GET /v1/events`: events as a stream that a client can come back to.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    http::HeaderMap,
    response::{
        IntoResponse, Response, Sse,
        sse::{Event as Frame, KeepAlive},
    },
};
use futures::{StreamExt, future::ready, stream};
use podsync_api::{
    ApiError, ErrorCode,
    events::{Event, LAST_EVENT_ID},
};
use tokio::sync::Semaphore;

use super::Events;
use crate::tasks::Tasks;

/// Most streams at once. Each one costs a task and the events that it hasn't read.
const MAX_STREAMS: usize = 64;
/// How often an idle stream sends a keep-alive, so that proxies and the page see that the connection works.
const SAY_SOMETHING_EVERY: Duration = Duration::from_secs(30);

/// Serves events.
#[derive(Clone)]
pub(crate) struct Streams {
    events: Events,
    tasks: Tasks,
    places: Arc<Semaphore>,
}

impl Streams {
    pub(crate) fn new(events: Events, tasks: Tasks) -> Self {
        Self {
            events,
            tasks,
            places: Arc::new(Semaphore::new(MAX_STREAMS)),
        }
    }

    /// A stream that ends with the daemon, or when the client goes.
    pub(crate) fn open(&self, headers: &HeaderMap) -> Result<Response, ApiError> {
        let place = Arc::clone(&self.places).try_acquire_owned().map_err(|_| {
            ApiError::new(
                ErrorCode::Busy,
                format!("{MAX_STREAMS} clients listen to this daemon's events already"),
            )
            .hint("end one of them, such as a `podsync watch`")
        })?;
        let last = headers.get(LAST_EVENT_ID).map(|id| id.to_str());
        let listener = match last {
            None => self.events.listen(),
            // An id that isn't text can't be one of ours.
            Some(id) => self.events.listen_after(id.unwrap_or_default()),
        };
        // Sends only an id: a client that loses the connection before the first event knows where to go on.
        let begin = stream::once(ready(Frame::default().id(listener.id())));
        let told = stream::unfold((listener, place), |(mut listener, place)| async move {
            loop {
                // Every event can be written as JSON, so none is left out here.
                if let Some(frame) = frame(&*listener.next().await) {
                    return Some((frame, (listener, place)));
                }
            }
        });
        let stop = self.tasks.stopping().clone();
        let frames = begin
            .chain(told)
            .take_until(async move { stop.cancelled().await })
            .map(Ok::<_, Infallible>);
        let alive = KeepAlive::new().interval(SAY_SOMETHING_EVERY);
        Ok(Sse::new(frames).keep_alive(alive).into_response())
    }
}

fn frame(event: &Event) -> Option<Frame> {
    let frame = Frame::default().event(event.what.kind().as_str());
    let frame = match &event.id {
        Some(id) => frame.id(id),
        None => frame,
    };
    frame.json_data(event).ok()
}

//! The control API's server: calls from the socket to the methods that carry them out.
//!
//! A call lives as long as its connection: when the client goes away, the call's token is cancelled
//! and its future dropped.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path as UrlPath, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response, Sse, sse::Event},
    routing::post,
};
use futures::stream;
use podsync_api::{
    ApiError, Call, ErrorCode, Progress, Scope, contents, disk, event, node, pods, retention, team,
};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, field::Empty};

use crate::daemon::Daemon;

/// A request is a handful of names and paths.
const MAX_REQUEST_LEN: usize = 64 << 10;
/// Progress beyond this is dropped: the next report says more.
const PROGRESS_QUEUE: usize = 16;

/// What a call knows beside its request.
pub(crate) struct Context {
    /// The team part of the path; `-` for the only one.
    pub(crate) team: String,
    progress: Option<mpsc::Sender<Event>>,
    /// Cancelled when nobody waits for the answer any more.
    pub(crate) cancel: CancellationToken,
}

impl Context {
    /// For what the daemon does unasked: nobody is told how far it is.
    pub(crate) fn silent() -> Self {
        Self {
            team: String::new(),
            progress: None,
            cancel: CancellationToken::new(),
        }
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
    ) -> impl Future<Output = Result<C::Answer, ApiError>> + Send;
}

pub(crate) fn router(daemon: Arc<Daemon>) -> Router {
    let routes = Routes(Router::new());
    routes
        .call::<node::GetStatus>()
        .call::<node::GetPeers>()
        .call::<node::Stop>()
        .call::<team::CreateTeam>()
        .call::<team::Join>()
        .call::<team::Invite>()
        .call::<team::InviteRobot>()
        .call::<team::Enter>()
        .call::<team::CheckFresh>()
        .call::<team::ListMembers>()
        .call::<team::Remove>()
        .call::<team::SetRole>()
        .call::<team::SetHub>()
        .call::<team::Recover>()
        .call::<pods::Save>()
        .call::<pods::Share>()
        .call::<pods::Pull>()
        .call::<pods::Load>()
        .call::<pods::Undo>()
        .call::<pods::Export>()
        .call::<pods::ListPods>()
        .call::<pods::ListVersions>()
        .call::<pods::Show>()
        .call::<contents::Diff>()
        .call::<contents::Foresee>()
        .call::<pods::Tag>()
        .call::<pods::DropVersion>()
        .call::<pods::Resolve>()
        .call::<retention::SetRetention>()
        .call::<retention::GetRetention>()
        .call::<retention::ApplyRetention>()
        .call::<disk::Pin>()
        .call::<disk::Collect>()
        .call::<disk::Verify>()
        .0
        .layer(DefaultBodyLimit::max(MAX_REQUEST_LEN))
        .with_state(daemon)
}

struct Routes(Router<Arc<Daemon>>);

impl Routes {
    fn call<C: Call>(self) -> Self
    where
        Daemon: Handle<C>,
    {
        match C::SCOPE {
            Scope::Home => Self(self.0.route(
                &format!("/v1/{}", C::PATH),
                post(|State(daemon), headers, body| {
                    answer::<C>(daemon, String::new(), headers, body)
                }),
            )),
            Scope::Team => {
                let path = format!("/v1/teams/{{team}}/{}", C::PATH);
                Self(self.0.route(
                    &path,
                    post(
                        |UrlPath(team): UrlPath<String>, State(daemon), headers, body| {
                            answer::<C>(daemon, team, headers, body)
                        },
                    ),
                ))
            }
        }
    }
}

async fn answer<C: Call>(
    daemon: Arc<Daemon>,
    team: String,
    headers: HeaderMap,
    body: Bytes,
) -> Response
where
    Daemon: Handle<C>,
{
    let mut call = match serde_json::from_slice::<C>(&body) {
        Ok(call) => call,
        Err(error) => {
            let error = ApiError::new(ErrorCode::Invalid, format!("{}: {error}", C::PATH));
            return failure(
                &error.hint("correct what it names; docs/control-api.md has the shapes"),
            );
        }
    };
    let span = span_of(&mut call);
    let streams = headers
        .get(header::ACCEPT)
        .is_some_and(|accept| accept.as_bytes().starts_with(b"text/event-stream"));
    let cancel = daemon.stopping().child_token();
    let guard = cancel.clone().drop_guard();
    if !streams {
        let context = Arc::new(Context {
            team,
            progress: None,
            cancel,
        });
        let outcome = daemon.handle(call, context).instrument(span).await;
        drop(guard);
        return outcome.map_or_else(|error| failure(&error), |value| Json(value).into_response());
    }
    let (events, queue) = mpsc::channel(PROGRESS_QUEUE);
    let context = Arc::new(Context {
        team,
        progress: Some(events.clone()),
        cancel: cancel.clone(),
    });
    let tasks = daemon.tasks().clone();
    tasks.spawn(async move {
        let outcome = tokio::select! {
            outcome = daemon.handle(call, context).instrument(span) => outcome,
            () = cancel.cancelled() => {
                Err(ApiError::new(ErrorCode::Cancelled, "cancelled").hint("run it again: it goes on where it stopped"))
            }
        };
        let event = match &outcome {
            Ok(value) => Event::default().event(event::ANSWER).json_data(value),
            Err(error) => Event::default().event(event::ERROR).json_data(error),
        };
        if let Ok(event) = event {
            // Nobody listens any more: the call was cancelled by that.
            let _ = events.send(event).await;
        }
    });
    let events = stream::unfold((queue, guard), |(mut queue, guard)| async move {
        queue
            .recv()
            .await
            .map(|event| (Ok::<_, Infallible>(event), (queue, guard)))
    });
    Sse::new(events).into_response()
}

/// What is logged while the call runs says which call, pod and version it is about. The last two are
/// recorded when they are known: a reference is resolved, a state is packed.
fn span_of<C: Call>(call: &mut C) -> tracing::Span {
    let span = tracing::info_span!(
        "call",
        path = C::PATH,
        reference = Empty,
        pod = Empty,
        version = Empty
    );
    if let Some(reference) = call.references().into_iter().next() {
        span.record("reference", reference.as_str());
    }
    span
}

fn failure(error: &ApiError) -> Response {
    let status =
        StatusCode::from_u16(error.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(error)).into_response()
}

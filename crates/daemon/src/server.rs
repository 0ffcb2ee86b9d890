//! The control API's server: calls from the socket to the methods that carry them out.
//!
//! When the client's connection closes, the call's token is cancelled and its future dropped.

use std::{convert::Infallible, sync::Arc, time::Instant};

use axum::{
    Json, Router,
    body::Bytes,
    extract::{DefaultBodyLimit, Path as UrlPath, rejection::BytesRejection},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response, Sse, sse::Event},
    routing::{get, post},
};
use futures::stream;
use podsync_api::{
    ApiError, Call, ErrorCode, Scope, contents, disk, event, events, follow, node, page, pods,
    retention, team,
};
use tokio::sync::mpsc;
use tracing::{Instrument, field::Empty};

use crate::{
    call::{Context, Handle},
    daemon::Daemon,
    metrics::{CONTENT_TYPE, Metrics},
    page::Page,
    service::status::Status,
    tasks::Tasks,
};

/// Bytes. A request is a handful of names and paths. The limit is far above that, so that an error can name the
/// value that is too long.
const MAX_REQUEST_LEN: usize = 1 << 20;
/// Progress reports that wait for the client. Further ones are dropped: the next report says more.
const PROGRESS_QUEUE: usize = 16;

/// The control socket's routes: those of the page, and the call that opens the page.
pub(crate) fn router(daemon: &Daemon) -> Router {
    let tasks = daemon.tasks.clone();
    let calls = calls(daemon);
    let page = Page::new(calls.clone(), tasks.clone());
    let (status, metrics) = (Arc::clone(&daemon.status), Arc::clone(&daemon.metrics));
    let routes = Routes {
        router: calls.route("/metrics", get(move || scrape(status, metrics))),
        tasks,
        metrics: Arc::clone(&daemon.metrics),
    };
    routes
        .call::<page::OpenPage, _>(&Arc::new(page))
        .router
        .layer(DefaultBodyLimit::max(MAX_REQUEST_LEN))
}

fn calls(daemon: &Daemon) -> Router {
    let routes = Routes {
        router: Router::new(),
        tasks: daemon.tasks.clone(),
        metrics: Arc::clone(&daemon.metrics),
    };
    let streams = daemon.streams.clone();
    let listen = async move |headers: HeaderMap| {
        streams
            .open(&headers)
            .unwrap_or_else(|error| failure(&error))
    };
    routes
        .call::<node::GetStatus, _>(&daemon.status)
        .call::<node::GetPeers, _>(&daemon.status)
        .call::<node::Stop, _>(&daemon.status)
        .call::<node::Pause, _>(&daemon.pause)
        .call::<node::Resume, _>(&daemon.pause)
        .call::<node::Examine, _>(&daemon.machine)
        .call::<node::ReadSettings, _>(&daemon.machine)
        .call::<team::CreateTeam, _>(&daemon.team)
        .call::<team::Join, _>(&daemon.team)
        .call::<team::Invite, _>(&daemon.team)
        .call::<team::InviteRobot, _>(&daemon.robots)
        .call::<team::Enter, _>(&daemon.robots)
        .call::<team::CheckFresh, _>(&daemon.robots)
        .call::<team::ListMembers, _>(&daemon.team)
        .call::<team::Remove, _>(&daemon.team)
        .call::<team::SetRole, _>(&daemon.team)
        .call::<team::SetHub, _>(&daemon.team)
        .call::<team::Leave, _>(&daemon.team)
        .call::<team::ListInvites, _>(&daemon.team)
        .call::<team::RevokeInvite, _>(&daemon.team)
        .call::<team::Recover, _>(&daemon.team)
        .call::<pods::Save, _>(&daemon.save)
        .call::<pods::Share, _>(&daemon.share)
        .call::<pods::Pull, _>(&daemon.pull)
        .call::<pods::Load, _>(&daemon.load)
        .call::<pods::Undo, _>(&daemon.load)
        .call::<pods::Export, _>(&daemon.export)
        .call::<pods::ListPods, _>(&daemon.catalog)
        .call::<pods::ListVersions, _>(&daemon.catalog)
        .call::<pods::Show, _>(&daemon.catalog)
        .call::<contents::Diff, _>(&daemon.inspect)
        .call::<contents::ForecastLoad, _>(&daemon.forecaster)
        .call::<pods::Tag, _>(&daemon.catalog)
        .call::<pods::DropVersion, _>(&daemon.catalog)
        .call::<pods::Resolve, _>(&daemon.catalog)
        .call::<retention::SetRetention, _>(&daemon.retention)
        .call::<retention::GetRetention, _>(&daemon.retention)
        .call::<retention::ApplyRetention, _>(&daemon.retention)
        .call::<disk::Pin, _>(&daemon.disk)
        .call::<disk::Collect, _>(&daemon.disk)
        .call::<disk::GetUsage, _>(&daemon.disk)
        .call::<disk::Verify, _>(&daemon.verify)
        .call::<follow::Follow, _>(&daemon.follower)
        .call::<follow::Unfollow, _>(&daemon.follower)
        .call::<follow::Autosave, _>(&daemon.autosaver)
        .call::<follow::StopAutosave, _>(&daemon.autosaver)
        .call::<follow::SaveBeforeStop, _>(&daemon.autosaver)
        .call::<follow::Restore, _>(&daemon.restorer)
        .router
        .route(&format!("/v1/{}", events::PATH), get(listen))
        .layer(DefaultBodyLimit::max(MAX_REQUEST_LEN))
}

/// Prometheus sends a `GET`.
async fn scrape(status: Arc<Status>, metrics: Arc<Metrics>) -> Response {
    match status.metrics(&metrics).await {
        Ok(text) => ([(header::CONTENT_TYPE, CONTENT_TYPE)], text).into_response(),
        Err(error) => failure(&error.into()),
    }
}

struct Routes {
    router: Router,
    tasks: Tasks,
    metrics: Arc<Metrics>,
}

impl Routes {
    /// Routes a kind of call to a service.
    fn call<C: Call, S: Handle<C>>(self, service: &Arc<S>) -> Self {
        let carrier = Carrier {
            service: Arc::clone(service),
            tasks: self.tasks.clone(),
            metrics: Arc::clone(&self.metrics),
        };
        let (path, carry_out) = match C::SCOPE {
            Scope::Home => (
                format!("/v1/{}", C::PATH),
                post(move |headers, body| answer::<C, S>(carrier, String::new(), headers, body)),
            ),
            Scope::Team => (
                format!("/v1/teams/{{team}}/{}", C::PATH),
                post(move |UrlPath(team): UrlPath<String>, headers, body| {
                    answer::<C, S>(carrier, team, headers, body)
                }),
            ),
        };
        Self {
            router: self.router.route(&path, carry_out),
            ..self
        }
    }
}

/// The service that carries out a call, and the daemon's tasks and metrics.
struct Carrier<S> {
    service: Arc<S>,
    tasks: Tasks,
    metrics: Arc<Metrics>,
}

impl<S> Clone for Carrier<S> {
    fn clone(&self) -> Self {
        Self {
            service: Arc::clone(&self.service),
            tasks: self.tasks.clone(),
            metrics: Arc::clone(&self.metrics),
        }
    }
}

async fn answer<C: Call, S: Handle<C>>(
    carrier: Carrier<S>,
    team: String,
    headers: HeaderMap,
    body: Result<Bytes, BytesRejection>,
) -> Response {
    let Carrier {
        service,
        tasks,
        metrics,
    } = carrier;
    let Ok(body) = body else {
        let text = format!(
            "{}: the request has more than {MAX_REQUEST_LEN} bytes",
            C::PATH
        );
        return failure(&ApiError::new(ErrorCode::Invalid, text).hint("shorten what you gave"));
    };
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
    let begun = Instant::now();
    let note = move |failed: Option<ErrorCode>| {
        metrics.note_call(C::PATH, outcome_of(failed), begun.elapsed());
    };
    let streams = headers
        .get(header::ACCEPT)
        .is_some_and(|accept| accept.as_bytes().starts_with(b"text/event-stream"));
    let cancel = tasks.stopping().child_token();
    let guard = cancel.clone().drop_guard();
    if !streams {
        let context = Arc::new(Context::new(team, None, cancel));
        let outcome = service.handle(call, context).instrument(span).await;
        drop(guard);
        let outcome = tasks.told(outcome.map_err(ApiError::from));
        note(outcome.as_ref().err().map(|error| error.code));
        return match outcome {
            Ok(value) => Json(value).into_response(),
            Err(error) => failure(&error),
        };
    }
    let (events, queue) = mpsc::channel(PROGRESS_QUEUE);
    let context = Arc::new(Context::new(team, Some(events.clone()), cancel.clone()));
    let of_daemon = tasks.clone();
    tasks.spawn(async move {
        let outcome = tokio::select! {
            outcome = service.handle(call, context).instrument(span) => outcome.map_err(ApiError::from),
            () = cancel.cancelled() => {
                // The client has gone and does not hear it, or the daemon is told to end.
                let text = "the daemon was stopped before it had answered";
                Err(ApiError::new(ErrorCode::NoDaemon, text).hint("run the command again"))
            }
        };
        let outcome = of_daemon.told(outcome);
        note(outcome.as_ref().err().map(|error| error.code));
        let event = match &outcome {
            Ok(value) => Event::default().event(event::ANSWER).json_data(value),
            Err(error) => Event::default().event(event::ERROR).json_data(error),
        };
        if let Ok(event) = event {
            // The client is gone, which has cancelled the call.
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

/// `ok`, or the kind of error as the API writes it.
fn outcome_of(failed: Option<ErrorCode>) -> String {
    let Some(code) = failed else {
        return "ok".to_owned();
    };
    let code = serde_json::to_value(code).unwrap_or_default();
    code.as_str().unwrap_or("internal").to_owned()
}

/// The call's span names the call, pod and version. The last two are recorded once they are known: after a
/// reference is resolved or a state is packed.
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

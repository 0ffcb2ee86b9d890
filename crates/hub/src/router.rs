//! The endpoints: from a signed request to the team's method, and back to JSON.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::{MatchedPath, Path, Query, Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use podsync_api::hub::{
    BatchOperation, BatchRequest, BatchResponse, Commit, FeedPage, FeedQuery, FetchOperations,
    Heads, HubError, HubErrorCode, JoinByInvite, Operations, PostLiveness, PostOperations, Stored,
    TeamInfo, Time,
};
use podsync_core::{DeviceId, TeamId, keys::DeviceSecret};
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;

use crate::{
    authenticate::{Signed, malformed},
    failure::Failure,
    health,
    hub::{Hub, now_ms},
    metrics, openapi,
    teams::unknown_team,
};

type Answer<T> = Result<Json<T>, Failure>;

/// All endpoints.
pub fn router(hub: Arc<Hub>) -> Router {
    Router::new()
        .route("/v1/time", get(time))
        .route("/v1/teams/{team}", get(team_info))
        .route("/v1/teams/{team}/objects/batch", post(batch))
        .route("/v1/teams/{team}/commit", post(commit))
        .route("/v1/teams/{team}/heads", get(heads))
        .route("/v1/teams/{team}/feeds/{device}", get(feed))
        .route("/v1/teams/{team}/liveness", post(liveness))
        .route("/v1/teams/{team}/membership/fetch", post(fetch_operations))
        .route("/v1/teams/{team}/membership", post(post_operations))
        .route("/v1/teams/{team}/join", post(join))
        .route("/health/live", get(async || StatusCode::NO_CONTENT))
        .route("/health/ready", get(ready))
        .route("/health/teams", get(teams))
        .route("/metrics", get(show_metrics))
        .route("/openapi.json", get(async || Json(openapi::document())))
        .fallback(async || not_found())
        .layer(CatchPanicLayer::custom(|_| {
            Failure::new(
                HubErrorCode::Internal,
                "the hub failed; tell whoever runs it",
            )
            .into_response()
        }))
        .layer(middleware::from_fn_with_state(hub.clone(), measure))
        .with_state(hub)
}

/// Bounds the time of a request, and notes how it went. Neither a path nor a query is noted as it came.
async fn measure(
    State(hub): State<Arc<Hub>>,
    path: Option<MatchedPath>,
    request: Request,
    next: Next,
) -> Response {
    let endpoint = path.map_or_else(|| "none".to_owned(), |path| path.as_str().to_owned());
    let method = request.method().clone();
    let begun = std::time::Instant::now();
    hub.metrics.in_flight.inc();
    // Every line of the log that a request causes names its team.
    let team = team_of(&request);
    let named = team.map(|team| team.to_string());
    let served = named
        .clone()
        .filter(|_| team.is_some_and(|team| hub.teams.knows(&team)));
    let span = tracing::info_span!("request", team = named);
    let response = tokio::time::timeout(hub.limits.whole, next.run(request))
        .instrument(span)
        .await
        .unwrap_or_else(|_| {
            let message = "this took too long; try again";
            Failure::new(HubErrorCode::StorageUnavailable, message).into_response()
        });
    hub.metrics.in_flight.dec();
    let (status, took) = (response.status().as_u16(), begun.elapsed());
    tracing::debug!(%method, endpoint, status, ms = took.as_millis(), "request");
    let label = metrics::Endpoint {
        endpoint: endpoint.clone(),
    };
    hub.metrics
        .seconds
        .get_or_create(&label)
        .observe(took.as_secs_f64());
    let label = metrics::Request {
        endpoint,
        team: served.unwrap_or_default(),
        status,
    };
    hub.metrics.requests.get_or_create(&label).inc();
    response
}

/// The team in a request's path, if it can be one's id.
fn team_of(request: &Request) -> Option<TeamId> {
    let rest = request.uri().path().strip_prefix("/v1/teams/")?;
    rest.split('/').next()?.parse().ok()
}

fn not_found() -> Failure {
    Failure::new(HubErrorCode::NotFound, "there is no such path at this hub")
}

#[utoipa::path(get, path = "/v1/time", responses((status = 200, body = Time)))]
pub(crate) async fn time() -> Json<Time> {
    Json(Time { time_ms: now_ms() })
}

#[utoipa::path(get, path = "/v1/teams/{team}",
    params(("team" = String, Path)),
    responses((status = 200, body = TeamInfo), (status = 404, body = HubError)))]
pub(crate) async fn team_info(
    State(hub): State<Arc<Hub>>,
    Path(team): Path<String>,
) -> Answer<TeamInfo> {
    let team: TeamId = team.parse().map_err(|_| unknown_team())?;
    if !hub.teams.serves(&team) {
        return Err(unknown_team().into());
    }
    let identity = hub.identity();
    let witness = identity.witness.as_ref().map(DeviceSecret::id);
    Ok(Json(TeamInfo { team, witness }))
}

#[utoipa::path(post, path = "/v1/teams/{team}/objects/batch",
    params(("team" = String, Path)), request_body = BatchRequest,
    responses((status = 200, body = BatchResponse), (status = "default", body = HubError)))]
pub(crate) async fn batch(signed: Signed) -> Answer<BatchResponse> {
    let request: BatchRequest = signed.json()?;
    let operation = match request.operation {
        BatchOperation::Upload => "upload",
        BatchOperation::Download => "download",
        BatchOperation::Replace => "replace",
    };
    let result = signed.team.batch(&signed.device, &request).await;
    let (urls, bytes) = result
        .as_ref()
        .map_or((0, 0), |granted| (granted.urls, granted.bytes));
    let metrics = &signed.hub.metrics;
    let label = metrics::Presigned {
        team: signed.team.id().to_string(),
        operation,
    };
    metrics.presigned.get_or_create(&label).inc_by(urls);
    metrics.presigned_bytes.get_or_create(&label).inc_by(bytes);
    let detail = format!(
        "objects={} granted={urls} bytes={bytes}",
        request.objects.len()
    );
    signed.record(operation, &detail, &result);
    Ok(Json(result?.response))
}

#[utoipa::path(post, path = "/v1/teams/{team}/commit",
    params(("team" = String, Path)), request_body = Commit,
    responses((status = 200, body = Stored), (status = "default", body = HubError)))]
pub(crate) async fn commit(signed: Signed) -> Answer<Stored> {
    let commit: Commit = signed.json()?;
    let count = commit.entries.len();
    let result = signed.team.commit(&signed.device, commit).await;
    if result.is_ok() {
        let label = signed.team.id().into();
        let committed = &signed.hub.metrics.committed;
        committed.get_or_create(&label).inc_by(count as u64);
    }
    let seq = result.as_ref().map_or(0, |stored| stored.seq);
    signed.record("commit", &format!("entries={count} seq={seq}"), &result);
    Ok(Json(result?))
}

#[utoipa::path(get, path = "/v1/teams/{team}/heads",
    params(("team" = String, Path), ("If-None-Match" = Option<String>, Header)),
    responses((status = 200, body = Heads), (status = 304), (status = "default", body = HubError)))]
pub(crate) async fn heads(signed: Signed) -> Result<Response, Failure> {
    let view = signed.team.view_for(&signed.device).await?;
    let tag = [(header::ETAG, view.etag.clone())];
    let known = signed.headers.get(header::IF_NONE_MATCH);
    if known.is_some_and(|known| known.as_bytes() == view.etag.as_bytes()) {
        return Ok((StatusCode::NOT_MODIFIED, tag).into_response());
    }
    Ok((tag, Json(view.heads_answer())).into_response())
}

#[utoipa::path(get, path = "/v1/teams/{team}/feeds/{device}",
    params(("team" = String, Path), ("device" = String, Path), FeedQuery),
    responses((status = 200, body = FeedPage), (status = "default", body = HubError)))]
pub(crate) async fn feed(
    Path((_, device)): Path<(String, String)>,
    Query(query): Query<FeedQuery>,
    signed: Signed,
) -> Answer<FeedPage> {
    let device: DeviceId = device.parse().map_err(malformed)?;
    Ok(Json(signed.team.feed(device, query, &signed.device).await?))
}

#[utoipa::path(post, path = "/v1/teams/{team}/liveness",
    params(("team" = String, Path)), request_body = PostLiveness,
    responses((status = 204), (status = "default", body = HubError)))]
pub(crate) async fn liveness(signed: Signed) -> Result<StatusCode, Failure> {
    let post: PostLiveness = signed.json()?;
    signed
        .team
        .post_liveness(&signed.device, &post.statement)
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(post, path = "/v1/teams/{team}/membership/fetch",
    params(("team" = String, Path)), request_body = FetchOperations,
    responses((status = 200, body = Operations), (status = "default", body = HubError)))]
pub(crate) async fn fetch_operations(signed: Signed) -> Answer<Operations> {
    let fetch: FetchOperations = signed.json()?;
    Ok(Json(
        signed.team.fetch_operations(&signed.device, &fetch).await?,
    ))
}

#[utoipa::path(post, path = "/v1/teams/{team}/membership",
    params(("team" = String, Path)), request_body = PostOperations,
    responses((status = 200, body = FetchOperations), (status = "default", body = HubError)))]
pub(crate) async fn post_operations(signed: Signed) -> Answer<FetchOperations> {
    let post: PostOperations = signed.json()?;
    let result = signed.team.post_operations(&signed.device, &post).await;
    let detail = format!("operations={}", post.operations.len());
    signed.record("membership", &detail, &result);
    Ok(Json(result?))
}

#[utoipa::path(post, path = "/v1/teams/{team}/join",
    params(("team" = String, Path)), request_body = JoinByInvite,
    responses((status = 200, body = Operations), (status = "default", body = HubError)))]
pub(crate) async fn join(signed: Signed) -> Answer<Operations> {
    let join: JoinByInvite = signed.json()?;
    let identity = signed.hub.identity();
    let witness = identity.witness.as_ref();
    let result = signed
        .team
        .join(&signed.device, &join, witness, now_ms())
        .await;
    signed.record("join", "", &result);
    Ok(Json(result?))
}

impl Signed {
    fn record<T>(&self, action: &str, detail: &str, result: &Result<T, HubError>) {
        self.hub
            .record(self.team.id(), self.device, action, detail, result);
    }
}

/// Ready while a bucket takes shares. Whose doesn't is not for strangers.
async fn ready(State(hub): State<Arc<Hub>>) -> Result<StatusCode, Failure> {
    if health::can_serve(&hub.team_health().await) {
        return Ok(StatusCode::NO_CONTENT);
    }
    Err(Failure::new(
        HubErrorCode::StorageUnavailable,
        "no team's bucket takes shares; /health/teams and the log tell why",
    ))
}

async fn teams(State(hub): State<Arc<Hub>>, headers: HeaderMap) -> Response {
    if !hub.identity().guard.admits(&headers) {
        return not_shown();
    }
    Json(hub.team_health().await).into_response()
}

async fn show_metrics(State(hub): State<Arc<Hub>>, headers: HeaderMap) -> Response {
    const TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    if !hub.identity().guard.admits(&headers) {
        return not_shown();
    }
    for team in hub.teams.all() {
        team.note_usage(&hub.metrics);
    }
    ([(header::CONTENT_TYPE, TYPE)], hub.metrics.text()).into_response()
}

fn not_shown() -> Response {
    let words =
        "send `authorization: Bearer` with the token of `metrics_token` in the hub's settings\n";
    (StatusCode::FORBIDDEN, words).into_response()
}

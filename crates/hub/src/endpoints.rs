//! The endpoints that devices ask: from a signed request to the team's method, and back to JSON.

use std::{sync::Arc, time::Duration};

use axum::{
    Json,
    extract::{Path, Query, State},
    http::{HeaderMap, StatusCode, header},
    response::{IntoResponse, Response},
};
use podsync_api::hub::{
    BatchOperation, BatchRequest, BatchResponse, Commit, FeedPage, FeedQuery, FetchOperations,
    HubError, JoinByInvite, Operations, PostLiveness, PostOperations, Stored, TeamInfo, Time,
};
use podsync_core::{DeviceId, TeamId, keys::DeviceSecret};

use crate::{
    authenticate::Signed,
    failure::{Failure, malformed, unknown_team},
    hub::{Hub, now_ms},
    metrics,
};

type Answer<T> = Result<Json<T>, Failure>;

#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/v1/time", responses((status = 200, body = Time))))]
pub(crate) async fn time() -> Json<Time> {
    Json(Time { time_ms: now_ms() })
}

#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/v1/teams/{team}",
    params(("team" = String, Path)),
    responses((status = 200, body = TeamInfo), (status = 404, body = HubError))))]
pub(crate) async fn team_info(
    State(hub): State<Arc<Hub>>,
    Path(team): Path<String>,
) -> Answer<TeamInfo> {
    let team: TeamId = team.parse().map_err(|_| unknown_team())?;
    let identity = hub.identity();
    if !hub.teams.serves(&team) {
        let moved = identity.moved.answer(team, None, None);
        return Err(moved.unwrap_or_else(unknown_team).into());
    }
    let witness = identity.witness.as_ref().map(DeviceSecret::id);
    Ok(Json(TeamInfo { team, witness }))
}

#[cfg_attr(feature = "openapi", utoipa::path(post, path = "/v1/teams/{team}/objects/batch",
    params(("team" = String, Path)), request_body = BatchRequest,
    responses((status = 200, body = BatchResponse), (status = "default", body = HubError))))]
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

#[cfg_attr(feature = "openapi", utoipa::path(post, path = "/v1/teams/{team}/commit",
    params(("team" = String, Path)), request_body = Commit,
    responses((status = 200, body = Stored), (status = "default", body = HubError))))]
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

#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/v1/teams/{team}/heads",
    params(("team" = String, Path), ("If-None-Match" = Option<String>, Header),
        ("Cache-Control" = Option<String>, Header)),
    responses((status = 200, body = podsync_api::hub::Heads), (status = 304), (status = "default", body = HubError))))]
pub(crate) async fn heads(signed: Signed) -> Result<Response, Failure> {
    let age = max_age(&signed.headers);
    let view = signed.team.view_for_within(&signed.device, age).await?;
    let tag = [(header::ETAG, view.etag.clone())];
    let known = signed.headers.get(header::IF_NONE_MATCH);
    if known.is_some_and(|known| known.as_bytes() == view.etag.as_bytes()) {
        return Ok((StatusCode::NOT_MODIFIED, tag).into_response());
    }
    let json = [(header::CONTENT_TYPE, "application/json")];
    Ok((tag, json, view.answer.clone()).into_response())
}

/// How old an answer may be for who asks: `max-age` of `Cache-Control`, in seconds; nothing is, without it.
fn max_age(headers: &HeaderMap) -> Duration {
    let value = headers.get(header::CACHE_CONTROL);
    let seconds = value.and_then(|value| {
        let directives = value.to_str().ok()?.split(',');
        let mut ages = directives.filter_map(|one| one.trim().strip_prefix("max-age="));
        ages.next()?.parse().ok()
    });
    Duration::from_secs(seconds.unwrap_or(0))
}

#[cfg_attr(feature = "openapi", utoipa::path(get, path = "/v1/teams/{team}/feeds/{device}",
    params(("team" = String, Path), ("device" = String, Path), FeedQuery),
    responses((status = 200, body = FeedPage), (status = "default", body = HubError))))]
pub(crate) async fn feed(
    Path((_, device)): Path<(String, String)>,
    Query(query): Query<FeedQuery>,
    signed: Signed,
) -> Answer<FeedPage> {
    let device: DeviceId = device.parse().map_err(malformed)?;
    Ok(Json(signed.team.feed(device, query, &signed.device).await?))
}

#[cfg_attr(feature = "openapi", utoipa::path(post, path = "/v1/teams/{team}/liveness",
    params(("team" = String, Path)), request_body = PostLiveness,
    responses((status = 204), (status = "default", body = HubError))))]
pub(crate) async fn liveness(signed: Signed) -> Result<StatusCode, Failure> {
    let post: PostLiveness = signed.json()?;
    signed
        .team
        .post_liveness(&signed.device, &post.statement, now_ms())
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

#[cfg_attr(feature = "openapi", utoipa::path(post, path = "/v1/teams/{team}/membership/fetch",
    params(("team" = String, Path)), request_body = FetchOperations,
    responses((status = 200, body = Operations), (status = "default", body = HubError))))]
pub(crate) async fn fetch_operations(signed: Signed) -> Answer<Operations> {
    let fetch: FetchOperations = signed.json()?;
    Ok(Json(
        signed.team.fetch_operations(&signed.device, &fetch).await?,
    ))
}

#[cfg_attr(feature = "openapi", utoipa::path(post, path = "/v1/teams/{team}/membership",
    params(("team" = String, Path)), request_body = PostOperations,
    responses((status = 200, body = FetchOperations), (status = "default", body = HubError))))]
pub(crate) async fn post_operations(signed: Signed) -> Answer<FetchOperations> {
    let post: PostOperations = signed.json()?;
    let result = signed.team.post_operations(&signed.device, &post).await;
    let detail = format!("operations={}", post.operations.len());
    signed.record("membership", &detail, &result);
    Ok(Json(result?))
}

#[cfg_attr(feature = "openapi", utoipa::path(post, path = "/v1/teams/{team}/join",
    params(("team" = String, Path)), request_body = JoinByInvite,
    responses((status = 200, body = Operations), (status = "default", body = HubError))))]
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

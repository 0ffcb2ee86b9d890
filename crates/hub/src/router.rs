//! Which path leads to which endpoint, and what holds for all of them: bounded in time, measured, no panic.

use std::{any::Any, sync::Arc};

use axum::{
    Router,
    extract::{MatchedPath, Request, State},
    http::{StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use podsync_api::hub::HubErrorCode;
use podsync_core::TeamId;
use tower_http::catch_panic::CatchPanicLayer;
use tracing::Instrument;

use crate::{
    endpoints::{
        batch, commit, feed, fetch_operations, heads, join, liveness, post_operations, team_info,
        time,
    },
    failure::Failure,
    hub::Hub,
    inspect::{ready, show_metrics, teams},
    metrics,
};

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
        .route("/openapi.json", get(openapi))
        .fallback(async || not_found())
        .layer(CatchPanicLayer::custom(failed))
        .layer(middleware::from_fn_with_state(hub.clone(), measure))
        .with_state(hub)
}

/// `crate::openapi` has a test that the page is what the handlers say.
async fn openapi() -> impl IntoResponse {
    const PAGE: &str = include_str!("../../../docs/hub-openapi.json");
    ([(header::CONTENT_TYPE, "application/json")], PAGE)
}

/// Bounds the time of a request, and records its result. It never records the request's own path or query.
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
    // Every line of the log that a request causes names its team, and the bucket once that is known.
    let team = team_of(&request);
    let named = team.map(|team| team.to_string());
    let served = named
        .clone()
        .filter(|_| team.is_some_and(|team| hub.teams.knows(&team)));
    let span = tracing::error_span!("request", team = named, bucket = tracing::field::Empty);
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

/// By its body clients know that the hub answered, and not a proxy before it.
fn failed(_: Box<dyn Any + Send>) -> Response {
    Failure::new(HubErrorCode::Internal, "the hub failed; tell its operator").into_response()
}

/// The team in a request's path, if it can be one's id.
fn team_of(request: &Request) -> Option<TeamId> {
    let rest = request.uri().path().strip_prefix("/v1/teams/")?;
    rest.split('/').next()?.parse().ok()
}

fn not_found() -> Failure {
    Failure::new(HubErrorCode::NotFound, "there is no such path at this hub")
}

#[cfg(test)]
mod tests {
    use podsync_api::hub::HubError;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_told_in_the_hubs_own_form() {
        let panicking = get(async || -> StatusCode { panic!("a bug") });
        let app = Router::new()
            .route("/", panicking)
            .layer(CatchPanicLayer::custom(failed));
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/", listener.local_addr().unwrap());
        let server = tokio::spawn(async move { axum::serve(listener, app).await });
        crate::serve::install_tls();
        let client = reqwest::Client::builder().no_proxy().build().unwrap();
        let answer = client.get(url).send().await.unwrap();
        server.abort();
        let status = answer.status().as_u16();
        let error: HubError = serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap();
        assert_eq!((status, error.code), (500, HubErrorCode::Internal));
        assert_eq!(error.code.http_status(), status);
    }
}

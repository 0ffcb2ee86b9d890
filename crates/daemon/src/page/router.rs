//! The page's endpoints. Its static files need no session; everything else does.

use std::sync::Arc;

use axum::{
    Json, Router,
    body::Body,
    extract::{DefaultBodyLimit, State},
    http::{HeaderMap, Method, StatusCode, Uri, header},
    middleware::from_fn_with_state,
    response::{IntoResponse, Response},
    routing::post,
};
use serde::{Deserialize, Serialize};

use super::{
    answer::unknown,
    files::{self, Files},
    guard::{self, Guard},
};

/// Bytes. A token is 64 hex digits.
const MAX_TOKEN_REQUEST_LEN: usize = 1 << 10;

pub(super) fn router(guard: &Arc<Guard>, api: Router, files: &Arc<Files>) -> Router {
    let session = Router::new()
        .route("/session", axum::routing::delete(end_session))
        .with_state(Arc::clone(guard));
    let calls = api
        .merge(files::calls(files))
        .merge(session)
        .route_layer(from_fn_with_state(Arc::clone(guard), guard::in_session));
    let links =
        files::links(files).route_layer(from_fn_with_state(Arc::clone(guard), guard::by_link));
    let begin = Router::new()
        .route("/session", post(begin_session))
        .layer(DefaultBodyLimit::max(MAX_TOKEN_REQUEST_LEN))
        .with_state(Arc::clone(guard));
    Router::new()
        .merge(calls)
        .merge(links)
        .merge(begin)
        .fallback(asset)
        .layer(from_fn_with_state(Arc::clone(guard), guard::own))
}

#[derive(Deserialize)]
struct Begin {
    token: String,
}

#[derive(Serialize)]
struct Begun<'a> {
    key: &'a str,
}

/// Turns a token into a session: a cookie for the browser, a key for the page's scripts.
async fn begin_session(State(guard): State<Arc<Guard>>, Json(begin): Json<Begin>) -> Response {
    let Some(begun) = guard.sessions.begin(&begin.token) else {
        return unknown();
    };
    let cookie = format!(
        "{}={}; Path=/; HttpOnly; SameSite=Strict",
        guard.cookie(),
        begun.cookie.expose()
    );
    let body = Begun {
        key: begun.key.expose(),
    };
    ([(header::SET_COOKIE, cookie)], Json(body)).into_response()
}

async fn end_session(State(guard): State<Arc<Guard>>, headers: HeaderMap) -> StatusCode {
    if let Some(cookie) = guard.shown_cookie(&headers) {
        guard.sessions.end(cookie);
    }
    StatusCode::NO_CONTENT
}

async fn asset(method: Method, uri: Uri) -> Response {
    if !matches!(method, Method::GET | Method::HEAD) {
        return StatusCode::NOT_FOUND.into_response();
    }
    match podsync_page::asset(uri.path()) {
        Some(asset) => {
            let kind = [(header::CONTENT_TYPE, asset.content_type)];
            (kind, Body::from(asset.bytes.into_owned())).into_response()
        }
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

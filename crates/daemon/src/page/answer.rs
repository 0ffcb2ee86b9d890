//! Answers of the page's own endpoints: errors in the control API's shape, and the headers of every answer.

use axum::{
    Json,
    http::{HeaderName, HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use podsync_api::{ApiError, ErrorCode};

/// No content from other sites, no inline scripts or styles, no framing, no caching.
const HEADERS: [(HeaderName, &str); 7] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; \
         trusted-types 'none'",
    ),
    (header::CACHE_CONTROL, "no-store"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (header::REFERRER_POLICY, "no-referrer"),
    (header::X_FRAME_OPTIONS, "DENY"),
    (
        HeaderName::from_static("cross-origin-opener-policy"),
        "same-origin",
    ),
    (
        HeaderName::from_static("cross-origin-resource-policy"),
        "same-origin",
    ),
];

pub(super) fn with_headers(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        response
            .headers_mut()
            .insert(name, HeaderValue::from_static(value));
    }
    response
}

pub(super) fn failure(error: ApiError) -> Response {
    let status =
        StatusCode::from_u16(error.code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    (status, Json(error)).into_response()
}

/// The request came under another host name or from another site, so the page didn't send it.
pub(super) fn forbidden(what: &str) -> Response {
    let error = ApiError::new(ErrorCode::Forbidden, what);
    failure(error.hint("open the page with `podsync ui`"))
}

/// The request has no session, or its session has ended.
pub(super) fn unknown() -> Response {
    let error = ApiError::new(ErrorCode::Forbidden, "this browser has no session")
        .hint("open the page again with `podsync ui`");
    (StatusCode::UNAUTHORIZED, Json(error)).into_response()
}

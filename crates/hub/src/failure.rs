//! Errors on their way out: from what went wrong in the hub to a status, a body and `Retry-After`.

use axum::{
    Json,
    http::{HeaderValue, StatusCode, header},
    response::{IntoResponse, Response},
};
use podsync_api::hub::{HubError, HubErrorCode, signature::RequestError};

use crate::storage::StorageError;

/// When to come back, in seconds, after too many requests and while the bucket can't do what it is asked.
const RETRY_AFTER: [(HubErrorCode, u16); 2] = [
    (HubErrorCode::TooManyRequests, 1),
    (HubErrorCode::StorageUnavailable, 5),
];

/// An error as an answer.
#[derive(Debug)]
pub struct Failure(pub HubError);

impl Failure {
    pub fn new(code: HubErrorCode, message: impl Into<String>) -> Self {
        Self(HubError::new(code, message))
    }
}

impl<E: Into<HubError>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self(error.into())
    }
}

impl IntoResponse for Failure {
    fn into_response(self) -> Response {
        let code = self.0.code;
        let status =
            StatusCode::from_u16(code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let after = RETRY_AFTER.into_iter().find(|(of, _)| *of == code);
        let after = after.filter(|_| !self.0.lasts);
        let mut response = (status, Json(self.0)).into_response();
        if let Some((_, seconds)) = after {
            let value = HeaderValue::from(seconds);
            response.headers_mut().insert(header::RETRY_AFTER, value);
        }
        response
    }
}

/// What a member sees: bucket and code. The server's message goes to the log, for the operator.
impl From<StorageError> for HubError {
    fn from(error: StorageError) -> Self {
        tracing::warn!(%error, "bucket");
        let trouble = error.trouble();
        let of = match (trouble.bucket.as_str(), trouble.code.as_str()) {
            ("", _) => String::new(),
            (bucket, "") => format!(" ({bucket})"),
            (bucket, code) => format!(" ({bucket}: {code})"),
        };
        let (code, message) = match &error {
            StorageError::Unavailable(_) => (
                HubErrorCode::StorageUnavailable,
                format!(
                    "the team's bucket{of} {}; try again in a while",
                    trouble.what_it_does()
                ),
            ),
            StorageError::Refused(_) => (
                HubErrorCode::StorageUnavailable,
                format!(
                    "the team's bucket{of} refuses the hub; tell the hub's operator to look at its log"
                ),
            ),
            StorageError::Gone(_) => (
                HubErrorCode::StorageUnavailable,
                format!(
                    "the team's bucket{of} isn't there; try again in a while, and tell the hub's operator if that doesn't help"
                ),
            ),
            StorageError::Full(_) => (
                HubErrorCode::QuotaExceeded,
                format!("the team's bucket{of} is full; drop versions, or tell the hub's operator"),
            ),
            StorageError::Garbled(_) => (
                HubErrorCode::Internal,
                format!(
                    "the hub can't read something in the team's bucket{of}; tell the hub's operator to look at its log"
                ),
            ),
        };
        Self {
            lasts: matches!(error, StorageError::Refused(_)),
            ..Self::new(code, message)
        }
    }
}

/// An error about the signature of a request. `now` is the hub's clock, Unix milliseconds.
pub fn unsigned(error: &RequestError, now_ms: u64) -> HubError {
    let code = error.code();
    let time_ms = (code == HubErrorCode::ClockSkew).then_some(now_ms);
    HubError {
        time_ms,
        ..HubError::new(code, error.to_string())
    }
}

pub(crate) fn malformed(what: impl std::fmt::Display) -> HubError {
    HubError::new(
        HubErrorCode::Malformed,
        format!("the request is malformed: {what}"),
    )
}

pub(crate) fn unknown_team() -> HubError {
    HubError::new(
        HubErrorCode::UnknownTeam,
        "this hub doesn't serve that team, or no member has brought its operations here; ask the hub's operator, or let an admin's daemon reach it",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Trouble;

    #[test]
    fn only_a_bucket_without_an_answer_is_told_as_silent() {
        for (code, words) in [
            ("503 SlowDown", "(payments: 503 SlowDown) can't do this now"),
            ("", "(payments) doesn't answer"),
        ] {
            let error = StorageError::Unavailable(Trouble {
                bucket: "payments".to_owned(),
                code: code.to_owned(),
                words: String::new(),
            });
            let logged = error.to_string();
            assert_eq!(logged.contains("doesn't answer"), code.is_empty());
            let told = HubError::from(error).message;
            assert!(told.contains(words), "{told}");
        }
    }
}

//! Errors of the hub, with the details that each has beside its code.

use serde::{Deserialize, Serialize};

use super::{Base64, HubErrorCode, ObjectRef};

/// What happened, to what, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[error("{message}")]
pub struct HubError {
    pub code: HubErrorCode,
    pub message: String,
    /// With `missing_objects`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<ObjectRef>,
    /// With `not_next`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_seq: Option<u64>,
    /// With `forked`: a signed feed head.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, content_encoding = "base64"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub head: Option<Base64>,
    /// With `clock_skew`: the hub's clock, Unix milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_ms: Option<u64>,
    /// With `storage_unavailable`: the bucket's server refuses, and will until an operator changes something.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lasts: bool,
    /// With `moved`, where the request was signed: a signed `HubMoved`.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>, content_encoding = "base64"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub moved: Option<Box<Base64>>,
}

impl HubError {
    pub fn new(code: HubErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            missing: Vec::new(),
            expected_seq: None,
            head: None,
            time_ms: None,
            lasts: false,
            moved: None,
        }
    }
}

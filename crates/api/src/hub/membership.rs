//! Membership at the hub: exchanging operations, and joining by an invite.

use podsync_core::{DeviceId, OpId, TeamId};
use serde::{Deserialize, Serialize};

use super::Base64;

/// `GET /v1/teams/{team}`: what the hub is to this team. Asked without a signature.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TeamInfo {
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub team: TeamId,
    /// The key that the hub witnesses joins with: what the team's setting `hub.key` has to name.
    /// None where this hub witnesses nothing.
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub witness: Option<DeviceId>,
}

/// `GET /v1/time`: the hub's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Time {
    /// Unix milliseconds.
    pub time_ms: u64,
}

/// `POST membership/fetch`: all operations that `known` and what these saw lack.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FetchOperations {
    /// At most [`podsync_core::membership::wire::MAX_KNOWN_HEADS`].
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>))]
    pub known: Vec<OpId>,
}

/// Operations in their envelopes, parents first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Operations {
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>, content_encoding = "base64"))]
    pub operations: Vec<Base64>,
    /// There are more: insert these and fetch again.
    pub more: bool,
}

/// `POST membership`: operations that the bucket may lack, parents first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PostOperations {
    #[cfg_attr(feature = "openapi", schema(value_type = Vec<String>, content_encoding = "base64"))]
    pub operations: Vec<Base64>,
}

/// `POST join`: please witness. Signed by the newcomer, who is not in the team yet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct JoinByInvite {
    /// The join request in its envelope, signed by the invite's key.
    #[cfg_attr(feature = "openapi", schema(value_type = String, content_encoding = "base64"))]
    pub request: Base64,
}

//! What went wrong at the hub, and its one mapping to HTTP statuses.

use serde::{Deserialize, Serialize};

/// What went wrong, by what a client can do about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum HubErrorCode {
    /// The request means nothing to this hub.
    Malformed,
    /// The request's signature is missing, or does not fit.
    BadSignature,
    /// The request was signed at another time than the hub's now: `time_ms` says when that is.
    ClockSkew,
    /// A request with this nonce was there already: sign it anew.
    Replayed,
    /// The signing device is not in the team, as far as the bucket tells.
    NotListed,
    /// The device's role does not allow this.
    RoleTooLow,
    /// The invite gives no way in; the message says why.
    InviteRefused,
    /// This hub does not witness joins of that team: ask a member.
    CannotWitness,
    /// This hub does not serve that team, or nobody has brought its operations here.
    UnknownTeam,
    /// The team's hub is elsewhere: `moved` says where, signed by the hub's key.
    Moved,
    /// No such object, feed or path.
    NotFound,
    /// Objects that an entry names are not in the bucket: `missing` lists them. Upload them and
    /// commit again.
    MissingObjects,
    /// The feed goes on elsewhere: `expected_seq` is the next number that can be committed.
    NotNext,
    /// The bucket has another entry of that number: `head` is the signed head that leads to it.
    Forked,
    /// More bytes or items than a request may have.
    TooLarge,
    /// A signed thing inside the request does not check out.
    Untrusted,
    /// Too many requests of this device at once: try again after `Retry-After`.
    TooManyRequests,
    /// A defect of the hub.
    Internal,
    /// The bucket does not answer: try again after `Retry-After`. Or it refuses the hub: then `lasts` is set.
    StorageUnavailable,
    /// The team's quota is used up, or the disk of the embedded server is full.
    QuotaExceeded,
}

impl HubErrorCode {
    pub const fn http_status(self) -> u16 {
        match self {
            Self::Malformed => 400,
            Self::BadSignature | Self::ClockSkew | Self::Replayed => 401,
            Self::NotListed | Self::RoleTooLow | Self::InviteRefused | Self::CannotWitness => 403,
            Self::UnknownTeam | Self::NotFound => 404,
            Self::MissingObjects | Self::NotNext | Self::Forked => 409,
            Self::Moved => 410,
            Self::TooLarge => 413,
            Self::Untrusted => 422,
            Self::TooManyRequests => 429,
            Self::Internal => 500,
            Self::StorageUnavailable => 503,
            Self::QuotaExceeded => 507,
        }
    }
}

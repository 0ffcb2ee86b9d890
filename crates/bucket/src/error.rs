//! Errors, grouped by what the caller can do about them. Their texts never contain a presigned URL.

use std::{fmt, time::Duration};

use podsync_api::hub::{HubError, HubErrorCode, ObjectError, ObjectId, ObjectKind};
use podsync_core::DeviceId;

use crate::said::Said;

/// The most characters to show of a hub's message.
const MAX_SHOWN: usize = 400;

/// An address that no hub can have.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{address} can't be a hub's address, {why}")]
pub struct AddressError {
    pub(crate) address: String,
    pub(crate) why: &'static str,
}

impl AddressError {
    /// What to do about it.
    pub fn hint(&self) -> &'static str {
        "name it as https://HOST or https://HOST:PORT"
    }
}

/// Why a call to the hub failed.
#[derive(Debug, thiserror::Error)]
pub enum HubClientError {
    #[error("the hub at {hub} can't be reached: {reason}")]
    Unreachable {
        hub: String,
        reason: String,
        /// Whether it may have got the request. False if no connection to it came about.
        asked: bool,
    },
    /// The hub is reachable and can't do it now.
    #[error("the hub at {hub} can't do this now: {reason}")]
    Busy {
        hub: String,
        reason: String,
        /// When to try again, as the hub says.
        retry_after: Option<Duration>,
    },
    /// A 429 or 5xx. Each of a hub, old or new, has a body with its code; this one has none.
    #[error(
        "a proxy or another server answers at the hub's address {hub}, and not the hub: status {status}"
    )]
    NotTheHub {
        hub: String,
        status: u16,
        /// When to try again, as that one says.
        retry_after: Option<Duration>,
    },
    #[error("the hub at {hub} does not know this device as a member: {message}")]
    NotListed { hub: String, message: String },
    #[error("the hub at {hub} says that this device's role doesn't allow this: {message}")]
    RoleTooLow { hub: String, message: String },
    #[error("{message} (hub at {hub})")]
    QuotaExceeded { hub: String, message: String },
    /// The hub can do nothing at the bucket until its operator changes something.
    #[error("{message} (hub at {hub})")]
    BucketRefuses { hub: String, message: String },
    /// For a reason that the error names.
    #[error("the hub at {hub} refuses: {}", shown(&.error.message))]
    Refused { hub: String, error: Box<HubError> },
    /// The signature holds, for the request that was sent; that the key is the hub's is yet to be seen.
    #[error("the hub at {hub} says that the team's hub is at {to} now")]
    Moved {
        hub: String,
        to: String,
        signer: DeviceId,
    },
    #[error("the server at {hub} does not answer as a hub does: {what}")]
    Garbled { hub: String, what: String },
}

impl HubClientError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Unreachable { .. } => "check the network, and whether it runs",
            Self::Busy { .. } => "try again later",
            Self::NotTheHub { .. } => {
                "try again later; if it stays so, ask the hub's operator whether the hub runs behind that proxy"
            }
            Self::NotListed { .. } => {
                "let an admin's daemon reach the hub, so that the hub learns of this device"
            }
            Self::RoleTooLow { .. } => "ask an admin",
            Self::QuotaExceeded { .. } => {
                "podsync uploaded nothing that doesn't fit; ask the hub's operator for more room"
            }
            Self::BucketRefuses { .. } => "tell the hub's operator",
            Self::Moved { .. } => {
                "if that is right, an admin names the new address with `podsync team set-hub`"
            }
            Self::Garbled { .. } => "check the address, or update podsync",
            Self::Refused { .. } => return None,
        })
    }
}

impl HubClientError {
    /// Whether the same may work later.
    pub fn may_pass(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::Busy { .. } | Self::NotTheHub { .. }
        )
    }

    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Busy { retry_after, .. } | Self::NotTheHub { retry_after, .. } => *retry_after,
            _ => None,
        }
    }

    /// The hub's own error, if it refused for a reason without a variant here.
    pub fn refusal(&self) -> Option<&HubError> {
        match self {
            Self::Refused { error, .. } => Some(error),
            _ => None,
        }
    }

    pub(crate) fn from_hub(hub: &str, error: HubError, retry_after: Option<Duration>) -> Self {
        let (hub, message) = (hub.to_owned(), shown(&error.message));
        match error.code {
            HubErrorCode::NotListed => Self::NotListed { hub, message },
            HubErrorCode::RoleTooLow => Self::RoleTooLow { hub, message },
            HubErrorCode::QuotaExceeded => Self::QuotaExceeded { hub, message },
            HubErrorCode::StorageUnavailable if error.lasts => Self::BucketRefuses { hub, message },
            HubErrorCode::TooManyRequests
            | HubErrorCode::Internal
            | HubErrorCode::StorageUnavailable => Self::Busy {
                hub,
                reason: message,
                retry_after,
            },
            _ => Self::Refused {
                hub,
                error: Box::new(error),
            },
        }
    }
}

/// Why bytes did not get to the bucket or from it.
#[derive(Debug, thiserror::Error)]
pub enum TransferError {
    #[error(transparent)]
    Hub(#[from] HubClientError),
    /// The reason may be the server's own words.
    #[error("the bucket can't serve {} now: {reason}", Short(.object))]
    Unavailable { object: ObjectId, reason: String },
    #[error("{} isn't in the bucket: {message}", Short(.object))]
    NotFound { object: ObjectId, message: String },
    /// Also with a fresh URL.
    #[error(
        "the bucket refuses {} ({said})",
        Short(.object)
    )]
    Refused { object: ObjectId, said: Box<Said> },
    #[error(
        "the bucket is full: there is no room for {} ({said})",
        Short(.object)
    )]
    Full { object: ObjectId, said: Box<Said> },
    #[error(
        "the hub gives no URL for {}: {}",
        Short(.object),
        shown(&.error.message)
    )]
    Declined {
        object: ObjectId,
        error: ObjectError,
    },
    /// Only data verified before was passed on.
    #[error(
        "the bucket has other bytes than {}: {what}",
        Short(.object)
    )]
    Liar {
        object: ObjectId,
        what: &'static str,
    },
    #[error("podsync can't use the bucket's answer for {}: {what}", Short(.object))]
    Garbled { object: ObjectId, what: String },
    #[error("{} can't be read on this machine: {reason}", Short(.object))]
    Source { object: ObjectId, reason: String },
    #[error(
        "{} is damaged on this machine and was not uploaded: its bytes aren't the ones that were saved",
        Short(.object)
    )]
    Damaged { object: ObjectId },
    #[error("{} can't be stored on this machine: {reason}", Short(.object))]
    Local { object: ObjectId, reason: String },
}

impl TransferError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Hub(error) => return error.hint(),
            Self::Unavailable { .. } => "try again later",
            Self::NotFound { .. } => "take it from a teammate who has it",
            Self::Refused { .. } => "tell the hub's operator",
            Self::Full { .. } => "drop versions, or ask the hub's operator for room",
            Self::Declined { .. } => "tell the hub's operator",
            Self::Liar { .. } => "take it from a peer, and upload it again",
            Self::Garbled { .. } => "tell the hub's operator",
            Self::Source { .. } => "check the disk",
            Self::Damaged { .. } => "drop the version, or pull it again from a teammate",
            Self::Local { .. } => "check the disk",
        })
    }
}

impl TransferError {
    /// Whether the hub has no room for what it was asked for.
    pub fn is_quota(&self) -> bool {
        matches!(self, Self::Hub(HubClientError::QuotaExceeded { .. }))
    }

    /// Whether the same may work later.
    pub fn may_pass(&self) -> bool {
        match self {
            Self::Hub(error) => error.may_pass(),
            Self::Unavailable { .. } => true,
            _ => false,
        }
    }
}

/// An object, in as few words as people need to find it.
pub(crate) struct Short<'a>(pub(crate) &'a ObjectId);

impl fmt::Display for Short<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.0.kind {
            ObjectKind::Pack => "pack",
            ObjectKind::Manifest => "manifest",
            ObjectKind::Outboards => "outboards",
        };
        let [a, b, c, d, e, ..] = self.0.sha256.as_bytes();
        write!(f, "{kind} sha256:{a:02x}{b:02x}{c:02x}{d:02x}{e:02x}")
    }
}

/// What a hub says, bounded.
fn shown(message: &str) -> String {
    message.chars().take(MAX_SHOWN).collect()
}

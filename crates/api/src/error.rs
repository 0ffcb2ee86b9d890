//! Errors as they cross the control API, and their one mapping to exit codes and HTTP statuses.

use serde::{Deserialize, Serialize};

/// What went wrong, by what a caller can do about it. The exit codes are a promise to scripts:
/// never reuse one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ErrorCode {
    /// A defect of podsync.
    Internal,
    /// The request itself is wrong: a name, a reference, a flag.
    Invalid,
    /// No such pod, version, tag, member, team or peer.
    NotFound,
    /// The reference means several versions; the message lists exact ones.
    Ambiguous,
    /// This device's role doesn't allow it, or it is no member.
    Forbidden,
    /// Something signed or sealed doesn't check out. Never retried in silence.
    Untrusted,
    /// Nobody who holds it can be reached now.
    Unreachable,
    /// The emulator isn't there, or can't do what was asked.
    Instance,
    /// The snapshot doesn't fit the emulator.
    Incompatible,
    /// The disk is full, or can't be read or written.
    Disk,
    /// Another process or command holds what is needed.
    Busy,
    /// The state at the source can't be taken: a bomb, a climbing name, a special file.
    BadState,
    /// A ticket is malformed, expired, used up or of another team.
    Ticket,
    /// It was cancelled.
    Cancelled,
    /// No daemon answers, and none could be started.
    NoDaemon,
    /// The user has to agree first: [`ApiError::consent`] says to what.
    Unconfirmed,
    /// What is known of the team is older than was asked for.
    Stale,
}

impl ErrorCode {
    /// The process exit code. 0 is success; 2 is a usage error, as clap reports it.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Internal => 1,
            Self::Invalid => 2,
            Self::NotFound => 3,
            Self::Ambiguous => 4,
            Self::Forbidden => 5,
            Self::Untrusted => 6,
            Self::Unreachable => 7,
            Self::Instance => 8,
            Self::Incompatible => 9,
            Self::Disk => 10,
            Self::Busy => 11,
            Self::BadState => 12,
            Self::Ticket => 13,
            Self::NoDaemon => 14,
            Self::Unconfirmed => 15,
            Self::Stale => 16,
            Self::Cancelled => 130,
        }
    }

    pub const fn http_status(self) -> u16 {
        match self {
            Self::Internal => 500,
            Self::Invalid | Self::BadState | Self::Ticket => 400,
            Self::NotFound => 404,
            Self::Ambiguous | Self::Busy | Self::Incompatible | Self::Unconfirmed | Self::Stale => {
                409
            }
            Self::Forbidden => 403,
            Self::Untrusted => 422,
            Self::Unreachable | Self::Instance => 502,
            Self::Disk => 507,
            Self::Cancelled => 499,
            Self::NoDaemon => 503,
        }
    }
}

/// The command line's flag that agrees to everything.
const YES: &str = "--yes";

/// What is done only when somebody said so; a call that lacks it is refused with its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Consent {
    /// Load into an emulator that isn't on this machine.
    Remote,
    /// Load what was made on a device of which nothing was loaded here before.
    NewSigner,
    /// Load where no complete checkpoint of what is there can be taken.
    WithoutCheckpoint,
    /// Give up bytes that nobody else is known to have.
    OnlyCopies,
    /// Leave a team without an admin.
    LastAdmin,
    /// Found a team with the name of another one that this home is in.
    SameName,
    /// Drop a version that a pod's name or a tag stands for at the moment.
    NotExact,
    /// Set a retention rule by which versions may go, now or once its grace is over.
    LetGo,
    /// Take this device out of a team, for good.
    Leave,
    /// Take others' devices out of a team, for good.
    Remove,
    /// Share a state that is older than the newest shared one.
    OlderState,
    /// Save a state with nothing in it.
    EmptyState,
}

impl Consent {
    pub const ALL: [Self; 12] = [
        Self::Remote,
        Self::NewSigner,
        Self::WithoutCheckpoint,
        Self::OnlyCopies,
        Self::LastAdmin,
        Self::SameName,
        Self::NotExact,
        Self::LetGo,
        Self::Leave,
        Self::Remove,
        Self::OlderState,
        Self::EmptyState,
    ];

    /// The command line's flag that says so beforehand.
    pub const fn flag(self) -> &'static str {
        match self {
            Self::Remote => "--remote",
            Self::NewSigner => "--new-signer",
            Self::WithoutCheckpoint => "--without-checkpoint",
            Self::OnlyCopies => "--only-copies",
            Self::LastAdmin
            | Self::SameName
            | Self::NotExact
            | Self::LetGo
            | Self::Leave
            | Self::Remove
            | Self::OlderState
            | Self::EmptyState => YES,
        }
    }
}

/// A reference that means several versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Ambiguity {
    /// As it was given.
    pub reference: String,
    /// Exact references of the versions that it may mean.
    pub exact: Vec<String>,
}

/// What happened, to what, and what to do next.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[error("{message}")]
pub struct ApiError {
    pub code: ErrorCode,
    pub message: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// With [`ErrorCode::Unconfirmed`]: with this said, the same call goes on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub consent: Option<Consent>,
    /// With [`ErrorCode::Ambiguous`], where a reference is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ambiguity: Option<Box<Ambiguity>>,
    /// With [`ErrorCode::Unreachable`]: somebody was asked and has not answered. It may be done all the same, and the
    /// same device finds out by asking again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub may_be_done: bool,
}

impl ApiError {
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self {
            code,
            message: message.into(),
            hint: None,
            consent: None,
            ambiguity: None,
            may_be_done: false,
        }
    }

    /// A reference of which the user has to say which version it means.
    pub fn ambiguous(ambiguity: Ambiguity) -> Self {
        let message = format!(
            "`{}` means several versions: {}",
            ambiguity.reference,
            ambiguity.exact.join(", ")
        );
        Self {
            ambiguity: Some(Box::new(ambiguity)),
            ..Self::new(ErrorCode::Ambiguous, message)
                .hint("name one of them; sharing a new version heals the fork")
        }
    }

    /// Something that needs the user's word.
    pub fn unconfirmed(consent: Consent, message: impl Into<String>) -> Self {
        let hint = match consent.flag() {
            YES => format!("add {YES} to do it anyway"),
            flag => format!("add {flag} to allow this, or {YES} to allow everything"),
        };
        Self {
            consent: Some(consent),
            ..Self::new(ErrorCode::Unconfirmed, message).hint(hint)
        }
    }

    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}

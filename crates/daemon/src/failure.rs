//! Errors of every room, and what each means to whoever called.

use std::io;

use podsync_api::{ApiError, ErrorCode};
use podsync_bucket::{HubClientError, TransferError};
use podsync_core::{BlobId, codec::CodecError, engine::EngineError, manifest::ManifestError};
use podsync_pack::{ReadError, SaveError, SourceError};
use podsync_store::{HomeError, StoreError};

use crate::node::Stopped;

/// An error on its way out of the daemon.
#[derive(Debug)]
pub(crate) struct Failure {
    told: ApiError,
    /// A pack whose bytes on this disk are not what they were.
    pub(crate) damaged: Option<BlobId>,
    /// An emulator's state that can only be read when all of it is there.
    pub(crate) only_whole: bool,
}

impl Failure {
    pub(crate) fn told(&self) -> &ApiError {
        &self.told
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        failure.told
    }
}

impl From<ApiError> for Failure {
    fn from(told: ApiError) -> Self {
        Self {
            told,
            damaged: None,
            only_whole: false,
        }
    }
}

/// Splits `what happened; what to do` as errors of ours are written.
pub(crate) fn with_hint(code: ErrorCode, error: &dyn std::fmt::Display) -> ApiError {
    let text = error.to_string();
    match text.rsplit_once("; ") {
        Some((what, next)) => ApiError::new(code, what).hint(next),
        None => ApiError::new(code, text),
    }
}

impl From<HubClientError> for Failure {
    fn from(error: HubClientError) -> Self {
        let code = match &error {
            HubClientError::Unreachable { .. } | HubClientError::Busy { .. } => {
                ErrorCode::Unreachable
            }
            HubClientError::NotListed { .. } | HubClientError::RoleTooLow { .. } => {
                ErrorCode::Forbidden
            }
            HubClientError::QuotaExceeded { .. } => ErrorCode::Disk,
            HubClientError::Refused { .. } | HubClientError::Garbled { .. } => ErrorCode::Untrusted,
        };
        let mut told = with_hint(code, &error);
        told.hint.get_or_insert_with(|| {
            "`podsync status` says how things are with the hub; its log says more".to_owned()
        });
        told.into()
    }
}

impl From<TransferError> for Failure {
    fn from(error: TransferError) -> Self {
        let code = match error {
            TransferError::Hub(error) => return error.into(),
            TransferError::Unavailable { .. } | TransferError::NotFound { .. } => {
                ErrorCode::Unreachable
            }
            TransferError::Liar { .. }
            | TransferError::Garbled { .. }
            | TransferError::Refused { .. }
            | TransferError::Declined { .. } => ErrorCode::Untrusted,
            TransferError::Full { .. }
            | TransferError::Source { .. }
            | TransferError::Damaged { .. }
            | TransferError::Local { .. } => ErrorCode::Disk,
        };
        with_hint(code, &error).into()
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::DiskFull { .. } | StoreError::Io { .. } | StoreError::Damaged { .. } => {
                ErrorCode::Disk
            }
            StoreError::NotHeld { .. } | StoreError::PartlyHeld { .. } => ErrorCode::NotFound,
            StoreError::Corrupt { .. } | StoreError::WrongHash { .. } => ErrorCode::Untrusted,
            StoreError::TooLarge { .. } => ErrorCode::Invalid,
            StoreError::Closed => ErrorCode::NoDaemon,
        };
        with_hint(code, &error).into()
    }
}

impl From<HomeError> for Failure {
    fn from(error: HomeError) -> Self {
        let code = match error {
            HomeError::InUse { .. } => ErrorCode::Busy,
            HomeError::Store(error) => return error.into(),
            _ => ErrorCode::Invalid,
        };
        with_hint(code, &error).into()
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        let mut told = with_hint(ErrorCode::BadState, &error);
        told.hint
            .get_or_insert_with(|| "rename or remove it, then save again".to_owned());
        Self {
            only_whole: matches!(error, SourceError::NotAsItCame),
            ..told.into()
        }
    }
}

impl From<SaveError> for Failure {
    fn from(error: SaveError) -> Self {
        let code = match error {
            SaveError::Source(error) => return error.into(),
            SaveError::Read(error) => return error.into(),
            SaveError::TooLarge => ErrorCode::BadState,
            SaveError::Sink(_) | SaveError::Spool(_) | SaveError::Known(_) => ErrorCode::Disk,
            SaveError::Cancelled => ErrorCode::Cancelled,
            SaveError::Stopped => ErrorCode::Internal,
        };
        with_hint(code, &error).into()
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        let code = match &error {
            ReadError::Pack { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                ErrorCode::NotFound
            }
            ReadError::Pack { .. } | ReadError::Setup(_) => ErrorCode::Disk,
            ReadError::Damaged { .. }
            | ReadError::Manifest(_)
            | ReadError::Entries(_)
            | ReadError::Unsound(_)
            | ReadError::LongEntry { .. } => ErrorCode::Untrusted,
        };
        let damaged = match error {
            ReadError::Damaged { pack, .. } => Some(pack),
            _ => None,
        };
        Self {
            damaged,
            ..with_hint(code, &error).into()
        }
    }
}

impl From<ManifestError> for Failure {
    fn from(error: ManifestError) -> Self {
        Failure::from(
            ApiError::new(ErrorCode::Untrusted, error.to_string())
                .hint("it is not what was announced; ask its author to share it again"),
        )
    }
}

impl From<podsync_instance::Error> for Failure {
    fn from(error: podsync_instance::Error) -> Self {
        use podsync_instance::Error;
        let code = match error {
            Error::Endpoint(_) => ErrorCode::Invalid,
            Error::Incompatible { .. } => ErrorCode::Incompatible,
            Error::Disk { .. } => ErrorCode::Disk,
            _ => ErrorCode::Instance,
        };
        with_hint(code, &error).into()
    }
}

impl From<podsync_pack::RebuildError> for Failure {
    fn from(error: podsync_pack::RebuildError) -> Self {
        use podsync_pack::RebuildError;
        let code = match error {
            RebuildError::Read(error) => return error.into(),
            RebuildError::Checksum { .. } => ErrorCode::Untrusted,
            RebuildError::Exists { .. } | RebuildError::NotOneFile { .. } => ErrorCode::Invalid,
            RebuildError::Target { .. } => ErrorCode::Disk,
            RebuildError::Output(_) => ErrorCode::Instance,
            RebuildError::Cancelled => ErrorCode::Cancelled,
        };
        with_hint(code, &error).into()
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let code = match error {
            EngineError::UnknownTeam(_) | EngineError::UnknownVersion { .. } => ErrorCode::NotFound,
            EngineError::AlreadyMember(_) | EngineError::TooMany { .. } | EngineError::Entry(_) => {
                ErrorCode::Invalid
            }
            EngineError::Expelled(_)
            | EngineError::RoleTooLow { .. }
            | EngineError::Membership(_)
            | EngineError::NotYours { .. }
            | EngineError::DeviceMustBeMinted => ErrorCode::Forbidden,
            EngineError::JoinRefused(_)
            | EngineError::NotLetInByHub(_)
            | EngineError::RobotTicket
            | EngineError::WrongRecoveryKey(_) => ErrorCode::Ticket,
            EngineError::NobodyWitnessed { .. }
            | EngineError::NoProvider { .. }
            | EngineError::NoTeamKey(_) => ErrorCode::Unreachable,
            EngineError::EpochChanged | EngineError::CatchingUp | EngineError::Busy => {
                ErrorCode::Busy
            }
            EngineError::NotPersisted(_) | EngineError::LocalDisk => ErrorCode::Disk,
            EngineError::Cancelled => ErrorCode::Cancelled,
        };
        let mut told = match &error {
            // Reasons from below are written as `what happened; what to do`.
            EngineError::Membership(_) | EngineError::JoinRefused(_) | EngineError::Entry(_) => {
                with_hint(code, &error)
            }
            // The engine's own: `what happened: what to do`.
            error => {
                let text = error.to_string();
                match text.split_once(": ") {
                    Some((what, next)) => ApiError::new(code, what).hint(next),
                    None => ApiError::new(code, text),
                }
            }
        };
        told.hint.get_or_insert_with(|| {
            "`podsync status` and `podsync team members` say how things are".to_owned()
        });
        told.into()
    }
}

impl From<Stopped> for Failure {
    fn from(_: Stopped) -> Self {
        Failure::from(
            ApiError::new(ErrorCode::NoDaemon, "the daemon is stopping")
                .hint("start it again, then try once more"),
        )
    }
}

impl From<podsync_net::NetGone> for Failure {
    fn from(_: podsync_net::NetGone) -> Self {
        Stopped.into()
    }
}

impl From<tokio::task::JoinError> for Failure {
    fn from(error: tokio::task::JoinError) -> Self {
        Failure::from(
            ApiError::new(
                ErrorCode::Internal,
                format!("a task of the daemon failed: {error}"),
            )
            .hint("see its log"),
        )
    }
}

impl Failure {
    pub(crate) fn hint(self, hint: impl Into<String>) -> Self {
        Self {
            told: self.told.hint(hint),
            ..self
        }
    }

    /// A record of our own that can't be read.
    pub(crate) fn damaged(error: CodecError) -> Self {
        Failure::from(
            ApiError::new(
                ErrorCode::Disk,
                format!("a record of this home is damaged: {error}"),
            )
            .hint("pull the version again"),
        )
    }
}

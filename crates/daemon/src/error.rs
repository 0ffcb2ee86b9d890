//! Converts the errors of every crate into errors of the control API.

use std::io;

use podsync_api::{ApiError, ErrorCode, hub::HubErrorCode};
use podsync_bucket::{HubClientError, TransferError};
use podsync_core::{
    BlobId,
    codec::CodecError,
    engine::{Answer, EngineError},
    manifest::ManifestError,
    membership::wire::RefusedReason,
};
use podsync_pack::{ReadError, SaveError, SourceError};
use podsync_store::{HomeError, StoreError};

/// The engine has stopped: so has the daemon.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the daemon is stopping")]
pub(crate) struct Stopped;

/// An error inside the daemon. Errors that callers within the daemon react to have their own variants.
#[derive(Debug)]
pub(crate) enum Failure {
    /// An error that ends the call.
    Api(ApiError),
    /// A pack on this disk is damaged.
    DamagedPack { pack: BlobId, error: ApiError },
    /// The emulator's state can't be read as a stream. It must be received whole first.
    NeedsWholeState(ApiError),
    /// The hub or bucket refuses, and will until somebody changes something there. Waiting doesn't help.
    Lasting(ApiError),
}

impl Failure {
    /// The error as the caller gets it.
    pub(crate) fn api(&self) -> &ApiError {
        match self {
            Self::Api(error)
            | Self::DamagedPack { error, .. }
            | Self::NeedsWholeState(error)
            | Self::Lasting(error) => error,
        }
    }
}

impl From<Failure> for ApiError {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Api(error)
            | Failure::DamagedPack { error, .. }
            | Failure::NeedsWholeState(error)
            | Failure::Lasting(error) => error,
        }
    }
}

impl From<ApiError> for Failure {
    fn from(error: ApiError) -> Self {
        Self::Api(error)
    }
}

/// Converts a library's error into one of the control API.
pub(crate) fn api_error(
    code: ErrorCode,
    error: &dyn std::fmt::Display,
    hint: Option<impl Into<String>>,
) -> ApiError {
    ApiError {
        hint: hint.map(Into::into),
        ..ApiError::new(code, error.to_string())
    }
}

impl From<HubClientError> for Failure {
    fn from(error: HubClientError) -> Self {
        let code = match &error {
            // An answer that isn't in the hub's format comes from a proxy or another server.
            HubClientError::Unreachable { .. }
            | HubClientError::NotTheHub { .. }
            | HubClientError::Busy { .. }
            | HubClientError::BucketRefuses { .. }
            | HubClientError::Moved { .. }
            | HubClientError::Garbled { .. } => ErrorCode::Unreachable,
            HubClientError::NotListed { .. } | HubClientError::RoleTooLow { .. } => {
                ErrorCode::Forbidden
            }
            HubClientError::QuotaExceeded { .. } => ErrorCode::Disk,
            HubClientError::Refused { error, .. } => refused_by_hub(error.code),
        };
        let mut shown = api_error(code, &error, error.hint());
        shown.hint.get_or_insert_with(|| {
            "`podsync status` shows the state of the hub; the hub's log says more".to_owned()
        });
        if error.may_pass() {
            return shown.into();
        }
        Self::Lasting(shown)
    }
}

/// Converts a hub's refusal into an error of the control API.
fn refused_by_hub(code: HubErrorCode) -> ErrorCode {
    match code {
        HubErrorCode::InviteRefused => ErrorCode::Ticket,
        HubErrorCode::NotListed | HubErrorCode::RoleTooLow => ErrorCode::Forbidden,
        HubErrorCode::Untrusted | HubErrorCode::BadSignature | HubErrorCode::Forked => {
            ErrorCode::Untrusted
        }
        HubErrorCode::NotFound => ErrorCode::NotFound,
        HubErrorCode::QuotaExceeded => ErrorCode::Disk,
        HubErrorCode::ClockSkew | HubErrorCode::Replayed | HubErrorCode::NotNext => ErrorCode::Busy,
        HubErrorCode::Malformed | HubErrorCode::TooLarge => ErrorCode::Internal,
        HubErrorCode::CannotWitness
        | HubErrorCode::UnknownTeam
        | HubErrorCode::Moved
        | HubErrorCode::MissingObjects
        | HubErrorCode::TooManyRequests
        | HubErrorCode::Internal
        | HubErrorCode::StorageUnavailable => ErrorCode::Unreachable,
    }
}

impl From<TransferError> for Failure {
    fn from(error: TransferError) -> Self {
        let lasts = matches!(
            error,
            TransferError::Garbled { .. }
                | TransferError::Refused { .. }
                | TransferError::Declined { .. }
        );
        let code = match error {
            TransferError::Hub(error) => return error.into(),
            TransferError::Unavailable { .. }
            | TransferError::NotFound { .. }
            | TransferError::Garbled { .. }
            | TransferError::Refused { .. }
            | TransferError::Declined { .. } => ErrorCode::Unreachable,
            TransferError::Liar { .. } => ErrorCode::Untrusted,
            TransferError::Full { .. }
            | TransferError::Source { .. }
            | TransferError::Damaged { .. }
            | TransferError::Local { .. } => ErrorCode::Disk,
        };
        let shown = api_error(code, &error, error.hint());
        if lasts {
            return Self::Lasting(shown);
        }
        shown.into()
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let code = match &error {
            StoreError::DiskFull { .. }
            | StoreError::Io { .. }
            | StoreError::Damaged { .. }
            | StoreError::Corrupt { .. }
            | StoreError::WrongHash { .. }
            | StoreError::Stopped { .. }
            | StoreError::Silent { .. } => ErrorCode::Disk,
            StoreError::NotHeld { .. } | StoreError::PartlyHeld { .. } => ErrorCode::NotFound,
            StoreError::TooLarge { .. } => ErrorCode::Invalid,
            StoreError::Closed => ErrorCode::NoDaemon,
            StoreError::InUse { .. } => ErrorCode::Busy,
        };
        api_error(code, &error, error.hint()).into()
    }
}

impl From<HomeError> for Failure {
    fn from(error: HomeError) -> Self {
        let code = match error {
            HomeError::Store(error) => return error.into(),
            HomeError::InUse { .. } => ErrorCode::Busy,
            _ => ErrorCode::Invalid,
        };
        api_error(code, &error, error.hint()).into()
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        let hint = error
            .hint()
            .unwrap_or("rename or remove it, then save again");
        let code = match error {
            SourceError::Secret { .. }
            | SourceError::SecretName { .. }
            | SourceError::TooMuchToSee => ErrorCode::Unconfirmed,
            _ => ErrorCode::BadState,
        };
        let shown = api_error(code, &error, Some(hint));
        match error {
            SourceError::NotAsItCame => Self::NeedsWholeState(shown),
            _ => Self::Api(shown),
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
        // The store knows better than the packing what to do about its own error.
        let of_store = match &error {
            SaveError::Sink(source) => source
                .get_ref()
                .and_then(|source| source.downcast_ref::<StoreError>())
                .and_then(StoreError::hint),
            _ => None,
        };
        let hint = of_store.or_else(|| error.hint().map(str::to_owned));
        api_error(code, &error, hint).into()
    }
}

impl From<ReadError> for Failure {
    fn from(error: ReadError) -> Self {
        let code = match &error {
            ReadError::Pack { source, .. } if source.kind() == io::ErrorKind::NotFound => {
                ErrorCode::NotFound
            }
            // All that arrives is checked on the way, so what is wrong now was changed on this disk.
            ReadError::Pack { .. } | ReadError::Damaged { .. } | ReadError::Setup(_) => {
                ErrorCode::Disk
            }
            ReadError::Manifest(_)
            | ReadError::Entries(_)
            | ReadError::Unsound(_)
            | ReadError::LongEntry { .. } => ErrorCode::Untrusted,
        };
        let shown = api_error(code, &error, error.hint());
        match error {
            ReadError::Damaged { pack, .. } => Self::DamagedPack { pack, error: shown },
            _ => Self::Api(shown),
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
        let code = match &error {
            Error::Endpoint(_) => ErrorCode::Invalid,
            Error::Incompatible { .. } => ErrorCode::Incompatible,
            Error::Disk { .. } => ErrorCode::Disk,
            _ => ErrorCode::Instance,
        };
        api_error(code, &error, error.hint()).into()
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
        api_error(code, &error, error.hint()).into()
    }
}

impl From<EngineError> for Failure {
    fn from(error: EngineError) -> Self {
        let code = match &error {
            EngineError::UnknownTeam(_) | EngineError::UnknownVersion { .. } => ErrorCode::NotFound,
            EngineError::AlreadyMember(_) | EngineError::TooMany { .. } | EngineError::Entry(_) => {
                ErrorCode::Invalid
            }
            EngineError::Expelled(_)
            | EngineError::RoleTooLow { .. }
            | EngineError::Membership(_)
            | EngineError::NotYours { .. }
            | EngineError::DeviceMustBeMinted => ErrorCode::Forbidden,
            // These errors say nothing about the ticket.
            EngineError::JoinRefused(RefusedReason::Busy | RefusedReason::CannotWitness) => {
                ErrorCode::Unreachable
            }
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
        let mut shown = api_error(code, &error, error.hint());
        shown.may_be_done = matches!(
            error,
            EngineError::NobodyWitnessed {
                may_be_in: true,
                ..
            }
        );
        shown.hint.get_or_insert_with(|| {
            "`podsync status` and `podsync team members` show the state of the team".to_owned()
        });
        shown.into()
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
    /// This home left the team during the call.
    pub(crate) fn left_team() -> Self {
        ApiError::new(ErrorCode::NotFound, "this home is no longer in that team")
            .hint("`podsync status` lists its teams")
            .into()
    }

    /// The engine answered with the result of another command.
    pub(crate) fn unexpected(answer: &Answer) -> Self {
        let text = format!("the engine answered something else: {answer:?}");
        ApiError::new(ErrorCode::Internal, text).into()
    }

    /// One of our own records can't be read.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_damaged_pack_is_a_failure_of_this_disk() {
        let pack = BlobId::from_bytes([1; 32]);
        let cut = ReadError::Pack {
            pack,
            source: io::ErrorKind::UnexpectedEof.into(),
        };
        let flipped = StoreError::Corrupt { id: pack };
        for failure in [Failure::from(cut), Failure::from(flipped)] {
            let error = failure.api();
            assert_eq!(error.code, ErrorCode::Disk, "{error:?}");
            let hint = error.hint.as_deref().unwrap_or_default();
            assert!(hint.contains("`podsync verify --repair`"), "{hint}");
        }
    }

    #[test]
    fn a_save_that_the_store_ends_says_what_the_store_advises() {
        let stopped = StoreError::Stopped {
            path: "/home/blobs/blobs.db".into(),
        };
        let advice = stopped.hint().unwrap();
        let failure = Failure::from(SaveError::Sink(io::Error::other(stopped)));
        assert_eq!(failure.api().code, ErrorCode::Disk);
        assert_eq!(failure.api().hint.as_deref(), Some(advice.as_str()));
        let of_disk = Failure::from(SaveError::Sink(io::ErrorKind::Other.into()));
        assert_ne!(of_disk.api().hint.as_deref(), Some(advice.as_str()));
    }
}

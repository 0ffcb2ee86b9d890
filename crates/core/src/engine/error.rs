//! Why a command or a transfer came to nothing, for people.

use crate::{
    feed::EntryError,
    id::{BlobId, TeamId, VersionId},
    membership::{AuthorError, Role, wire::RefusedReason},
    name::{MemberName, PodName, TeamName},
};

/// A refusal with its reason and the next step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    #[error("this home is in no team {0}: `podsync team join` with a ticket, or create one")]
    UnknownTeam(TeamId),
    #[error("this home is in team {} already: nothing to join", .0.short())]
    AlreadyMember(TeamId),
    #[error(
        "this device is no member of team {} any more: ask an admin for a new invite and join as a new device",
        .0.short()
    )]
    Expelled(TeamId),
    #[error("{what} needs the role {needs}, this device is a {has}: ask an admin")]
    RoleTooLow {
        what: &'static str,
        needs: Role,
        has: Role,
    },
    #[error(transparent)]
    Membership(#[from] AuthorError),
    #[error(
        "this ticket is a robot's own key: use it as the identity of a home of its own, not to join this one"
    )]
    RobotTicket,
    #[error(
        "nobody who could let this device in answered within {seconds} s: check that a member of the team is online and that its address in the ticket can be reached"
    )]
    NobodyWitnessed { seconds: u64 },
    #[error(
        "this is not the recovery key of team {0}: take the one that its `team create` printed"
    )]
    WrongRecoveryKey(TeamName),
    #[error("the join was refused: {0}")]
    JoinRefused(RefusedReason),
    #[error("the team's hub did not let this device in: {0}")]
    NotLetInByHub(String),
    #[error(
        "the version's team key was changed while it was prepared: seal its manifest again and share once more"
    )]
    EpochChanged,
    #[error(
        "this device cannot read team {0}'s key: wait until it has heard from an admin, or ask one to rotate the key"
    )]
    NoTeamKey(TeamId),
    #[error("{0}")]
    Entry(#[from] EntryError),
    #[error("{len} {what}, but a version has at most {max}: split the state over several pods")]
    TooMany {
        what: &'static str,
        len: usize,
        max: usize,
    },
    #[error("pod {pod} has no version {version}: `podsync versions {pod}` lists them")]
    UnknownVersion { pod: PodName, version: VersionId },
    #[error(
        "only its author or an admin drops a version, and {version} is {author}'s: ask {author} or an admin"
    )]
    NotYours {
        version: VersionId,
        author: MemberName,
    },
    #[error(
        "this device's feed was continued elsewhere, since its home was copied or restored from an older state: make a new device with `podsync init` in a new home and join again; an admin removes this one"
    )]
    DeviceMustBeMinted,
    #[error(
        "others hold newer entries of this device than this restored home: it fetches them first; try again when a teammate is connected"
    )]
    CatchingUp,
    #[error("too many commands wait already: try again in a moment")]
    Busy,
    #[error(
        "the change could not be written to disk ({0}): nothing was announced; free some space or check the disk, then try again"
    )]
    NotPersisted(String),
    #[error(
        "{missing} bytes are to be had from nobody connected, those of blob {} among them: try again when whoever made the version, or someone who pulled it, is online",
        .blob.short()
    )]
    NoProvider {
        missing: u64,
        /// One that isn't whole here.
        blob: BlobId,
        /// Providers that were asked for it and failed, or lied.
        failed: Vec<super::provider::Provider>,
    },
    #[error(
        "what arrived could not be written to disk: free some space or check the disk, then try again; what is there already is kept"
    )]
    LocalDisk,
    #[error("the transfer was cancelled; what is there already is kept")]
    Cancelled,
}

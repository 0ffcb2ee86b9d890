//! Why a command or a transfer failed, in words for users.

use crate::{
    feed::EntryError,
    id::{BlobId, TeamId, VersionId},
    membership::{AuthorError, Role, wire::RefusedReason},
    name::{MemberName, PodName, TeamName},
};

/// A refusal with its reason and the next step.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    #[error("this home is not in team {0}")]
    UnknownTeam(TeamId),
    #[error("this home is already in team {}", .0.short())]
    AlreadyMember(TeamId),
    #[error("this device is no member of team {0} any more")]
    Expelled(TeamName),
    #[error("{what} needs the role {needs}, and this device is a {has}")]
    RoleTooLow {
        what: &'static str,
        needs: Role,
        has: Role,
    },
    #[error(transparent)]
    Membership(#[from] AuthorError),
    #[error("this is a robot's token, not a ticket to join with")]
    RobotTicket,
    #[error(
        "no member that can let this device in answered within {seconds} s{}{}",
        of_no_member(.stranger),
        .hub.as_ref().map_or_else(String::new, |why| format!(", and {why}"))
    )]
    NobodyWitnessed {
        seconds: u64,
        /// Why the hub that the ticket names was not reached.
        hub: Option<String>,
        /// A device answered that doesn't know the team, or doesn't list this device.
        stranger: bool,
        /// A device was asked and did not answer: it may have written the join, so this device may
        /// be a member already.
        may_be_in: bool,
    },
    #[error("this is not the recovery key of team {0}")]
    WrongRecoveryKey(TeamName),
    #[error("the team did not let this device in: {0}")]
    JoinRefused(RefusedReason),
    #[error("the team's hub did not let this device in: {0}")]
    NotLetInByHub(String),
    #[error("the team key changed while podsync prepared the version")]
    EpochChanged,
    #[error("this device cannot read team {0}'s key")]
    NoTeamKey(TeamId),
    #[error("{0}")]
    Entry(#[from] EntryError),
    #[error("{len} {what}, but a version has at most {max}")]
    TooMany {
        what: &'static str,
        len: usize,
        max: usize,
    },
    #[error("pod {pod} has no version {version}")]
    UnknownVersion { pod: PodName, version: VersionId },
    #[error("only the author of a version or an admin can drop it, and {reference} is {author}'s")]
    NotYours {
        reference: String,
        author: MemberName,
    },
    #[error(
        "this device's feed was continued elsewhere, since its home was copied or restored from an older state"
    )]
    DeviceMustBeMinted,
    #[error(
        "others hold newer entries of this device than this restored home, which fetches them first"
    )]
    CatchingUp,
    #[error("too many commands are waiting already")]
    Busy,
    #[error("podsync could not write the change to disk ({0}) and announced nothing")]
    NotPersisted(String),
    #[error("no connected device has the missing {missing} bytes; some are of blob {}", .blob.short())]
    NoProvider {
        missing: u64,
        /// A blob that is not complete here.
        blob: BlobId,
        /// Providers that disconnected or stopped sending. That is no fault of theirs.
        failed: Vec<super::provider::Provider>,
        /// Providers that sent bytes which fail their hash.
        lied: Vec<super::provider::Provider>,
        /// Providers that say that their own copy is damaged.
        damaged: Vec<super::provider::Provider>,
    },
    #[error("podsync could not write to disk what arrived; it keeps what was there before")]
    LocalDisk,
    #[error("the transfer was cancelled")]
    Cancelled,
}

/// What is said of a device that answered and doesn't know the team.
fn of_no_member(stranger: &bool) -> &'static str {
    match stranger {
        true => "; the device that answered is not of this team",
        false => "",
    }
}

impl EngineError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::UnknownTeam(..) => "`podsync team join` with a ticket, or create one".to_owned(),
            Self::AlreadyMember(..) => "nothing to join".to_owned(),
            Self::Expelled(..) => "to come back, ask an admin for a new invite and join with a new home: `podsync team join --home FOLDER`".to_owned(),
            Self::RoleTooLow { .. } => "ask an admin; where the team has none left, `podsync team recover` makes one with the recovery key".to_owned(),
            Self::Membership(error) => return error.hint(),
            Self::RobotTicket => "set PODSYNC_TOKEN to it instead of joining: a command then runs as the robot".to_owned(),
            Self::NobodyWitnessed { .. } => "check that a member of the team is online and that its address in the ticket can be reached".to_owned(),
            Self::WrongRecoveryKey(..) => "take the one that its `team create` printed".to_owned(),
            Self::JoinRefused(reason) => return reason.hint().map(str::to_owned),
            Self::NotLetInByHub(words) => RefusedReason::beside_the_ticket(words)
                .and_then(|reason| reason.hint())
                .unwrap_or("ask an admin for a new ticket")
                .to_owned(),
            Self::EpochChanged => "seal its manifest again and share once more".to_owned(),
            Self::NoTeamKey(..) => "wait until this device has heard from an admin, or ask an admin to rotate the key".to_owned(),
            Self::TooMany { .. } => "split the state over several pods".to_owned(),
            Self::UnknownVersion { pod, .. } => format!("`podsync versions {pod}` lists them"),
            Self::NotYours { author, .. } => format!("ask {author} or an admin"),
            Self::DeviceMustBeMinted => "make a new device with `podsync init` in a new home and join again; an admin removes this one".to_owned(),
            Self::CatchingUp => "try again when a teammate is connected".to_owned(),
            Self::Busy => "try again in a moment".to_owned(),
            Self::NotPersisted(_) => "free some space or check the disk, then try again".to_owned(),
            Self::NoProvider { .. } => "try again when a device that holds the version is online".to_owned(),
            Self::LocalDisk => "free some space or check the disk, then try again".to_owned(),
            Self::Cancelled => "run the command again".to_owned(),
            Self::Entry(..) => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hubs_refusal_asks_for_a_new_ticket_only_where_the_ticket_is_at_fault() {
        let hint = |reason: RefusedReason| {
            let words = format!("the hub at hub.example refuses: {reason}");
            EngineError::NotLetInByHub(words).hint().unwrap()
        };
        for reason in [RefusedReason::NameTaken, RefusedReason::NameOfRemoved] {
            assert!(hint(reason).contains("--as NAME"), "{reason}");
        }
        assert_eq!(
            hint(RefusedReason::InvitedByAnotherName),
            "join under that name"
        );
        for reason in [
            RefusedReason::InviteUnknown,
            RefusedReason::InviteWithdrawn,
            RefusedReason::InviteExpired,
            RefusedReason::InviteSpent,
        ] {
            assert_eq!(hint(reason), "ask an admin for a new ticket", "{reason}");
        }
    }
}

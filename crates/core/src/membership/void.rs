//! Why an operation does not count, in words for its author.
//!
//! A void operation is no error of the replica. It is kept, and counts again if the operation that
//! voided it is itself voided.

use super::operation::Role;
use crate::{
    id::{DeviceId, OpId},
    name::MemberName,
};

/// Why an operation is kept but does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Void {
    #[error("device {0} was no member of the team when it signed this")]
    NotAMember(DeviceId),
    #[error("device {device} has the role {has}, and this takes the role {needs}")]
    RoleTooLow {
        device: DeviceId,
        has: Role,
        needs: Role,
    },
    #[error(
        "at the same time operation {by} removed or demoted the device that signed this, or withdrew the invite"
    )]
    Struck { by: OpId },
    #[error("{0} is neither a device nor an invite of the team")]
    UnknownDevice(DeviceId),
    #[error("device {0} is in the team already")]
    AlreadyEnrolled(DeviceId),
    #[error("device {0} was removed and does not come back")]
    DeviceRemoved(DeviceId),
    #[error("key {0} is in use by an invite or as the recovery key")]
    KeyInUse(DeviceId),
    #[error("the recovery key cannot be removed or changed")]
    RecoveryKey,
    #[error("a robot stays a reader: it keeps no feed")]
    RobotRole,
    #[error("the team knows no invite {0}")]
    NoSuchInvite(DeviceId),
    #[error("the invite was withdrawn")]
    InviteWithdrawn,
    #[error("the invite has expired")]
    InviteExpired,
    #[error("the invite has no uses left")]
    InviteSpent,
    #[error("the invite is for {invited}, not for {asked}")]
    InvitedByAnotherName {
        invited: MemberName,
        asked: MemberName,
    },
    #[error("another member is already called {0}")]
    NameTaken(MemberName),
    #[error("that key epoch exists already")]
    EpochTaken,
    #[error("a team is founded once")]
    FoundedTwice,
    #[error("it depends on removals that contradict each other")]
    Knotted,
}

impl Void {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::NotAMember(..) => "ask an admin for an invite".to_owned(),
            Self::RoleTooLow { .. } => "ask an admin to do it; where the team has none left, `podsync team recover` makes one with the recovery key".to_owned(),
            Self::Struck { .. } => "ask an admin to do it again".to_owned(),
            Self::UnknownDevice(..) => "`podsync team members` lists them".to_owned(),
            Self::DeviceRemoved(..) => {
                "run `podsync init` in a new home there and join with a new invite".to_owned()
            }
            Self::KeyInUse(..) => "make a new key".to_owned(),
            Self::RobotRole => "enrol a device for publishing instead".to_owned(),
            Self::NoSuchInvite(..) => "ask for a new one".to_owned(),
            Self::InviteWithdrawn => "ask for a new one".to_owned(),
            Self::InviteExpired => "ask for a new one".to_owned(),
            Self::InviteSpent => "ask for a new one".to_owned(),
            Self::InvitedByAnotherName { invited, .. } => format!("join as {invited}"),
            Self::NameTaken(name) => {
                format!("join under another name, or ask for an invite made out to {name}")
            }
            Self::EpochTaken => "rotate again with a fresh key".to_owned(),
            Self::Knotted => "ask an admin to do it again".to_owned(),
            Self::AlreadyEnrolled(..) | Self::RecoveryKey | Self::FoundedTwice => return None,
        })
    }
}

//! Why an operation does not count, in words for whoever made it or wants to.
//!
//! A void operation is no error of the replica's: it is kept, and may come to count when an
//! operation that voided it is voided itself.

use super::operation::Role;
use crate::{
    id::{DeviceId, OpId},
    name::MemberName,
};

/// Why an operation is kept but does not count.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Void {
    #[error("device {0} was no member of the team when it signed this; ask an admin for an invite")]
    NotAMember(DeviceId),
    #[error(
        "device {device} has the role {has}, and this takes the role {needs}; ask an admin to do it"
    )]
    RoleTooLow {
        device: DeviceId,
        has: Role,
        needs: Role,
    },
    #[error(
        "at the same time operation {by} removed or demoted the device that signed this, or withdrew the invite; ask an admin to do it again"
    )]
    Struck { by: OpId },
    #[error("{0} is neither a device nor an invite of the team; `podsync team members` lists them")]
    UnknownDevice(DeviceId),
    #[error("device {0} is in the team already")]
    AlreadyEnrolled(DeviceId),
    #[error(
        "device {0} was removed and does not come back; run `podsync init` in a new home there and join with a new invite"
    )]
    DeviceRemoved(DeviceId),
    #[error("key {0} is in use by an invite or as the recovery key; make a new key")]
    KeyInUse(DeviceId),
    #[error("the recovery key cannot be removed or changed")]
    RecoveryKey,
    #[error("a robot stays a reader: it keeps no feed; enrol a device for publishing instead")]
    RobotRole,
    #[error("the team knows no invite {0}; ask for a new one")]
    NoSuchInvite(DeviceId),
    #[error("the invite was withdrawn; ask for a new one")]
    InviteWithdrawn,
    #[error("the invite ran out; ask for a new one")]
    InviteExpired,
    #[error("the invite has been used as often as it may be; ask for a new one")]
    InviteSpent,
    #[error("the invite is for {invited}, not for {asked}; join as {invited}")]
    InvitedByAnotherName {
        invited: MemberName,
        asked: MemberName,
    },
    #[error(
        "somebody in the team is called {0} already; join under another name, or ask for an invite made out to {0}"
    )]
    NameTaken(MemberName),
    #[error("that key epoch exists already; rotate again with a fresh key")]
    EpochTaken,
    #[error("a team is founded once")]
    FoundedTwice,
    #[error("its place in a knot of removals cannot be told; ask an admin to do it again")]
    Knotted,
}

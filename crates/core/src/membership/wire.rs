//! The messages of `/podsync/membership/1`: one request and one response.
//!
//! This is the only exchange that an unlisted key may use. So both messages have tight bounds, and
//! a stranger learns only why it was refused.

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use super::{Void, operation::MAX_JOIN_REQUEST_LEN};
use crate::{
    bounded::Bounded,
    codec::Format,
    id::{OpId, TeamId},
};

/// The most bytes of a request or a response.
pub const MAX_MESSAGE_LEN: usize = 1 << 20;
/// The most heads in a request. A device with more names the first ones and asks again.
pub const MAX_KNOWN_HEADS: usize = 256;
/// The most operations of a response: an envelope has more than 130 bytes, so that no more fit.
pub const MAX_RESPONSE_OPERATIONS: usize = 8192;
/// The bytes that a response adds to its operations.
const RESPONSE_OVERHEAD: usize = 8;
/// The bytes of one operation's length.
const LENGTH_OVERHEAD: usize = 4;

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MembershipRequest {
    /// All operations beyond `known` and their ancestors.
    Fetch { team: TeamId, known: Vec<OpId> },
    /// A request to witness a join: a [`super::operation::InviteProof`] in its envelope.
    Join { team: TeamId, request: ByteBuf },
}

impl Format for MembershipRequest {
    const NAME: &'static str = "membership request";
    const VERSION: u8 = 1;
    const MAX_LEN: usize = MAX_MESSAGE_LEN;
}

impl MembershipRequest {
    pub fn fetch(team: TeamId, heads: &[OpId]) -> Self {
        Self::Fetch {
            team,
            known: heads.iter().take(MAX_KNOWN_HEADS).copied().collect(),
        }
    }

    /// Whether a decoded request keeps its own bounds.
    pub fn is_in_bounds(&self) -> bool {
        match self {
            Self::Fetch { known, .. } => known.len() <= MAX_KNOWN_HEADS,
            Self::Join { request, .. } => request.len() <= MAX_JOIN_REQUEST_LEN,
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MembershipResponse {
    /// Operations, parents first. There may be more: insert them and ask again until none come.
    Ops(Bounded<ByteBuf, MAX_RESPONSE_OPERATIONS>),
    /// The join was witnessed. Holds the join and its ancestors, as many as fit.
    Joined {
        ops: Bounded<ByteBuf, MAX_RESPONSE_OPERATIONS>,
    },
    Refused(RefusedReason),
}

impl Format for MembershipResponse {
    const NAME: &'static str = "membership response";
    const VERSION: u8 = 1;
    const MAX_LEN: usize = MAX_MESSAGE_LEN;
}

impl MembershipResponse {
    pub fn ops<B: AsRef<[u8]>>(ops: impl IntoIterator<Item = B>) -> Self {
        Self::Ops(that_fit(ops))
    }

    pub fn joined<B: AsRef<[u8]>>(ops: impl IntoIterator<Item = B>) -> Self {
        Self::Joined { ops: that_fit(ops) }
    }
}

/// The first operations, as many as one response holds.
fn that_fit<B: AsRef<[u8]>>(
    ops: impl IntoIterator<Item = B>,
) -> Bounded<ByteBuf, MAX_RESPONSE_OPERATIONS> {
    let mut room = MAX_MESSAGE_LEN - RESPONSE_OVERHEAD;
    Bounded::first(ops.into_iter().map_while(|op| {
        room = room.checked_sub(op.as_ref().len() + LENGTH_OVERHEAD)?;
        Some(ByteBuf::from(op.as_ref()))
    }))
}

/// Why a request was turned down. The order of the variants is the wire's: new ones go last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum RefusedReason {
    #[error("this device is not in that team")]
    NotListed,
    #[error("the other side cannot serve that team")]
    UnknownTeam,
    #[error("the other side is busy")]
    Busy,
    #[error("the request was malformed")]
    Malformed,
    #[error("the request names another device than the one that sent it")]
    OtherDevice,
    #[error("the team knows no such invite (yet)")]
    InviteUnknown,
    #[error("the invite was withdrawn")]
    InviteWithdrawn,
    #[error("the invite has expired")]
    InviteExpired,
    #[error("the invite has no uses left")]
    InviteSpent,
    #[error("the invite is made out to another name")]
    InvitedByAnotherName,
    #[error("another member already has that name")]
    NameTaken,
    #[error("this device was removed from the team")]
    DeviceRemoved,
    #[error("the team is full")]
    TeamFull,
    #[error("the other side cannot witness joins at the moment")]
    CannotWitness,
    #[error("that name belonged to a member who was removed, and no other takes it")]
    NameOfRemoved,
}

impl RefusedReason {
    /// The reason in a hub's words, if it says nothing against the ticket: the same ticket may let the device in
    /// when something else is different. A hub tells reasons as text alone.
    pub fn beside_the_ticket(words: &str) -> Option<Self> {
        let reasons = [
            Self::InvitedByAnotherName,
            Self::NameTaken,
            Self::NameOfRemoved,
            Self::DeviceRemoved,
        ];
        let mut reasons = reasons.into_iter();
        reasons.find(|reason| words.contains(&reason.to_string()))
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NotListed => "ask an admin for an invite",
            Self::UnknownTeam => "try another member",
            Self::Busy => "try again",
            Self::Malformed => "update podsync on both sides",
            Self::InviteUnknown => "try another member, or ask for a new invite",
            Self::InviteWithdrawn => "ask for a new one",
            Self::InviteExpired => "ask for a new one",
            Self::InviteSpent => "ask for a new one",
            Self::InvitedByAnotherName => "join under that name",
            Self::NameTaken => "choose another with --as NAME",
            Self::NameOfRemoved => "choose another with --as NAME",
            Self::DeviceRemoved => "make a new home with `podsync init` and join from there",
            Self::TeamFull => "an admin has to remove a device first",
            Self::CannotWitness => "try another member",
            Self::OtherDevice => return None,
        })
    }
}

impl From<&Void> for RefusedReason {
    fn from(void: &Void) -> Self {
        match void {
            Void::NoSuchInvite(_) => Self::InviteUnknown,
            Void::InviteWithdrawn | Void::Struck { .. } => Self::InviteWithdrawn,
            Void::InviteExpired => Self::InviteExpired,
            Void::InviteSpent => Self::InviteSpent,
            Void::InvitedByAnotherName { .. } => Self::InvitedByAnotherName,
            Void::NameTaken(_) => Self::NameTaken,
            Void::DeviceRemoved(_) => Self::DeviceRemoved,
            _ => Self::CannotWitness,
        }
    }
}

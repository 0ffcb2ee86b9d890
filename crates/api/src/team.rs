//! Calls about teams: members, roles, invites, robots and removals.

use std::{collections::BTreeSet, fmt};

use podsync_core::{DeviceId, MemberName, TeamId, TeamName};
use serde::{Deserialize, Serialize};

use crate::{Consent, call::call, pods::Version};

/// What a member may do; each role includes the ones below it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// Reads.
    Reader,
    /// Reads and shares.
    Publisher,
    /// Invites, removes and gives roles.
    Admin,
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Reader => "reader",
            Self::Publisher => "publisher",
            Self::Admin => "admin",
        })
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CreateTeam {
    pub name: TeamName,
    /// What teammates will call the person at this device.
    pub member: MemberName,
    /// What the device is called.
    pub label: String,
    /// Consents that the user gave beforehand.
    #[serde(default)]
    pub consents: BTreeSet<Consent>,
}
call!(CreateTeam => TeamCreated, Home, "teams/create");

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TeamCreated {
    pub team: TeamId,
    pub name: TeamName,
    /// The key that recovers the team when no admin is left. Shown once and stored nowhere.
    pub recovery_key: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Invite {
    pub role: Role,
    /// Seconds until it expires.
    pub expires_s: u64,
    pub uses: u32,
}
call!(Invite => Invited, Team, "invite");

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Invited {
    pub ticket: String,
    pub role: Role,
    /// Unix milliseconds.
    pub expires_ms: u64,
    pub uses: u32,
    /// The invite's own key, by which it can be revoked.
    pub invite: DeviceId,
    /// The URL of the team's hub, if the ticket has no room for it. A user who joins while no member is online
    /// needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub_left_out: Option<String>,
}

/// Invites with which somebody can still join.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ListInvites {}
call!(ListInvites => Vec<OpenInvite>, Team, "invites");

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct OpenInvite {
    pub id: DeviceId,
    pub role: Role,
    pub uses: u32,
    pub uses_left: u32,
    /// Unix milliseconds.
    pub expires_ms: u64,
    /// Who made it, by name.
    pub by: String,
}

/// Withdraws an invite: nobody joins with its ticket any more.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RevokeInvite {
    /// The beginning of its id.
    pub invite: String,
}
call!(RevokeInvite => InviteRevoked, Team, "invites/revoke");

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InviteRevoked {
    pub id: DeviceId,
}

/// Enrols a robot: a reader whose key any number of CI runners share.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct InviteRobot {
    /// What the team calls it.
    pub name: MemberName,
}
call!(InviteRobot => RobotInvited, Team, "robots/invite");

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RobotInvited {
    /// The robot's own key. Shown once and stored nowhere.
    pub token: String,
    pub name: MemberName,
    pub device: DeviceId,
}

impl fmt::Debug for RobotInvited {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "RobotInvited {{ name: {:?}, token: hidden }}", self.name)
    }
}

/// Joins the team as the robot that this daemon runs as, and waits until it knows all that some member knows.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Enter {
    pub token: String,
    /// Seconds to look for a member.
    pub wait_s: u64,
}
call!(Enter => Entered, Home, "teams/enter");

impl fmt::Debug for Enter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Enter { token: hidden }")
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Entered {
    pub team: TeamId,
    pub name: TeamName,
    /// What the team calls the robot.
    pub member: MemberName,
}

/// Fails if this device's knowledge of the team is older than the call allows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct CheckFresh {
    /// Seconds since a teammate's device last said what it knew.
    pub max_age_s: u64,
    /// Seconds to wait for a newer statement.
    pub wait_s: u64,
}
call!(CheckFresh => Fresh, Team, "fresh");

/// The newest statement of another device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Fresh {
    pub team: TeamId,
    pub device: DeviceId,
    /// Unix milliseconds, by its own clock.
    pub heard_ms: u64,
}

#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Join {
    pub ticket: String,
    pub member: MemberName,
    pub label: String,
    /// The URL of the team's hub, if the ticket doesn't name it.
    #[serde(default)]
    pub hub: Option<String>,
}
call!(Join => Joined, Home, "teams/join");

impl fmt::Debug for Join {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Join {{ member: {:?}, ticket: hidden }}", self.member)
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Joined {
    pub team: TeamId,
    pub name: TeamName,
    pub role: Role,
    /// Who this device is in the team: `bob/laptop`.
    #[serde(default)]
    pub you: String,
    /// How many members the team has now.
    #[serde(default)]
    pub members: usize,
    /// The version that was shared last, as far as that is known yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub newest: Option<Version>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ListMembers {}
call!(ListMembers => Vec<Member>, Team, "members");

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Member {
    pub member: MemberName,
    pub label: String,
    pub role: Role,
    pub device: DeviceId,
    pub this_device: bool,
    pub connected: bool,
}

/// Removes every device of a member, or one device.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Remove {
    /// A member's name or a device id.
    pub who: String,
    /// Consents that the user gave beforehand.
    #[serde(default)]
    pub consents: BTreeSet<Consent>,
}
call!(Remove => Removed, Team, "remove");

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Removed {
    pub devices: Vec<DeviceId>,
    /// The same devices by name, `member/label`.
    pub names: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SetRole {
    pub who: String,
    pub role: Role,
    /// Consents that the user gave beforehand.
    #[serde(default)]
    pub consents: BTreeSet<Consent>,
}
call!(SetRole => Member, Team, "role");

/// Takes this device out of the team.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Leave {
    /// Consents that the user gave beforehand.
    #[serde(default)]
    pub consents: BTreeSet<Consent>,
}
call!(Leave => Left, Team, "leave");

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Left {
    pub team: TeamId,
    pub name: TeamName,
}

/// Sets the team's hub for every member. Null removes it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SetHub {
    /// `https://HOST[:PORT]`.
    pub url: Option<String>,
}
call!(SetHub => HubSet, Team, "hub");

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HubSet {
    pub url: Option<String>,
    /// Whether the hub admits users with a ticket while no member is online.
    pub witnesses: bool,
}

/// Makes this device an admin by the team's recovery key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Recover {
    pub recovery_key: String,
}
call!(Recover => Member, Team, "recover");

impl fmt::Debug for Recover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Recover { recovery_key: hidden }")
    }
}

//! Membership operations: their shapes, and the bounds of each on its own.
//!
//! Passing here means only well formed. Whether an operation counts depends on its author's rights
//! at its parents and on concurrent operations: see `rules`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{
    codec::Format,
    id::{DeviceId, EntryHash, EpochId, OpId, TeamId},
    keys::{BoxKey, PublicKeys, Wrap},
    name::{DeviceLabel, MemberName, TeamName},
    signed::{self, Domain, MAX_PAYLOAD_LEN, SignatureError, SignedPayload},
};

/// The most heads that an operation names; further ones are merged by the next operations.
pub const MAX_PARENTS: usize = 64;
/// The most devices of a team: a rotation wraps the new key to each within one envelope.
pub const MAX_DEVICES: usize = 1024;
/// The most keys that a rotation wraps: every device, half as many open invites, the recovery
/// key. They fit in one envelope.
pub const MAX_WRAPS: usize = MAX_DEVICES + MAX_DEVICES / 2 + 1;
/// The most epochs that a newcomer gets, or that a rotation seals under its new key: those that no
/// other epoch leads to. Usually one; a few after concurrent rotations.
pub const MAX_TIPS: usize = 64;
/// The most bytes of sealed earlier keys: [`MAX_TIPS`] keys, salt and tag.
pub const MAX_PREVIOUS_LEN: usize = 32 * MAX_TIPS + 256;
/// The most settings that one operation changes, and that a team keeps.
pub const MAX_SETTINGS: usize = 32;
/// The most bytes of a setting's name.
pub const MAX_SETTING_NAME_LEN: usize = 64;
/// The most bytes of a setting's value.
pub const MAX_SETTING_LEN: usize = 1024;
/// The most bytes of a join request: names and keys in an envelope, far below this.
pub const MAX_JOIN_REQUEST_LEN: usize = 1024;

/// One step in a team's history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Operation {
    /// The heads that the author saw, ascending.
    pub parents: Vec<OpId>,
    pub kind: Kind,
}

impl Format for Operation {
    const NAME: &'static str = "membership operation";
    const VERSION: u8 = 1;
    const MAX_LEN: usize = MAX_PAYLOAD_LEN;
}

/// What an operation does. The order of the variants is the wire's: new ones go last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    Found(Founding),
    Add(Add),
    Remove(Remove),
    SetRole(SetRole),
    Invite(Invite),
    Join(Join),
    Rotate(Rotate),
    Settings(Settings),
}

/// What a device may do; each role may what the ones before it may.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    Reader,
    Publisher,
    Admin,
}

impl std::fmt::Display for Role {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(match self {
            Role::Reader => "reader",
            Role::Publisher => "publisher",
            Role::Admin => "admin",
        })
    }
}

/// A device's record when it joins the team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Enrolment {
    pub device: DeviceId,
    pub box_key: BoxKey,
    pub member: MemberName,
    pub label: DeviceLabel,
}

/// The first operation. Its envelope names the all-zero team, and its hash is the team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Founding {
    pub team_name: TeamName,
    /// The signer, and the team's first admin.
    pub founder: Enrolment,
    /// A key kept offline that acts as an admin, never publishes, and cannot be removed.
    pub recovery: PublicKeys,
    /// Makes the ids of two teams differ even with equal name and founder.
    pub nonce: [u8; 32],
    pub epoch: EpochId,
    pub wraps: Vec<KeyWrap>,
}

/// An admin enrols a device, without an invite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Add {
    pub newcomer: Enrolment,
    pub role: Role,
    /// The key is shared by any number of runners. The device is always a reader, since it keeps no
    /// feed.
    pub robot: bool,
    pub wraps: Vec<KeyWrap>,
}

/// An admin removes a device, or withdraws an invite by its key. It is final.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Remove {
    pub device: DeviceId,
    /// The device's last feed entry that counts. None if no entry counts.
    pub last: Option<LastEntry>,
}

/// The end of a removed device's feed. The one that keeps fewer entries sorts first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct LastEntry {
    pub seq: u64,
    pub hash: EntryHash,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetRole {
    pub device: DeviceId,
    pub role: Role,
}

/// An invite: a key by which devices can join while no admin is online.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Invite {
    /// The invite's own keys; the ticket carries their secret half.
    pub key: PublicKeys,
    pub role: Role,
    /// The member it is for. With none, newcomers choose a free name.
    pub member: Option<MemberName>,
    /// Unix milliseconds.
    pub expires_ms: u64,
    /// How many devices may join with it.
    pub uses: u32,
    pub wraps: Vec<KeyWrap>,
}

/// A device joins by an invite. Signed by the witness: any member at that time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Join {
    /// The invite's key.
    pub invite: DeviceId,
    /// The newcomer's record, equal to the one in `request`.
    pub newcomer: Enrolment,
    /// The newcomer's [`InviteProof`] in its envelope, as received.
    #[serde(with = "serde_bytes")]
    pub request: Vec<u8>,
    /// The witness's clock in Unix milliseconds. Only this clock decides on expiry.
    pub witnessed_ms: u64,
    pub wraps: Vec<KeyWrap>,
}

/// A new team key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rotate {
    pub epoch: EpochId,
    pub wraps: Vec<KeyWrap>,
    /// [`super::keyring::PreviousKeys`] sealed under the new key.
    #[serde(with = "serde_bytes")]
    pub previous: Vec<u8>,
}

/// Changes to the team's settings; a value of none removes one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    pub changes: BTreeMap<String, Option<String>>,
}

/// One team key wrapped to one recipient: a device, an invite, or the recovery key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeyWrap {
    pub epoch: EpochId,
    pub to: DeviceId,
    pub wrap: Wrap,
}

/// The newcomer's request, signed by the invite's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct InviteProof {
    pub newcomer: Enrolment,
}

impl Format for InviteProof {
    const NAME: &'static str = "join request";
    const VERSION: u8 = 1;
    const MAX_LEN: usize = MAX_JOIN_REQUEST_LEN;
}

impl SignedPayload for InviteProof {
    const DOMAIN: Domain = Domain::InviteProof;

    fn check(&self, _: &TeamId, signer: &DeviceId) -> Result<(), SignatureError> {
        self.newcomer
            .check()
            .map_err(|what| SignatureError::OutOfRules {
                format: Self::NAME,
                what,
                signer: *signer,
            })
    }
}

impl SignedPayload for Operation {
    const DOMAIN: Domain = Domain::Operation;

    fn check(&self, team: &TeamId, signer: &DeviceId) -> Result<(), SignatureError> {
        self.check_shape(team, signer)
            .map_err(|what| SignatureError::OutOfRules {
                format: Self::NAME,
                what,
                signer: *signer,
            })?;
        match &self.kind {
            Kind::Join(join) => join.check_request(team, signer),
            _ => Ok(()),
        }
    }
}

/// The team id in a founding operation, which can't contain its own hash.
pub const NO_TEAM: TeamId = TeamId::from_bytes([0; 32]);

type Shape = Result<(), &'static str>;

impl Operation {
    fn check_shape(&self, team: &TeamId, signer: &DeviceId) -> Shape {
        let founding = matches!(self.kind, Kind::Found(_));
        if founding != (*team == NO_TEAM) {
            return Err("only a founding operation names no team");
        }
        if founding != self.parents.is_empty() {
            return Err("only a founding operation has no parents");
        }
        if self.parents.len() > MAX_PARENTS {
            return Err("it names more parents than an operation may");
        }
        if !self.parents.is_sorted_by(|a, b| a < b) {
            return Err("its parents are not ascending");
        }
        match &self.kind {
            Kind::Found(founding) => founding.check(signer),
            Kind::Add(add) => {
                add.newcomer.check()?;
                check_wraps_to(&add.wraps, add.newcomer.device)
            }
            Kind::Invite(invite) => invite.check(),
            Kind::Join(join) => check_wraps_to(&join.wraps, join.newcomer.device),
            Kind::Rotate(rotate) => rotate.check(),
            Kind::Settings(settings) => settings.check(),
            Kind::Remove(_) | Kind::SetRole(_) => Ok(()),
        }
    }

    /// The wrapped keys in this operation.
    pub fn wraps(&self) -> &[KeyWrap] {
        match &self.kind {
            Kind::Found(Founding { wraps, .. })
            | Kind::Add(Add { wraps, .. })
            | Kind::Invite(Invite { wraps, .. })
            | Kind::Join(Join { wraps, .. })
            | Kind::Rotate(Rotate { wraps, .. }) => wraps,
            Kind::Remove(_) | Kind::SetRole(_) | Kind::Settings(_) => &[],
        }
    }

    /// Whether it removes this device from the team.
    pub fn removes(&self, device: &DeviceId) -> bool {
        matches!(&self.kind, Kind::Remove(remove) if remove.device == *device)
    }

    /// The key epoch that begins here.
    pub fn new_epoch(&self) -> Option<EpochId> {
        match &self.kind {
            Kind::Found(founding) => Some(founding.epoch),
            Kind::Rotate(rotate) => Some(rotate.epoch),
            _ => None,
        }
    }
}

impl Enrolment {
    fn check(&self) -> Shape {
        if !self.box_key.is_usable() {
            return Err("the newcomer's box key is not a usable X25519 key");
        }
        Ok(())
    }
}

impl Founding {
    fn check(&self, signer: &DeviceId) -> Shape {
        self.founder.check()?;
        if self.founder.device != *signer {
            return Err("a team is founded by the device that signs");
        }
        if self.recovery.device == *signer || !self.recovery.box_key.is_usable() {
            return Err("its recovery key is unusable");
        }
        check_new_epoch(&self.wraps, self.epoch)
    }
}

impl Invite {
    fn check(&self) -> Shape {
        if self.uses == 0 || self.uses as usize > MAX_DEVICES {
            return Err("an invite is for 1 to 1024 devices");
        }
        if !self.key.box_key.is_usable() {
            return Err("the invite's box key is not a usable X25519 key");
        }
        check_wraps_to(&self.wraps, self.key.device)
    }
}

impl Join {
    /// Checks that the request is for this invite and team, and matches the operation.
    fn check_request(&self, team: &TeamId, signer: &DeviceId) -> Result<(), SignatureError> {
        let request = signed::verify::<InviteProof>(&self.request)?;
        if request.signer() != self.invite
            || request.team() != *team
            || request.value().newcomer != self.newcomer
        {
            return Err(SignatureError::OutOfRules {
                format: Operation::NAME,
                what: "the join and the request inside it do not say the same",
                signer: *signer,
            });
        }
        Ok(())
    }
}

impl Rotate {
    fn check(&self) -> Shape {
        if self.previous.len() > MAX_PREVIOUS_LEN {
            return Err("it seals more earlier keys than a rotation may");
        }
        check_new_epoch(&self.wraps, self.epoch)
    }
}

impl Settings {
    fn check(&self) -> Shape {
        let value_fits =
            |value: &Option<String>| value.as_ref().is_none_or(|v| v.len() <= MAX_SETTING_LEN);
        if self.changes.len() > MAX_SETTINGS
            || self
                .changes
                .keys()
                .any(|name| name.is_empty() || name.len() > MAX_SETTING_NAME_LEN)
            || !self.changes.values().all(value_fits)
        {
            return Err("its settings are too many or too long");
        }
        Ok(())
    }
}

fn check_new_epoch(wraps: &[KeyWrap], epoch: EpochId) -> Shape {
    if wraps.len() > MAX_WRAPS {
        return Err("it wraps the new key to more than a team can have");
    }
    if wraps.iter().any(|wrap| wrap.epoch != epoch) {
        return Err("it wraps a key that is not the new one");
    }
    Ok(())
}

fn check_wraps_to(wraps: &[KeyWrap], newcomer: DeviceId) -> Shape {
    if wraps.len() > MAX_TIPS {
        return Err("it wraps more keys than a newcomer needs");
    }
    if wraps.iter().any(|wrap| wrap.to != newcomer) {
        return Err("it wraps a key to someone it does not concern");
    }
    Ok(())
}

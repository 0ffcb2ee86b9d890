//! Makes operations: the changes that a device with rights and keys can add to its team's history.
//!
//! Each method applies the same rules as the fold and signs only operations that would count. It
//! inserts nothing: the caller verifies and stores the bytes like those of anybody else. The caller
//! also supplies fresh seeds and keys.

use std::collections::BTreeMap;

use super::{
    MAX_OPERATIONS, Membership, Role, Void,
    keyring::{KeyRing, PreviousKeys, wrap_to},
    operation::{
        Add, Enrolment, Founding, Invite, InviteProof, Join, KeyWrap, Kind, LastEntry, MAX_DEVICES,
        MAX_WRAPS, NO_TEAM, Operation, Remove, Rotate, SetRole, Settings,
    },
};
use crate::{
    id::{DeviceId, TeamId},
    keys::{DeviceSecret, PublicKeys, Seed, UnusableBoxKey, epoch_of},
    name::{DeviceLabel, MemberName, TeamName},
    seal::SecretKey,
    signed::{SignatureError, SignedPayload, Verified},
};

const SALT_CONTEXT: &str = "podsync 2026 previous keys salt 1";

/// Why an operation was not made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AuthorError {
    #[error(transparent)]
    Void(#[from] Void),
    #[error("the team has {MAX_DEVICES} devices, the most there can be")]
    TeamFull,
    #[error("the team has {MAX_OPERATIONS} operations, the most there can be")]
    HistoryFull,
    #[error(transparent)]
    Key(#[from] UnusableBoxKey),
    #[error("this cannot be done: {0}")]
    OutOfBounds(&'static str),
    /// From verifying received or new bytes.
    #[error(transparent)]
    Signature(#[from] SignatureError),
}

impl AuthorError {
    /// What to do about it.
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Void(void) => return void.hint(),
            Self::TeamFull => "remove one that is not used any more".to_owned(),
            Self::HistoryFull => "found a new team".to_owned(),
            Self::Key(..) | Self::OutOfBounds(..) | Self::Signature(..) => return None,
        })
    }
}

/// What a new team begins with.
#[derive(Debug, Clone)]
pub struct NewTeam {
    pub name: TeamName,
    pub member: MemberName,
    pub label: DeviceLabel,
    /// The public half of the offline recovery key.
    pub recovery: PublicKeys,
}

/// What an invite offers.
#[derive(Debug, Clone)]
pub struct Offer {
    pub role: Role,
    /// The member it is for. With none, the newcomer chooses a free name.
    pub member: Option<MemberName>,
    /// Unix milliseconds.
    pub expires_ms: u64,
    pub uses: u32,
}

/// The envelope of a founding operation. Its hash is the team id.
pub fn found(
    founder: &DeviceSecret,
    team: NewTeam,
    key: &SecretKey,
    nonce: [u8; 32],
    seed: &Seed,
) -> Result<Vec<u8>, AuthorError> {
    let PublicKeys { device, box_key } = founder.public();
    let wraps = [founder.public(), team.recovery]
        .iter()
        .map(|to| wrap_to(to, key, seed))
        .collect::<Result<_, _>>()?;
    let kind = Kind::Found(Founding {
        team_name: team.name,
        founder: Enrolment {
            device,
            box_key,
            member: team.member,
            label: team.label,
        },
        recovery: team.recovery,
        nonce,
        epoch: epoch_of(key),
        wraps,
    });
    signed(
        founder,
        NO_TEAM,
        Operation {
            parents: Vec::new(),
            kind,
        },
    )
}

/// The request that a newcomer sends to a witness, signed with the invite's key.
pub fn join_request(invite: &DeviceSecret, team: TeamId, newcomer: Enrolment) -> Vec<u8> {
    invite.sign(team, &InviteProof { newcomer })
}

/// A device that makes operations.
#[derive(Debug, Clone, Copy)]
pub struct Author<'a> {
    secret: &'a DeviceSecret,
    membership: &'a Membership,
    keys: &'a KeyRing,
}

impl<'a> Author<'a> {
    pub fn new(secret: &'a DeviceSecret, membership: &'a Membership, keys: &'a KeyRing) -> Self {
        Self {
            secret,
            membership,
            keys,
        }
    }

    /// The team that the operations are for.
    pub fn team(&self) -> TeamId {
        self.membership.team()
    }

    /// Enrols a device whose public keys are known already.
    pub fn add(
        &self,
        newcomer: Enrolment,
        role: Role,
        seed: &Seed,
    ) -> Result<Vec<u8>, AuthorError> {
        self.enrol(newcomer, role, false, seed)
    }

    /// Enrols a robot with the key that its token has.
    pub fn robot(
        &self,
        member: MemberName,
        label: DeviceLabel,
        key: &DeviceSecret,
        seed: &Seed,
    ) -> Result<Vec<u8>, AuthorError> {
        let PublicKeys { device, box_key } = key.public();
        let newcomer = Enrolment {
            device,
            box_key,
            member,
            label,
        };
        self.enrol(newcomer, Role::Reader, true, seed)
    }

    /// Makes an invite with the key that its ticket has.
    pub fn invite(
        &self,
        offer: Offer,
        key: &DeviceSecret,
        seed: &Seed,
    ) -> Result<Vec<u8>, AuthorError> {
        let key = key.public();
        let Offer {
            role,
            member,
            expires_ms,
            uses,
        } = offer;
        let wraps = self.tips_for(&key, seed)?;
        self.make(Kind::Invite(Invite {
            key,
            role,
            member,
            expires_ms,
            uses,
            wraps,
        }))
    }

    /// Witnesses a join. The caller must have verified that it talks to the device in the request.
    /// `now_ms` is the clock for expiry. [`Void::AlreadyEnrolled`] means that an earlier answer was
    /// lost: answer as if the join were new.
    pub fn witness(
        &self,
        request: &Verified<InviteProof>,
        now_ms: u64,
        seed: &Seed,
    ) -> Result<Vec<u8>, AuthorError> {
        if request.team() != self.membership.team() {
            return Err(Void::NoSuchInvite(request.signer()).into());
        }
        let newcomer = request.value().newcomer.clone();
        let to = PublicKeys {
            device: newcomer.device,
            box_key: newcomer.box_key,
        };
        self.make_room()?;
        self.make(Kind::Join(Join {
            invite: request.signer(),
            newcomer,
            request: request.bytes().to_vec(),
            witnessed_ms: now_ms,
            wraps: self.tips_for(&to, seed)?,
        }))
    }

    /// Removes a device, or withdraws an invite by its key. `last` is the device's last feed entry
    /// that counts.
    pub fn remove(
        &self,
        device: DeviceId,
        last: Option<LastEntry>,
    ) -> Result<Vec<u8>, AuthorError> {
        self.make(Kind::Remove(Remove { device, last }))
    }

    pub fn set_role(&self, device: DeviceId, role: Role) -> Result<Vec<u8>, AuthorError> {
        self.make(Kind::SetRole(SetRole { device, role }))
    }

    /// Makes a new team key, wrapped to everyone who may read at `now_ms`.
    pub fn rotate(
        &self,
        key: &SecretKey,
        now_ms: u64,
        seed: &Seed,
    ) -> Result<Vec<u8>, AuthorError> {
        let roster = self.membership.state();
        let devices = roster.devices().map(|record| PublicKeys {
            device: record.device,
            box_key: record.box_key,
        });
        let invites = roster
            .invites()
            .filter(|invite| invite.is_open(now_ms))
            .map(|invite| invite.key);
        // An invite without room for a wrap: its newcomers get the key from their witness.
        let wraps = [roster.recovery()]
            .into_iter()
            .chain(devices)
            .chain(invites)
            .take(MAX_WRAPS)
            .map(|to| wrap_to(&to, key, seed))
            .collect::<Result<_, _>>()?;
        let tips = self.keys.tips(roster.current_epoch());
        let previous = PreviousKeys {
            keys: tips.map(|(_, key)| key.clone()).collect(),
        };
        let salt = blake3::derive_key(SALT_CONTEXT, seed);
        self.make(Kind::Rotate(Rotate {
            epoch: epoch_of(key),
            wraps,
            previous: previous.seal(key, salt),
        }))
    }

    /// Changes settings; a value of none removes one.
    pub fn settings(
        &self,
        changes: BTreeMap<String, Option<String>>,
    ) -> Result<Vec<u8>, AuthorError> {
        self.make(Kind::Settings(Settings { changes }))
    }

    fn enrol(
        &self,
        newcomer: Enrolment,
        role: Role,
        robot: bool,
        seed: &Seed,
    ) -> Result<Vec<u8>, AuthorError> {
        let to = PublicKeys {
            device: newcomer.device,
            box_key: newcomer.box_key,
        };
        self.make_room()?;
        self.make(Kind::Add(Add {
            newcomer,
            role,
            robot,
            wraps: self.tips_for(&to, seed)?,
        }))
    }

    fn make_room(&self) -> Result<(), AuthorError> {
        if self.membership.state().devices().count() >= MAX_DEVICES {
            return Err(AuthorError::TeamFull);
        }
        Ok(())
    }

    fn tips_for(&self, to: &PublicKeys, seed: &Seed) -> Result<Vec<KeyWrap>, UnusableBoxKey> {
        let tips = self.keys.tips(self.membership.state().current_epoch());
        tips.map(|(_, key)| wrap_to(to, key, seed)).collect()
    }

    fn make(&self, kind: Kind) -> Result<Vec<u8>, AuthorError> {
        if self.membership.op_count() >= MAX_OPERATIONS {
            return Err(AuthorError::HistoryFull);
        }
        let op = Operation {
            parents: self.membership.parents_for_next(),
            kind,
        };
        self.membership.would_count(self.secret.id(), &op)?;
        signed(self.secret, self.membership.team(), op)
    }
}

fn signed(secret: &DeviceSecret, team: TeamId, op: Operation) -> Result<Vec<u8>, AuthorError> {
    match op.check(&team, &secret.id()) {
        Ok(()) => Ok(secret.sign(team, &op)),
        Err(SignatureError::OutOfRules { what, .. }) => Err(AuthorError::OutOfBounds(what)),
        Err(error) => Err(error.into()),
    }
}

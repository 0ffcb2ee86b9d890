//! What this device does to a team: found it, invite, remove, change roles, rotate the key.
//!
//! Each is a membership operation. The same rules that other replicas apply decide whether it is
//! allowed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_bytes::ByteBuf;

use super::{
    Engine, Output,
    command::{Decision, Queued, operation_record},
    error::EngineError,
    input::{Command, CommandId, InviteOptions, ResponderId},
    output::{Answer, Record},
    writes::{self, OwnWrite},
};
use crate::{
    codec::Format,
    feed::Feed,
    id::{DeviceId, OpId, TeamId},
    keys::DeviceSecret,
    membership::{
        Author, AuthorError, LastEntry, Operation, Role, Void,
        author::{self, NewTeam, Offer},
        operation::InviteProof,
        wire::{MembershipResponse, RefusedReason},
    },
    name::{DeviceLabel, MemberName, TeamName},
    signed::{self, Verified},
    ticket::{RecoveryKey, Ticket, TicketKind, TicketSecret},
};

/// How long each admin waits for every admin before it in line to make a rotation that is due.
const ROTATION_TURN: Duration = Duration::from_secs(10);
/// How long the first admin waits, since more operations may follow the ones just received.
const ROTATION_AFTER: Duration = Duration::from_secs(2);

impl Engine {
    pub(super) fn create_team(
        &mut self,
        by: CommandId,
        name: TeamName,
        member: MemberName,
        label: DeviceLabel,
    ) -> Result<(OwnWrite, Vec<Record>), EngineError> {
        let recovery = RecoveryKey::from_seed(self.entropy.seed());
        let new = NewTeam {
            name,
            member,
            label,
            recovery: recovery.secret().public(),
        };
        let (key, nonce, seed) = (self.entropy.key(), self.entropy.seed(), self.entropy.seed());
        let bytes = author::found(&self.secret, new, &key, nonce, &seed)?;
        let operation: Arc<Verified<Operation>> =
            Arc::new(signed::verify(&bytes).map_err(AuthorError::from)?);
        let team = TeamId::from_bytes(*OpId::of(&bytes).as_bytes());
        let records = vec![operation_record(team, operation.bytes())];
        let answer = Answer::TeamCreated { team, recovery };
        Ok((
            OwnWrite::Founded {
                by,
                operation,
                answer,
            },
            records,
        ))
    }

    /// Commands that are an operation each.
    pub(super) fn administer(
        &mut self,
        team: TeamId,
        by: CommandId,
        command: Command,
    ) -> Result<Decision, EngineError> {
        let (bytes, answer) = match command {
            Command::Invite(options) => self.invite(team, options)?,
            Command::Remove { device, .. } => (self.removal(team, device)?, Answer::Done),
            Command::SetRole { device, role, .. } => {
                (self.author(team)?.set_role(device, role)?, Answer::Done)
            }
            Command::Recover { key, .. } => match self.recovery(team, &key)? {
                Some(bytes) => (bytes, Answer::Done),
                None => return Ok(Decision::Reply(Answer::Done)),
            },
            Command::Rotate { .. } => (self.rotation(team)?, Answer::Done),
            Command::SetSetting { name, value, .. } => (
                self.author(team)?
                    .settings(BTreeMap::from([(name, value)]))?,
                Answer::Done,
            ),
            // The others are no operations; they are looked at elsewhere.
            _ => return Ok(Decision::Reply(Answer::Done)),
        };
        let (write, records) = operation_write(team, &bytes, writes::Author::Command(by, answer))?;
        Ok(Decision::Write(Box::new(write), records))
    }

    /// Witnesses the join of a newcomer whose invite is valid.
    pub(super) fn witness(
        &mut self,
        team: TeamId,
        responder: ResponderId,
        proof: &Verified<InviteProof>,
    ) {
        let seed = self.entropy.seed();
        if self.is_robot(team, &self.secret.id()) {
            let bytes = MembershipResponse::Refused(RefusedReason::CannotWitness).encode();
            return self.outputs.push_back(Output::Respond {
                id: responder,
                bytes,
            });
        }
        let made = self.author(team).and_then(|author| {
            let bytes = author.witness(proof, self.now.wall_ms, &seed)?;
            operation_write(team, &bytes, writes::Author::Newcomer(responder))
        });
        let why = match made {
            Ok((write, records)) => return self.commit(write, records),
            // An earlier answer was lost on its way.
            Err(EngineError::Membership(AuthorError::Void(Void::AlreadyEnrolled(_)))) => {
                return self.welcome(team, responder);
            }
            Err(EngineError::Membership(AuthorError::Void(Void::NameTaken(name))))
                if !self.is_name_in_use(team, &name) =>
            {
                RefusedReason::NameOfRemoved
            }
            Err(EngineError::Membership(AuthorError::Void(void))) => RefusedReason::from(&void),
            Err(EngineError::Membership(AuthorError::TeamFull)) => RefusedReason::TeamFull,
            Err(_) => RefusedReason::CannotWitness,
        };
        let bytes = MembershipResponse::Refused(why).encode();
        self.outputs.push_back(Output::Respond {
            id: responder,
            bytes,
        });
    }

    /// Sends a newcomer the team's operations.
    pub(super) fn welcome(&mut self, team: TeamId, responder: ResponderId) {
        let Some(state) = self.teams.get(&team) else {
            return;
        };
        let response = MembershipResponse::joined(state.team.membership.ops_since(&[]));
        self.outputs.push_back(Output::Respond {
            id: responder,
            bytes: response.encode(),
        });
    }

    /// Plans when this device rotates the team key, if a rotation is due and the device may do it.
    /// Admins take turns in the order of their ids.
    pub(super) fn plan_rotation(&mut self, team: TeamId) {
        let me = self.secret.id();
        let Some(state) = self.teams.get_mut(&team) else {
            return;
        };
        let roster = state.team.membership.state();
        let place = roster
            .admins()
            .map(|admin| admin.device)
            .position(|device| device == me);
        state.rotation_at = match place {
            Some(place) if roster.rotation_due() => {
                let turn =
                    ROTATION_AFTER + ROTATION_TURN * u32::try_from(place).unwrap_or(u32::MAX);
                state.rotation_at.or(Some(self.now.mono + turn))
            }
            _ => None,
        };
    }

    pub(super) fn rotate_when_due(&mut self, team: TeamId) {
        let now = self.now.mono;
        let Some(state) = self.teams.get_mut(&team) else {
            return;
        };
        if state.rotation_at.take_if(|at| *at <= now).is_some() {
            self.queue(team, Queued::Rotate);
        }
    }

    pub(super) fn rotate_by_policy(&mut self, team: TeamId) {
        let due = self
            .teams
            .get(&team)
            .is_some_and(|state| state.team.membership.state().rotation_due());
        if !due {
            return;
        }
        let made = self
            .rotation(team)
            .and_then(|bytes| operation_write(team, &bytes, writes::Author::Policy));
        // If this device has lost the right, the next admin in line does it.
        if let Ok((write, records)) = made {
            self.commit(write, records);
        }
    }

    fn invite(
        &mut self,
        team: TeamId,
        options: InviteOptions,
    ) -> Result<(Vec<u8>, Answer), EngineError> {
        let (secret, seed) = (self.entropy.seed(), self.entropy.seed());
        let secret = TicketSecret::from_seed(&secret);
        let author = self.author(team)?;
        let hub = self.hub_url(&team);
        let key = secret.key(&team);
        let (kind, bytes) = match options.robot {
            Some(robot) => {
                let bytes = author.robot(robot.member, robot.label, &key, &seed)?;
                (TicketKind::Robot, bytes)
            }
            None => {
                let offer = Offer {
                    role: options.role,
                    member: options.member,
                    expires_ms: options.expires_ms,
                    uses: options.uses,
                };
                (TicketKind::Invite, author.invite(offer, &key, &seed)?)
            }
        };
        let made_by = OpId::of(&bytes);
        let ticket = Ticket::new(kind, secret, team, &made_by, hub, &options.addresses);
        Ok((
            bytes,
            Answer::Invited {
                ticket: Box::new(ticket),
            },
        ))
    }

    /// Makes the removal of a device. It names the device's newest entry here as the last that
    /// counts. For a forked feed this picks a branch.
    fn removal(&mut self, team: TeamId, device: DeviceId) -> Result<Vec<u8>, EngineError> {
        let state = self
            .teams
            .get(&team)
            .ok_or(EngineError::UnknownTeam(team))?;
        let last = state
            .team
            .feed(&device)
            .and_then(Feed::newest_entry)
            .map(|entry| LastEntry {
                seq: entry.header().seq,
                hash: entry.hash(),
            });
        Ok(self.author(team)?.remove(device, last)?)
    }

    /// Makes this device an admin by the recovery key. None if it is one already.
    fn recovery(&self, team: TeamId, key: &RecoveryKey) -> Result<Option<Vec<u8>>, EngineError> {
        let state = self
            .teams
            .get(&team)
            .ok_or(EngineError::UnknownTeam(team))?;
        let roster = state.team.membership.state();
        let secret = key.secret();
        if secret.public() != roster.recovery() {
            return Err(EngineError::WrongRecoveryKey(roster.name().clone()));
        }
        let me = self.secret.id();
        if roster.role(&me) == Some(Role::Admin) {
            return Ok(None);
        }
        let author = Author::new(&secret, &state.team.membership, &state.team.keys);
        Ok(Some(author.set_role(me, Role::Admin)?))
    }

    fn rotation(&mut self, team: TeamId) -> Result<Vec<u8>, EngineError> {
        let (key, seed) = (self.entropy.key(), self.entropy.seed());
        Ok(self.author(team)?.rotate(&key, self.now.wall_ms, &seed)?)
    }

    /// Whether a current member has this name.
    fn is_name_in_use(&self, team: TeamId, name: &MemberName) -> bool {
        self.roster(&team)
            .is_some_and(|roster| roster.devices().any(|record| record.member == *name))
    }

    fn author(&self, team: TeamId) -> Result<Author<'_>, EngineError> {
        let state = self
            .teams
            .get(&team)
            .ok_or(EngineError::UnknownTeam(team))?;
        let roster = state.team.membership.state();
        let me = self.secret.id();
        if !roster.is_member(&me) && roster.member(&me).is_some() {
            return Err(EngineError::Expelled(roster.name().clone()));
        }
        Ok(Author::new(
            &self.secret,
            &state.team.membership,
            &state.team.keys,
        ))
    }
}

fn operation_write(
    team: TeamId,
    bytes: &[u8],
    by: writes::Author,
) -> Result<(OwnWrite, Vec<Record>), EngineError> {
    let operation: Arc<Verified<Operation>> =
        Arc::new(signed::verify(bytes).map_err(AuthorError::from)?);
    let records = vec![operation_record(team, operation.bytes())];
    Ok((
        OwnWrite::Operation {
            team,
            by,
            operation,
        },
        records,
    ))
}

/// Builds the request that a newcomer sends to a witness.
pub(super) fn join_request(
    invite: &DeviceSecret,
    team: TeamId,
    newcomer: crate::membership::Enrolment,
) -> ByteBuf {
    ByteBuf::from(author::join_request(invite, team, newcomer))
}

//! Runs commands, one at a time for each team. The next starts when the last is on disk or has
//! failed, so each is judged by the result of those before it.

use std::sync::Arc;

use super::{
    Engine, Output,
    error::EngineError,
    input::{Command, CommandId, ResponderId},
    output::{Answer, Event, Record},
    team::Team,
    writes::{Author, OwnWrite, PrivateChange},
};
use crate::{
    codec::Format,
    feed::{Entry, Head},
    id::{OpId, TeamId, VersionId},
    membership::{
        Membership,
        operation::InviteProof,
        wire::{MembershipResponse, RefusedReason},
    },
    signed::Verified,
};

/// The most commands and decisions that wait in one team.
const MAX_QUEUED: usize = 64;

/// Something for this device to decide.
pub(super) enum Queued {
    Command(CommandId, Box<Command>),
    Witness {
        responder: ResponderId,
        proof: Box<Verified<InviteProof>>,
    },
    /// The team key is due for a change.
    Rotate,
}

/// The result of a decision: records to write, or a reply at once.
pub(super) enum Decision {
    Write(Box<OwnWrite>, Vec<Record>),
    Reply(Answer),
}

impl Engine {
    pub(super) fn on_command(&mut self, id: CommandId, command: Command) {
        match command {
            Command::CreateTeam {
                name,
                member,
                label,
            } => match self.create_team(id, name, member, label) {
                Ok((write, records)) => self.commit(write, records),
                Err(why) => self.reply(id, Err(why)),
            },
            Command::Join {
                ticket,
                member,
                label,
                patience,
            } => {
                if let Err(why) = self.begin_join(id, *ticket, member, label, patience) {
                    self.reply(id, Err(why));
                }
            }
            Command::Refresh { team } => self.begin_refresh(id, team),
            command => {
                let team = team_of(&command);
                if !self.teams.contains_key(&team) {
                    return self.reply(id, Err(EngineError::UnknownTeam(team)));
                }
                if !self.queue(team, Queued::Command(id, Box::new(command))) {
                    self.reply(id, Err(EngineError::Busy));
                }
            }
        }
    }

    /// Adds to the queue. False if it is full.
    pub(super) fn queue(&mut self, team: TeamId, queued: Queued) -> bool {
        let Some(state) = self.teams.get_mut(&team) else {
            return false;
        };
        if state.queued.len() >= MAX_QUEUED {
            return false;
        }
        state.queued.push_back(queued);
        self.next_queued(team);
        true
    }

    /// Works through the queue until a decision has to be written.
    pub(super) fn next_queued(&mut self, team: TeamId) {
        while let Some(state) = self.teams.get_mut(&team)
            && !state.is_writing
            && let Some(queued) = state.queued.pop_front()
        {
            match queued {
                Queued::Command(id, command) => match self.decide(team, id, *command) {
                    Ok(Decision::Write(write, records)) => self.commit(*write, records),
                    Ok(Decision::Reply(answer)) => self.reply(id, Ok(answer)),
                    Err(why) => self.reply(id, Err(why)),
                },
                Queued::Witness { responder, proof } => self.witness(team, responder, &proof),
                Queued::Rotate => self.rotate_by_policy(team),
            }
        }
    }

    fn decide(
        &mut self,
        team: TeamId,
        id: CommandId,
        command: Command,
    ) -> Result<Decision, EngineError> {
        match command {
            Command::Publish(publish) => self.publish(id, *publish),
            Command::Tag {
                pod, tag, version, ..
            } => self.tag(team, id, pod, tag, version),
            Command::Drop { pod, version, .. } => self.drop_version(team, id, pod, version),
            Command::SavePrivate(save) => self.save_private(id, *save),
            Command::ForgetPrivate { version, .. } => self.forget_private(team, id, version),
            command => self.administer(team, id, command),
        }
    }

    /// A decision is on disk: applies it and announces it to others.
    pub(super) fn done(&mut self, write: OwnWrite) {
        if let Some(state) = self.teams.get_mut(&write.team()) {
            state.is_writing = false;
        }
        match write {
            OwnWrite::Entry {
                team,
                by,
                entry,
                head,
                replaces,
                answer,
            } => self.entry_done(team, by, (entry, &head), replaces, answer),
            OwnWrite::Operation {
                team,
                by,
                operation,
            } => {
                let bytes = operation.bytes().clone();
                let Some(state) = self.teams.get_mut(&team) else {
                    return;
                };
                state.team.add_own_operation(operation, &self.secret);
                self.membership_moved(team);
                self.announce_operation(team, &bytes);
                match by {
                    Author::Command(id, answer) => self.reply(id, Ok(answer)),
                    Author::Newcomer(responder) => self.welcome(team, responder),
                    Author::Policy => self
                        .outputs
                        .push_back(Output::Event(Event::KeyRotated { team })),
                }
            }
            OwnWrite::Founded {
                by,
                operation,
                answer,
            } => {
                let Ok(membership) = Membership::new(Verified::clone(&operation)) else {
                    return;
                };
                let team = Team::new(membership, &self.secret);
                self.enter(team.id, team);
                self.reply(by, Ok(answer));
            }
            OwnWrite::Joined {
                by,
                team,
                operations,
            } => self.joined(team, by, operations),
            OwnWrite::Private { team, by, change } => self.private_done(team, by, change),
        }
    }

    fn entry_done(
        &mut self,
        team: TeamId,
        by: CommandId,
        (entry, head): (Arc<Entry>, &Verified<Head>),
        replaces: Option<VersionId>,
        answer: Answer,
    ) {
        let Some(state) = self.teams.get_mut(&team) else {
            return;
        };
        if !state.team.add_own(head.clone(), entry.clone()) {
            return self.reply(by, Err(EngineError::DeviceMustBeMinted));
        }
        if let Some(private) = replaces {
            state.team.catalog.remove_private(&private);
        }
        state.own_seq = head.value().seq;
        self.announce(team, head, Some(&entry));
        // Gossip misses peers whose subscription has not arrived yet: compare heads with them as
        // well.
        for device in self.connected(&team) {
            self.exchange_again(team, device);
        }
        self.reply(by, Ok(answer));
    }

    fn private_done(&mut self, team: TeamId, by: CommandId, change: PrivateChange) {
        let Some(state) = self.teams.get_mut(&team) else {
            return;
        };
        let answer = match change {
            PrivateChange::Saved(version) => {
                let answer = Answer::Saved {
                    number: version.number,
                    version: version.version,
                };
                state.team.catalog.insert_private(*version);
                answer
            }
            PrivateChange::Forgotten(version) => {
                state.team.catalog.remove_private(&version);
                Answer::Done
            }
        };
        self.reply(by, Ok(answer));
    }

    /// A decision couldn't be written: discards it and reports why.
    pub(super) fn undone(&mut self, write: OwnWrite, why: String) {
        if let Some(state) = self.teams.get_mut(&write.team()) {
            state.is_writing = false;
        }
        if let Some(command) = write.command() {
            self.reply(command, Err(EngineError::NotPersisted(why)));
        }
        match write {
            OwnWrite::Operation {
                by: Author::Newcomer(responder),
                ..
            } => {
                let bytes = MembershipResponse::Refused(RefusedReason::CannotWitness).encode();
                self.outputs.push_back(Output::Respond {
                    id: responder,
                    bytes,
                });
            }
            OwnWrite::Joined { team, .. } => self.join_undone(team),
            _ => {}
        }
    }

    pub(super) fn reply(&mut self, command: CommandId, result: Result<Answer, EngineError>) {
        self.outputs.push_back(Output::Reply { command, result });
    }
}

/// The record of an operation that this device made.
pub(super) fn operation_record(team: TeamId, bytes: &std::sync::Arc<[u8]>) -> Record {
    Record::Operation {
        team,
        id: OpId::of(bytes),
        bytes: bytes.clone(),
    }
}

fn team_of(command: &Command) -> TeamId {
    match command {
        Command::Invite(options) => options.team,
        Command::Publish(publish) => publish.team,
        Command::SavePrivate(save) => save.team,
        Command::Join { ticket, .. } => ticket.team,
        Command::CreateTeam { .. } => crate::membership::operation::NO_TEAM,
        Command::Refresh { team }
        | Command::Remove { team, .. }
        | Command::SetRole { team, .. }
        | Command::Recover { team, .. }
        | Command::Rotate { team }
        | Command::SetSetting { team, .. }
        | Command::Tag { team, .. }
        | Command::Drop { team, .. }
        | Command::ForgetPrivate { team, .. } => *team,
    }
}

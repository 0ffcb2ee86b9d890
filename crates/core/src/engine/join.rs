//! Joining a team by a ticket: asking who is connected, one after the other, until somebody witnesses
//! it. Asked all at once, each would write a join of its own, and a team keeps them for ever.
//!
//! What a witness sends is believed only as far as it checks out: the operations must lead from the
//! founding that the ticket names, over the heads that it names, to this device being a member.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::{
    Engine, EngineError,
    admin::join_request,
    command::operation_record,
    exchange::Asked,
    input::{CommandId, RequestFailed},
    output::Answer,
    team::Team,
    writes::Deed,
};
use crate::{
    codec::Format,
    id::{DeviceId, OpId, TeamId},
    keys::DeviceSecret,
    membership::{
        Enrolment, Membership, Operation,
        wire::{MembershipRequest, RefusedReason},
    },
    name::{DeviceLabel, MemberName},
    signed::Verified,
    ticket::{Ticket, TicketKind},
    wire::{Protocol, ResponseIn},
};

/// The most joins that are under way at once.
const MAX_JOINS: usize = 4;
/// How long one device may take before the next is asked beside it.
const ASK_NEXT_AFTER: Duration = Duration::from_secs(2);

/// A join under way.
pub(super) struct PendingJoin {
    by: CommandId,
    ticket: Ticket,
    member: MemberName,
    label: DeviceLabel,
    patience: Duration,
    deadline: Option<Duration>,
    /// Connected devices that are not asked yet.
    waiting: VecDeque<DeviceId>,
    /// When the next is asked, answer or not; none while nobody waits.
    ask_next: Option<Duration>,
    /// What the team looks like so far, as each asked device shows it.
    shown: BTreeMap<DeviceId, Shown>,
    refused: Option<RefusedReason>,
}

struct Shown {
    membership: Membership,
    operations: Vec<Arc<Verified<Operation>>>,
}

impl Engine {
    pub(super) fn begin_join(
        &mut self,
        by: CommandId,
        ticket: Ticket,
        member: MemberName,
        label: DeviceLabel,
        patience: Duration,
    ) -> Result<(), EngineError> {
        let team = ticket.team;
        if self
            .teams
            .get(&team)
            .is_some_and(|state| state.team.is_member(&self.secret.id()))
        {
            return Err(EngineError::AlreadyMember(team));
        }
        if self.teams.contains_key(&team) {
            return Err(EngineError::Expelled(team));
        }
        if ticket.kind == TicketKind::Robot && ticket.secret().id() != self.secret.id() {
            return Err(EngineError::RobotTicket);
        }
        if self.joins.contains_key(&team) || self.joins.len() >= MAX_JOINS {
            return Err(EngineError::Busy);
        }
        let deadline = Some(self.now.mono + patience);
        let join = PendingJoin {
            by,
            ticket,
            member,
            label,
            patience,
            deadline,
            waiting: self.connected.keys().copied().collect(),
            ask_next: None,
            shown: BTreeMap::new(),
            refused: None,
        };
        self.joins.insert(team, join);
        self.ask_a_witness(team);
        Ok(())
    }

    /// A device is there that may witness the joins under way.
    pub(super) fn witness_came(&mut self, device: DeviceId) {
        for join in self.joins.values_mut() {
            join.waiting.push_back(device);
        }
        self.ask_witnesses();
    }

    pub(super) fn witness_gone(&mut self, device: &DeviceId) {
        for join in self.joins.values_mut() {
            join.waiting.retain(|waiting| waiting != device);
        }
        self.ask_witnesses();
    }

    /// Asks the next device for every join of which nobody is being asked, or is for too long.
    fn ask_witnesses(&mut self) {
        let teams: Vec<_> = self.joins.keys().copied().collect();
        for team in teams {
            self.ask_a_witness(team);
        }
    }

    fn ask_a_witness(&mut self, team: TeamId) {
        let now = self.now.mono;
        let running = self.is_asked_to_witness(team);
        let Some(join) = self
            .joins
            .get_mut(&team)
            .filter(|join| join.deadline.is_some())
        else {
            return;
        };
        if running && join.ask_next.is_none_or(|due| due > now) {
            join.ask_next.get_or_insert(now + ASK_NEXT_AFTER);
            return;
        }
        let Some(device) = join.waiting.pop_front() else {
            join.ask_next = None;
            return;
        };
        join.ask_next = Some(now + ASK_NEXT_AFTER);
        let request = join.request(&self.secret);
        self.ask(
            Asked::Join { team, device },
            device,
            Protocol::Membership,
            request.encode(),
        );
    }

    fn is_asked_to_witness(&self, team: TeamId) -> bool {
        let running = |asked: &Asked| matches!(asked, Asked::Join { team: of, .. } if *of == team);
        self.asked.values().any(running)
    }

    pub(super) fn on_join_answer(
        &mut self,
        team: TeamId,
        device: DeviceId,
        result: Result<ResponseIn, RequestFailed>,
    ) {
        let Some(join) = self
            .joins
            .get_mut(&team)
            .filter(|join| join.deadline.is_some())
        else {
            return;
        };
        match result {
            Ok(ResponseIn::Operations { operations, .. }) => {
                let new = join.show(device, operations);
                if !join.is_shown_whole(&device, &self.secret.id()) && new {
                    let known = join
                        .shown
                        .get(&device)
                        .map(|shown| shown.membership.heads());
                    let request = MembershipRequest::fetch(team, known.unwrap_or_default());
                    self.ask(
                        Asked::Join { team, device },
                        device,
                        Protocol::Membership,
                        request.encode(),
                    );
                }
            }
            Ok(ResponseIn::MembershipRefused(why)) => join.refused = Some(why),
            _ => {}
        }
        self.finish_join(team, device);
    }

    /// Enters the team if what this device showed is all of it.
    fn finish_join(&mut self, team: TeamId, device: DeviceId) {
        let me = self.secret.id();
        let Some(join) = self.joins.get_mut(&team) else {
            return;
        };
        if join.is_shown_whole(&device, &me)
            && let Some(shown) = join.shown.remove(&device)
        {
            // It is decided: no deadline stops what is being written.
            join.deadline = None;
            join.ask_next = None;
            let by = join.by;
            let operations = shown.operations;
            let records = operations
                .iter()
                .map(|operation| operation_record(team, operation.bytes()))
                .collect();
            return self.commit(
                Deed::Joined {
                    by,
                    team,
                    operations,
                },
                records,
            );
        }
        let refused = join.refused.filter(|why| is_final(*why));
        match refused.filter(|_| !self.is_asked_to_witness(team)) {
            Some(why) => self.end_join(team, EngineError::JoinRefused(why)),
            None => self.ask_a_witness(team),
        }
    }

    pub(super) fn joined(
        &mut self,
        team: TeamId,
        by: CommandId,
        operations: Vec<Arc<Verified<Operation>>>,
    ) {
        let Some(join) = self.joins.remove(&team) else {
            return;
        };
        let founding = operations
            .first()
            .map(|founding| Membership::new(Verified::clone(founding)));
        let Some(Ok(mut membership)) = founding else {
            return;
        };
        membership.insert_all(operations);
        let mut entered = Team::new(membership, &self.secret);
        // Until the next key is wrapped to this device itself, the invite's wraps are its own.
        entered
            .keys
            .extend(&entered.membership, &join.ticket.secret());
        self.enter(team, entered);
        self.reply(by, Ok(Answer::Joined { team }));
    }

    /// Gives up joins whose time is over, and asks on for the others.
    pub(super) fn press_joins(&mut self) {
        let now = self.now.mono;
        let over = self
            .joins
            .iter()
            .filter(|(_, join)| join.deadline.is_some_and(|deadline| deadline <= now));
        let over: Vec<_> = over
            .map(|(team, join)| {
                let seconds = join.patience.as_secs();
                let why = join.refused.map_or(
                    EngineError::NobodyWitnessed { seconds },
                    EngineError::JoinRefused,
                );
                (*team, why)
            })
            .collect();
        for (team, why) in over {
            self.end_join(team, why);
        }
        self.ask_witnesses();
    }

    /// A join that couldn't be written is over like any other that failed.
    pub(super) fn join_undone(&mut self, team: TeamId) {
        self.joins.remove(&team);
    }

    fn end_join(&mut self, team: TeamId, why: EngineError) {
        if let Some(join) = self.joins.remove(&team) {
            self.reply(join.by, Err(why));
        }
    }
}

impl PendingJoin {
    pub(super) fn timeout(&self) -> Option<Duration> {
        self.deadline.into_iter().chain(self.ask_next).min()
    }

    fn request(&self, me: &DeviceSecret) -> MembershipRequest {
        let team = self.ticket.team;
        if self.ticket.kind == TicketKind::Robot {
            return MembershipRequest::fetch(team, &[]);
        }
        let newcomer = Enrolment {
            device: me.id(),
            box_key: me.box_key(),
            member: self.member.clone(),
            label: self.label.clone(),
        };
        let request = join_request(&self.ticket.secret(), team, newcomer);
        MembershipRequest::Join { team, request }
    }

    /// Whether a device has shown us as a member of a team no older than the ticket.
    fn is_shown_whole(&self, device: &DeviceId, me: &DeviceId) -> bool {
        self.shown.get(device).is_some_and(|shown| {
            let heads = &mut self.ticket.heads.iter();
            shown.membership.state().is_member(me) && heads.all(|id| shown.membership.contains(id))
        })
    }

    /// Takes in what a device shows of the team; true where it was new.
    fn show(&mut self, device: DeviceId, mut operations: Vec<Arc<Verified<Operation>>>) -> bool {
        if !self.shown.contains_key(&device) {
            let founding = operations
                .first()
                .map(|founding| Membership::new(Verified::clone(founding)));
            match founding {
                Some(Ok(membership)) if membership.team() == self.ticket.team => {
                    let operations = vec![operations.remove(0)];
                    self.shown.insert(
                        device,
                        Shown {
                            membership,
                            operations,
                        },
                    );
                }
                _ => return false,
            }
        }
        let Some(shown) = self.shown.get_mut(&device) else {
            return false;
        };
        let before = shown.membership.op_count();
        operations.retain(|operation| !shown.membership.contains(&OpId::of(operation.bytes())));
        shown.membership.insert_all(operations.iter().cloned());
        operations.retain(|operation| shown.membership.contains(&OpId::of(operation.bytes())));
        shown.operations.append(&mut operations);
        shown.membership.op_count() > before || before == 1
    }
}

/// Whether asking somebody else wouldn't help.
fn is_final(why: RefusedReason) -> bool {
    !matches!(
        why,
        RefusedReason::NotListed
            | RefusedReason::UnknownTeam
            | RefusedReason::Busy
            | RefusedReason::InviteUnknown
            | RefusedReason::CannotWitness
    )
}

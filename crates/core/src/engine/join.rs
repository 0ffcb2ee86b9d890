//! Joins a team by a ticket: asks connected devices one after the other, then the ticket's hub, until one witnesses
//! the join. If all were asked at once, each would write its own join, which a team keeps for ever.
//!
//! A witness's answer is verified: its operations must lead from the founding and the operations
//! that the ticket names to this device being a member.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::{
    Engine, EngineError,
    admin::join_request,
    command::operation_record,
    exchange::Asked,
    input::{CommandId, HubJoinFailure, RequestFailed},
    output::{Answer, Event, HubJoin, Output, Record},
    team::Team,
    writes::OwnWrite,
};
use crate::{
    codec::Format,
    id::{DeviceId, OpId, TeamId},
    keys::DeviceSecret,
    membership::{
        Enrolment, Membership, Operation,
        wire::{MAX_KNOWN_HEADS, MembershipRequest, RefusedReason},
    },
    name::{DeviceLabel, MemberName},
    signed::Verified,
    ticket::{Ticket, TicketKind},
    wire::{Protocol, ResponseIn},
};

/// The most joins that are under way at once.
const MAX_JOINS: usize = 4;
/// How long to wait for one device before the next is asked too.
const ASK_NEXT_AFTER: Duration = Duration::from_secs(2);

/// How long to wait for members before the hub is asked too. The ticket's addresses are being dialled
/// meanwhile.
const ASK_HUB_AFTER: Duration = Duration::from_secs(2);
/// How long after a failure the hub is asked again.
const ASK_HUB_AGAIN_AFTER: Duration = Duration::from_secs(5);

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
    /// When to ask the next device, with or without an answer from the last. None if no device
    /// waits.
    ask_next: Option<Duration>,
    /// Devices that were too busy to answer, and when to ask each again.
    again: BTreeMap<DeviceId, Duration>,
    /// The team as each asked witness has shown it so far.
    shown: BTreeMap<Witness, Shown>,
    /// Witnesses that were asked and have not refused. Each may have written the join without our
    /// knowing.
    unanswered: BTreeSet<Witness>,
    refused: Option<RefusedReason>,
    /// When to ask the hub. None while a request to it is open, or if there is no hub.
    ask_hub: Option<Duration>,
    /// Why the last request to the hub failed.
    hub_failed: Option<HubJoinFailure>,
    /// An earlier request may have reached the hub, which has answered none since.
    hub_may_know: bool,
}

/// A device or hub that is asked to witness the join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Witness {
    Member(DeviceId),
    Hub,
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
        if let Some(state) = self.teams.get(&team) {
            return Err(match state.team.is_member(&self.secret.id()) {
                true => EngineError::AlreadyMember(team),
                false => EngineError::Expelled(state.team.membership.state().name().clone()),
            });
        }
        if ticket.kind == TicketKind::Robot && ticket.secret().id() != self.secret.id() {
            return Err(EngineError::RobotTicket);
        }
        if self.joins.contains_key(&team) || self.joins.len() >= MAX_JOINS {
            return Err(EngineError::Busy);
        }
        let deadline = Some(self.now.mono + patience);
        let to_dial = ticket.dialled().next().is_some() || !self.connected.is_empty();
        // A robot's teammates are rarely connected, and each of its commands would wait again.
        let is_robot = ticket.kind == TicketKind::Robot;
        let ask_hub = ticket.hubs().next().map(|_| match to_dial && !is_robot {
            true => self.now.mono + ASK_HUB_AFTER,
            false => self.now.mono,
        });
        let join = PendingJoin {
            by,
            ticket,
            member,
            label,
            patience,
            deadline,
            waiting: self.connected.keys().copied().collect(),
            ask_next: None,
            again: BTreeMap::new(),
            shown: BTreeMap::new(),
            unanswered: BTreeSet::new(),
            refused: None,
            ask_hub,
            hub_failed: None,
            hub_may_know: false,
        };
        self.joins.insert(team, join);
        self.ask_a_witness(team);
        Ok(())
    }

    /// A device connected that may witness the pending joins.
    pub(super) fn witness_came(&mut self, device: DeviceId) {
        for join in self.joins.values_mut() {
            join.waiting.push_back(device);
        }
        self.ask_witnesses();
    }

    pub(super) fn witness_gone(&mut self, device: &DeviceId) {
        for join in self.joins.values_mut() {
            join.waiting.retain(|waiting| waiting != device);
            join.again.remove(device);
        }
        self.ask_witnesses();
    }

    /// For every join without a pending question, or with one that takes too long, asks the next
    /// device.
    fn ask_witnesses(&mut self) {
        let teams: Vec<_> = self.joins.keys().copied().collect();
        for team in teams {
            self.ask_a_witness(team);
            self.ask_hub_when_due(team);
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
        join.unanswered.insert(Witness::Member(device));
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
        let now = self.now.mono;
        let Some(join) = self
            .joins
            .get_mut(&team)
            .filter(|join| join.deadline.is_some())
        else {
            return;
        };
        let by = Witness::Member(device);
        match result {
            Ok(ResponseIn::Operations { operations, .. }) => {
                let new = join.show(by, operations);
                if join.is_shown_removed(&by, &self.secret.id()) {
                    join.refused = Some(RefusedReason::DeviceRemoved);
                } else if !join.is_shown_whole(&by, &self.secret.id()) && new {
                    let request = MembershipRequest::fetch(team, join.heads_shown(&by));
                    self.ask(
                        Asked::Join { team, device },
                        device,
                        Protocol::Membership,
                        request.encode(),
                    );
                }
            }
            Ok(ResponseIn::MembershipRefused(why)) => {
                join.refused = Some(why);
                join.unanswered.remove(&by);
            }
            // Of two simultaneous connections one is closed, and the requests on it are lost.
            Err(RequestFailed::TimedOut | RequestFailed::NotConnected)
                if self.connected.contains_key(&device) =>
            {
                join.again.insert(device, now + ASK_NEXT_AFTER);
            }
            _ => {}
        }
        self.finish_join(team, by);
    }

    /// The hub's answer to a join: the operations that lead to it, as many as fit in one answer.
    pub(super) fn on_hub_join(&mut self, team: TeamId, operations: Vec<Arc<Verified<Operation>>>) {
        let me = self.secret.id();
        let under_way = |join: &&mut PendingJoin| join.deadline.is_some();
        let Some(join) = self.joins.get_mut(&team).filter(under_way) else {
            return;
        };
        let new = join.show(Witness::Hub, operations);
        if join.is_shown_whole(&Witness::Hub, &me) {
            return self.finish_join(team, Witness::Hub);
        }
        if new {
            let known = join.heads_shown(&Witness::Hub);
            let known = known.iter().take(MAX_KNOWN_HEADS).copied().collect();
            return self.ask_hub(team, HubJoin::Fetch { known });
        }
        let why =
            "the operations that it sent do not make this device a member of the ticket's team"
                .to_owned();
        self.on_hub_join_failed(team, HubJoinFailure::NotYet(why));
    }

    pub(super) fn on_hub_join_failed(&mut self, team: TeamId, why: HubJoinFailure) {
        let again = self.now.mono + ASK_HUB_AGAIN_AFTER;
        let Some(join) = self.joins.get_mut(&team) else {
            return;
        };
        if join.deadline.is_some() {
            let is_final = matches!(why, HubJoinFailure::Refused(_));
            match why {
                HubJoinFailure::NotReached(_) => join.hub_may_know = true,
                HubJoinFailure::NotConnected(_) if join.hub_may_know => {}
                HubJoinFailure::NotConnected(_)
                | HubJoinFailure::NotYet(_)
                | HubJoinFailure::Refused(_) => {
                    join.hub_may_know = false;
                    join.unanswered.remove(&Witness::Hub);
                }
            }
            join.hub_failed = Some(why);
            join.shown.remove(&Witness::Hub);
            join.ask_hub = (!is_final).then_some(again);
            self.finish_join(team, Witness::Hub);
        }
    }

    fn ask_hub_when_due(&mut self, team: TeamId) {
        let now = self.now.mono;
        let Some(join) = self.joins.get_mut(&team) else {
            return;
        };
        let due = join.deadline.is_some() && join.ask_hub.take_if(|due| *due <= now).is_some();
        if !due {
            return;
        }
        join.unanswered.insert(Witness::Hub);
        let request = match join.request(&self.secret) {
            MembershipRequest::Join { request, .. } => HubJoin::Witness(request.into_vec()),
            MembershipRequest::Fetch { known, .. } => HubJoin::Fetch { known },
        };
        self.ask_hub(team, request);
    }

    fn ask_hub(&mut self, team: TeamId, request: HubJoin) {
        if let Some(join) = self.joins.get(&team) {
            let urls = join.ticket.hubs().map(str::to_owned).collect();
            let output = Output::JoinAtHub {
                team,
                urls,
                request,
            };
            self.outputs.push_back(output);
        }
    }

    /// Enters the team if this witness has shown all of it.
    fn finish_join(&mut self, team: TeamId, by: Witness) {
        let me = self.secret.id();
        let Some(join) = self.joins.get_mut(&team) else {
            return;
        };
        if join.is_shown_whole(&by, &me)
            && let Some(shown) = join.shown.remove(&by)
        {
            // The join is decided and being written, so the deadline no longer applies.
            join.deadline = None;
            join.ask_next = None;
            join.ask_hub = None;
            let by = join.by;
            let operations = shown.operations;
            let invite_key = (join.ticket.kind == TicketKind::Invite).then(|| Record::InviteKey {
                team,
                seed: join.ticket.seed().clone(),
            });
            let records = operations
                .iter()
                .map(|operation| operation_record(team, operation.bytes()))
                .chain(invite_key)
                .collect();
            return self.commit(
                OwnWrite::Joined {
                    by,
                    team,
                    operations,
                },
                records,
            );
        }
        match join.finally_refused() {
            Some(why) if !self.is_asked_to_witness(team) => self.end_join(team, why),
            _ => {
                self.ask_a_witness(team);
                self.tell_not_let_in(team);
            }
        }
    }

    /// Tells the daemon that no connected device lets us in, so it can try the ticket's other
    /// addresses now.
    fn tell_not_let_in(&mut self, team: TeamId) {
        let nobody_is_left = self
            .joins
            .get(&team)
            .is_some_and(|join| join.deadline.is_some() && join.waiting.is_empty());
        if nobody_is_left && !self.is_asked_to_witness(team) {
            self.outputs
                .push_back(Output::Event(Event::NotLetIn { team }));
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
        // Until the next key is wrapped to this device itself, it relies on the keys wrapped to the
        // invite.
        entered
            .keys
            .extend(&entered.membership, &join.ticket.secret());
        self.enter(team, entered);
        self.reply(by, Ok(Answer::Joined { team }));
    }

    /// Ends joins past their deadline, and continues the others.
    pub(super) fn press_joins(&mut self) {
        let now = self.now.mono;
        let over = self
            .joins
            .iter()
            .filter(|(_, join)| join.deadline.is_some_and(|deadline| deadline <= now));
        let over: Vec<_> = over
            .map(|(team, join)| (*team, join.never_let_in()))
            .collect();
        for (team, why) in over {
            self.end_join(team, why);
        }
        for join in self.joins.values_mut() {
            let due = join.again.extract_if(.., |_, due| *due <= now);
            join.waiting.extend(due.map(|(device, _)| device));
        }
        self.ask_witnesses();
    }

    /// Fails a join that couldn't be written.
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
        let hub = self.ask_hub.filter(|_| self.deadline.is_some());
        let again = self.again.values().copied();
        self.deadline
            .into_iter()
            .chain(self.ask_next)
            .chain(hub)
            .chain(again)
            .min()
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

    /// The final refusal, if further waiting is pointless.
    fn finally_refused(&self) -> Option<EngineError> {
        let by_member = self.refused.filter(|why| is_final(*why));
        if let Some(why) = by_member {
            return Some(EngineError::JoinRefused(why));
        }
        match &self.hub_failed {
            Some(HubJoinFailure::Refused(why)) => Some(EngineError::NotLetInByHub(why.clone())),
            _ => None,
        }
    }

    /// The error to report at the deadline. A witness that was not reached has not refused.
    fn never_let_in(&self) -> EngineError {
        // The refusal of a stranger or of a busy member says nothing about the ticket. A member shows a removed
        // device the signed operation.
        let says_nothing = |why: &RefusedReason| {
            matches!(
                why,
                RefusedReason::NotListed
                    | RefusedReason::UnknownTeam
                    | RefusedReason::Busy
                    | RefusedReason::CannotWitness
            )
        };
        if let Some(why) = self.refused.filter(|why| !says_nothing(why)) {
            return EngineError::JoinRefused(why);
        }
        let seconds = self.patience.as_secs();
        let hub = match &self.hub_failed {
            Some(HubJoinFailure::Refused(why) | HubJoinFailure::NotYet(why)) => {
                return EngineError::NotLetInByHub(why.clone());
            }
            Some(HubJoinFailure::NotReached(why) | HubJoinFailure::NotConnected(why)) => {
                Some(why.clone())
            }
            // It was asked and is silent.
            None if self.unanswered.contains(&Witness::Hub) => {
                let hub = self.ticket.hubs().next().unwrap_or_default();
                Some(format!("the hub at {hub} does not answer"))
            }
            None => None,
        };
        EngineError::NobodyWitnessed {
            seconds,
            hub,
            stranger: self.refused.is_some_and(|why| {
                matches!(why, RefusedReason::NotListed | RefusedReason::UnknownTeam)
            }),
            may_be_in: !self.unanswered.is_empty(),
        }
    }

    fn heads_shown(&self, by: &Witness) -> &[OpId] {
        let shown = self.shown.get(by);
        shown.map_or(&[], |shown| shown.membership.heads())
    }

    /// Whether a witness has shown this device as a member, in a team no older than the ticket.
    fn is_shown_whole(&self, by: &Witness, me: &DeviceId) -> bool {
        self.shown.get(by).is_some_and(|shown| {
            let membership = &shown.membership;
            let mut floor = self.ticket.floor.iter();
            membership.state().is_member(me)
                && floor.all(|op| membership.starting_with(op).is_some())
        })
    }

    /// Whether a witness has shown that this device was removed from the team. A removed device never
    /// comes back.
    fn is_shown_removed(&self, by: &Witness, me: &DeviceId) -> bool {
        let shown = self.shown.get(by);
        let record = shown.and_then(|shown| shown.membership.state().member(me));
        record.is_some_and(|record| record.removed.is_some())
    }

    /// Adds operations that a witness sent. True if some were new.
    fn show(&mut self, by: Witness, mut operations: Vec<Arc<Verified<Operation>>>) -> bool {
        if !self.shown.contains_key(&by) {
            let founding = operations
                .first()
                .map(|founding| Membership::new(Verified::clone(founding)));
            match founding {
                Some(Ok(membership)) if membership.team() == self.ticket.team => {
                    let operations = vec![operations.remove(0)];
                    self.shown.insert(
                        by,
                        Shown {
                            membership,
                            operations,
                        },
                    );
                }
                _ => return false,
            }
        }
        let Some(shown) = self.shown.get_mut(&by) else {
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

/// Whether any other witness would refuse for the same reason.
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

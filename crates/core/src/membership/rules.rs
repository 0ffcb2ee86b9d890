//! The rules: decide whether one operation counts, given the rulings on others.
//!
//! An author's rights are judged at the operation's parents, by the operations that count there.
//! Only a concurrent removal or demotion can take them away afterwards. A rule that needs an open
//! ruling stops with [`Stop::Blocked`] and runs again later.

use std::collections::BTreeSet;

use super::{
    graph::{Graph, Index, NodeSet, Order},
    operation::{Add, Invite, Join, Kind, Operation, Role, SetRole},
    operation_index::{OperationIndex, hub_key, struck},
    roster::HUB_KEY,
    void::Void,
};
use crate::id::DeviceId;

/// Why a rule stopped.
#[derive(Debug)]
pub(super) enum Stop {
    /// This ruling is needed first.
    Blocked(Index),
    Void(Void),
}

/// A device's standing in the past of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    Unknown,
    Removed,
    Member { role: Role, robot: bool },
}

/// An operation to be judged. Without a place in the graph: one that might be made now.
pub(super) struct Case<'a> {
    pub(super) at: Option<Index>,
    pub(super) signer: DeviceId,
    pub(super) op: &'a Operation,
    pub(super) past: &'a NodeSet,
}

/// Seniority for mutual removals: enrolment depth, the recovery key first, then the id.
pub(super) type Seniority = (u32, bool, DeviceId);

/// The data for a ruling.
pub(super) struct Bench<'a> {
    pub(super) graph: &'a Graph,
    pub(super) index: &'a OperationIndex,
    pub(super) recovery: DeviceId,
    /// For each node whether it counts. None while undecided.
    pub(super) rulings: &'a [Option<bool>],
    /// Pairs of an operation and a strike that a cut made ineffective against it.
    pub(super) spared: &'a BTreeSet<(Index, Index)>,
}

impl Bench<'_> {
    pub(super) fn judge(&self, case: &Case<'_>) -> Result<(), Stop> {
        if let Kind::Found(_) = case.op.kind {
            let first = case.at == Some(0);
            return if first {
                Ok(())
            } else {
                Err(Stop::Void(Void::FoundedTwice))
            };
        }
        self.check_strikes(case)?;
        self.check_authority(case)?;
        match &case.op.kind {
            Kind::Add(add) => self.check_add(case, add),
            Kind::Remove(remove) => self.check_remove(case, &remove.device),
            Kind::SetRole(set) => self.check_set_role(case, set),
            Kind::Invite(invite) => self.check_invite(case, invite),
            Kind::Join(join) => self.check_join(case, join),
            Kind::Rotate(rotate) => {
                let taken = self.first_counting(self.index.epochs(&rotate.epoch), case.past)?;
                taken.map_or(Ok(()), |_| void(Void::EpochTaken))
            }
            Kind::Settings(_) | Kind::Found(_) => Ok(()),
        }
    }

    /// A removal or demotion voids its device's operations that it did not know of.
    fn check_strikes(&self, case: &Case<'_>) -> Result<(), Stop> {
        let Some(at) = case.at else { return Ok(()) };
        let invite = match &case.op.kind {
            Kind::Join(join) => Some(join.invite),
            _ => None,
        };
        let mut open = None;
        for device in std::iter::once(case.signer).chain(invite) {
            for &strike in self.index.strikes(&device) {
                if self.ruling(strike) == Some(false) || !self.strikes(strike, at, &device) {
                    continue;
                }
                match self.outranks(at, strike) {
                    Ok(true) => continue,
                    Err(Stop::Blocked(on)) => open = open.or(Some(on)),
                    Ok(false) | Err(Stop::Void(_)) if self.ruling(strike) == Some(true) => {
                        return void(Void::Struck {
                            by: self.graph.node(strike).order.id,
                        });
                    }
                    Ok(false) | Err(Stop::Void(_)) => open = open.or(Some(strike)),
                }
            }
        }
        open.map_or(Ok(()), |on| Err(Stop::Blocked(on)))
    }

    /// Whether `strike`, about `device`, would void what stands at `at`.
    fn strikes(&self, strike: Index, at: Index, device: &DeviceId) -> bool {
        let (strike_node, node) = (self.graph.node(strike), self.graph.node(at));
        let deprives = match strike_node.kind() {
            Kind::Remove(_) => true,
            Kind::SetRole(set) => {
                node.signer() == *device && set.role < needed(node.kind(), device)
            }
            _ => false,
        };
        deprives && self.graph.concurrent(strike, at) && !self.spared.contains(&(at, strike))
    }

    /// Mutual removal goes to the device that was enrolled earlier.
    fn outranks(&self, at: Index, strike: Index) -> Result<bool, Stop> {
        let (node, strike_node) = (self.graph.node(at), self.graph.node(strike));
        let target = strike_node.signer();
        if struck(node.kind()) != Some(target) || !self.strikes(at, strike, &target) {
            return Ok(false);
        }
        let ours = self.seniority(&node.signer(), &node.past)?;
        let theirs = self.seniority(&target, &strike_node.past)?;
        Ok((ours, node.order) < (theirs, strike_node.order))
    }

    pub(super) fn seniority(&self, device: &DeviceId, past: &NodeSet) -> Result<Seniority, Stop> {
        if *device == self.recovery {
            return Ok((0, false, *device));
        }
        let first = self.first_counting(self.index.enrolments(device), past)?;
        let depth = first.map_or(u32::MAX, |at| self.graph.node(at).order.depth);
        Ok((depth, true, *device))
    }

    fn check_authority(&self, case: &Case<'_>) -> Result<(), Stop> {
        let needs = needed(&case.op.kind, &case.signer);
        match self.standing(&case.signer, case.past)? {
            // Any holder of its token could otherwise end it for all others.
            Standing::Member { robot: true, .. } if matches!(&case.op.kind, Kind::Remove(remove) if remove.device == case.signer) => {
                void(Void::RobotRole)
            }
            Standing::Member { role, .. } if role >= needs => Ok(()),
            Standing::Member { role, .. } => void(Void::RoleTooLow {
                device: case.signer,
                has: role,
                needs,
            }),
            Standing::Unknown
                if matches!(case.op.kind, Kind::Join(_))
                    && self.is_hub(&case.signer, case.past)? =>
            {
                Ok(())
            }
            Standing::Unknown | Standing::Removed => void(Void::NotAMember(case.signer)),
        }
    }

    /// Whether the last settings within `past` name this key as the hub's, and it was not removed there.
    fn is_hub(&self, key: &DeviceId, past: &NodeSet) -> Result<bool, Stop> {
        for &at in self.index.hub_settings().iter().rev() {
            if past.contains(at) && self.decided(at)? {
                let Kind::Settings(settings) = self.graph.node(at).kind() else {
                    continue;
                };
                let value = settings.changes.get(HUB_KEY).and_then(Option::as_deref);
                let removed = self.first_counting(self.index.strikes(key), past)?;
                return Ok(hub_key(value) == Some(*key) && removed.is_none());
            }
        }
        Ok(false)
    }

    fn check_add(&self, case: &Case<'_>, add: &Add) -> Result<(), Stop> {
        if add.robot && add.role != Role::Reader {
            return void(Void::RobotRole);
        }
        self.check_newcomer(case, &add.newcomer.device)
    }

    fn check_remove(&self, case: &Case<'_>, device: &DeviceId) -> Result<(), Stop> {
        if *device == self.recovery {
            return void(Void::RecoveryKey);
        }
        if cfg!(podsync_planted = "ignore-removal") {
            return void(Void::UnknownDevice(*device));
        }
        match self.standing(device, case.past)? {
            Standing::Member { .. } => Ok(()),
            Standing::Removed => void(Void::DeviceRemoved(*device)),
            Standing::Unknown => match self.invite(device, case.past) {
                Err(Stop::Void(Void::NoSuchInvite(_))) => {
                    match self.first_counting(self.index.hubs(device), case.past)? {
                        Some(_) => Ok(()),
                        None => void(Void::UnknownDevice(*device)),
                    }
                }
                invite => invite.map(drop),
            },
        }
    }

    fn check_set_role(&self, case: &Case<'_>, set: &SetRole) -> Result<(), Stop> {
        if set.device == self.recovery {
            return void(Void::RecoveryKey);
        }
        match self.standing(&set.device, case.past)? {
            Standing::Member { robot: true, .. } => void(Void::RobotRole),
            Standing::Member { .. } => Ok(()),
            Standing::Removed => void(Void::DeviceRemoved(set.device)),
            Standing::Unknown => void(Void::UnknownDevice(set.device)),
        }
    }

    fn check_invite(&self, case: &Case<'_>, invite: &Invite) -> Result<(), Stop> {
        let key = &invite.key.device;
        if self.standing(key, case.past)? != Standing::Unknown {
            return void(Void::KeyInUse(*key));
        }
        self.check_key_is_free(key, case.past)
    }

    fn check_join(&self, case: &Case<'_>, join: &Join) -> Result<(), Stop> {
        let invite = self.invite(&join.invite, case.past)?;
        if join.witnessed_ms > invite.expires_ms {
            return void(Void::InviteExpired);
        }
        let asked = &join.newcomer.member;
        if let Some(invited) = invite.member.as_ref().filter(|invited| *invited != asked) {
            return void(Void::InvitedByAnotherName {
                invited: invited.clone(),
                asked: asked.clone(),
            });
        }
        self.check_newcomer(case, &join.newcomer.device)?;
        if invite.member.is_none() {
            self.check_name(case, join)?;
        }
        self.check_uses(case, join, invite.uses)
    }

    fn check_newcomer(&self, case: &Case<'_>, device: &DeviceId) -> Result<(), Stop> {
        match self.standing(device, case.past)? {
            Standing::Unknown => self.check_key_is_free(device, case.past),
            Standing::Removed => void(Void::DeviceRemoved(*device)),
            Standing::Member { .. } => void(Void::AlreadyEnrolled(*device)),
        }
    }

    fn check_key_is_free(&self, key: &DeviceId, past: &NodeSet) -> Result<(), Stop> {
        let invite = self.first_counting(self.index.invites(key), past)?;
        if *key == self.recovery || invite.is_some() {
            return void(Void::KeyInUse(*key));
        }
        Ok(())
    }

    /// If several newcomers take one name concurrently, the first in counting order gets it.
    fn check_name(&self, case: &Case<'_>, join: &Join) -> Result<(), Stop> {
        for &other in self.earlier(self.index.named(&join.newcomer.member), case) {
            let same = super::operation_index::enrolment(self.graph.node(other).kind())
                .is_some_and(|enrolment| enrolment.device == join.newcomer.device);
            if !same && self.decided(other)? {
                return void(Void::NameTaken(join.newcomer.member.clone()));
            }
        }
        Ok(())
    }

    /// Uses count devices, not joins: two witnesses of one newcomer spend one.
    fn check_uses(&self, case: &Case<'_>, join: &Join, uses: u32) -> Result<(), Stop> {
        let earlier = self.earlier(self.index.joins(&join.invite), case);
        if earlier.len() < uses as usize {
            return Ok(());
        }
        let mut joined = BTreeSet::new();
        for &other in earlier {
            if let Kind::Join(earlier) = self.graph.node(other).kind()
                && self.decided(other)?
            {
                joined.insert(earlier.newcomer.device);
            }
        }
        if joined.len() >= uses as usize && !joined.contains(&join.newcomer.device) {
            return void(Void::InviteSpent);
        }
        Ok(())
    }

    /// The part of a list before the case in counting order.
    fn earlier<'l>(&self, list: &'l [Index], case: &Case<'_>) -> &'l [Index] {
        let order: Option<Order> = case.at.map(|at| self.graph.node(at).order);
        let end =
            list.partition_point(|at| order.is_none_or(|order| self.graph.node(*at).order < order));
        &list[..end]
    }

    /// The invite with this key, if it is valid within `past`.
    fn invite(&self, key: &DeviceId, past: &NodeSet) -> Result<&Invite, Stop> {
        let at = self.first_counting(self.index.invites(key), past)?;
        let Some(Kind::Invite(invite)) = at.map(|at| self.graph.node(at).kind()) else {
            return Err(Stop::Void(Void::NoSuchInvite(*key)));
        };
        if self
            .first_counting(self.index.strikes(key), past)?
            .is_some()
        {
            return Err(Stop::Void(Void::InviteWithdrawn));
        }
        Ok(invite)
    }

    /// The standing of `device` within `past`.
    pub(super) fn standing(&self, device: &DeviceId, past: &NodeSet) -> Result<Standing, Stop> {
        if *device == self.recovery {
            return Ok(Standing::Member {
                role: Role::Admin,
                robot: false,
            });
        }
        let Some((role, robot)) = self.role_held(device, past)? else {
            return Ok(Standing::Unknown);
        };
        for &at in self.index.strikes(device) {
            let removal = matches!(self.graph.node(at).kind(), Kind::Remove(_));
            if removal && past.contains(at) && self.decided(at)? {
                return Ok(Standing::Removed);
            }
        }
        Ok(Standing::Member { role, robot })
    }

    /// The role of a device within `past`, even if it was removed there, and whether it is a robot.
    /// Of concurrent enrolments and role changes the lowest role wins.
    pub(super) fn role_held(
        &self,
        device: &DeviceId,
        past: &NodeSet,
    ) -> Result<Option<(Role, bool)>, Stop> {
        let mut given = Vec::new();
        let mut robot = false;
        for &at in self.index.enrolments(device) {
            if past.contains(at) && self.decided(at)? {
                let (role, is_robot) = self.enrolled_as(at)?;
                robot |= is_robot;
                given.push((at, role));
            }
        }
        if given.is_empty() {
            return Ok(None);
        }
        for &at in self.index.strikes(device) {
            if let Kind::SetRole(set) = self.graph.node(at).kind()
                && past.contains(at)
                && self.decided(at)?
            {
                given.push((at, set.role));
            }
        }
        Ok(Some((self.lowest_of_latest(given), robot)))
    }

    /// The role that an enrolment gives, and whether it is a robot's.
    fn enrolled_as(&self, at: Index) -> Result<(Role, bool), Stop> {
        let node = self.graph.node(at);
        Ok(match node.kind() {
            Kind::Add(add) => (add.role, add.robot),
            Kind::Join(join) => {
                // It counts, so the invite did too at the join.
                let at = self.first_counting(self.index.invites(&join.invite), &node.past)?;
                match at.map(|at| self.graph.node(at).kind()) {
                    Some(Kind::Invite(invite)) => (invite.role, false),
                    _ => (Role::Reader, false),
                }
            }
            _ => (Role::Admin, false),
        })
    }

    fn lowest_of_latest(&self, mut given: Vec<(Index, Role)>) -> Role {
        given.sort_by_key(|(at, _)| std::cmp::Reverse(self.graph.node(*at).order));
        let mut superseded = NodeSet::default();
        let mut lowest = Role::Admin;
        for (at, role) in given {
            if !superseded.contains(at) {
                lowest = lowest.min(role);
                superseded.union(&self.graph.node(at).past);
            }
        }
        lowest
    }

    fn first_counting(&self, list: &[Index], past: &NodeSet) -> Result<Option<Index>, Stop> {
        for &at in list {
            if past.contains(at) && self.decided(at)? {
                return Ok(Some(at));
            }
        }
        Ok(None)
    }

    fn decided(&self, at: Index) -> Result<bool, Stop> {
        self.ruling(at).ok_or(Stop::Blocked(at))
    }

    fn ruling(&self, at: Index) -> Option<bool> {
        self.rulings[at as usize]
    }
}

/// The lowest role that may do this. Every member may remove itself.
fn needed(kind: &Kind, signer: &DeviceId) -> Role {
    match kind {
        Kind::Join(_) => Role::Reader,
        Kind::Remove(remove) if remove.device == *signer => Role::Reader,
        _ => Role::Admin,
    }
}

fn void<T>(why: Void) -> Result<T, Stop> {
    Err(Stop::Void(why))
}

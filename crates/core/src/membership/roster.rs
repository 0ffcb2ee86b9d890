//! The roster: the team that results from the operations that count.
//!
//! Only the fold updates it, one counting operation at a time, parents first. Removed devices stay
//! in it, since part of their feeds may still count.

use std::collections::{BTreeMap, BTreeSet};

use super::{
    graph::{Graph, Index, Node},
    operation::{Enrolment, Founding, Invite, Kind, LastEntry, MAX_SETTINGS, Role, Settings},
};
use crate::{
    id::{DeviceId, EntryHash, EpochId, OpId},
    keys::{BoxKey, PublicKeys},
    name::{DeviceLabel, MemberName, TeamName},
};

/// The setting that names the team's hub.
pub const HUB_URL: &str = "hub.url";
/// The setting that names the key with which the team's hub witnesses joins, as a device id.
pub const HUB_KEY: &str = "hub.key";

/// The team as its members see it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Roster {
    name: TeamName,
    recovery: PublicKeys,
    members: BTreeMap<DeviceId, MemberRecord>,
    invites: BTreeMap<DeviceId, InviteRecord>,
    settings: BTreeMap<String, String>,
    epoch: Epoch,
    /// Removals that count, of devices and of invites.
    removals: BTreeSet<OpId>,
    /// What they named: devices, invites, and keys of hubs.
    removed: BTreeSet<DeviceId>,
    /// Devices and invites to which the current epoch's key was wrapped.
    covered: BTreeSet<DeviceId>,
    /// Members without the current key: neither wrapped to them nor to the invite by which they
    /// joined.
    uncovered: BTreeSet<DeviceId>,
}

/// A device that is or was in the team.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MemberRecord {
    pub device: DeviceId,
    pub box_key: BoxKey,
    pub member: MemberName,
    pub label: DeviceLabel,
    pub role: Role,
    /// Its key is shared by any number of runners; it keeps no feed.
    pub robot: bool,
    pub enrolled: Enrolled,
    pub removed: Option<Removal>,
}

/// How a device came into the team.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enrolled {
    pub op: OpId,
    pub depth: u32,
    /// The invite that it joined by.
    pub invite: Option<DeviceId>,
}

/// The end of a device's membership.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Removal {
    /// The removal that leaves the least of the device's feed.
    pub op: OpId,
    pub by: DeviceId,
    /// The last entry of its feed that counts; none if nothing does.
    pub last: Option<LastEntry>,
}

/// An invite.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct InviteRecord {
    pub key: PublicKeys,
    pub role: Role,
    pub member: Option<MemberName>,
    pub expires_ms: u64,
    /// How many devices may join with it in all.
    pub uses: u32,
    /// The devices that did.
    pub joined: BTreeSet<DeviceId>,
    pub by: DeviceId,
    pub op: OpId,
    pub withdrawn: bool,
}

impl InviteRecord {
    /// How many more devices may join with it.
    pub fn uses_left(&self) -> u32 {
        self.uses.saturating_sub(self.joined.len() as u32)
    }

    /// Whether somebody may still join with it at this time.
    pub fn is_open(&self, now_ms: u64) -> bool {
        !self.withdrawn && self.uses_left() > 0 && now_ms <= self.expires_ms
    }
}

/// The key epoch in use. Ordered by preference: more known removals first, then depth.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Epoch {
    removals_seen: usize,
    depth: u32,
    op: OpId,
    id: EpochId,
}

impl Roster {
    pub(super) fn new(node: &Node, founding: &Founding) -> Self {
        let order = node.order;
        let mut roster = Self {
            name: founding.team_name.clone(),
            recovery: founding.recovery,
            members: BTreeMap::new(),
            invites: BTreeMap::new(),
            settings: BTreeMap::new(),
            epoch: Epoch {
                removals_seen: 0,
                depth: order.depth,
                op: order.id,
                id: founding.epoch,
            },
            removals: BTreeSet::new(),
            removed: BTreeSet::new(),
            covered: BTreeSet::new(),
            uncovered: BTreeSet::new(),
        };
        roster.enrol(node, &founding.founder, |_| Role::Admin, false, None);
        roster
    }

    pub fn name(&self) -> &TeamName {
        &self.name
    }

    /// The offline admin key. It has a role, but is no member and publishes nothing.
    pub fn recovery(&self) -> PublicKeys {
        self.recovery
    }

    /// A device's current role. None if it is not in the team.
    pub fn role(&self, device: &DeviceId) -> Option<Role> {
        if *device == self.recovery.device {
            return Some(Role::Admin);
        }
        self.current(device).map(|record| record.role)
    }

    pub fn is_member(&self, device: &DeviceId) -> bool {
        self.role(device).is_some()
    }

    pub fn may_publish(&self, device: &DeviceId) -> bool {
        self.current(device)
            .is_some_and(|record| record.role >= Role::Publisher && !record.robot)
    }

    /// A device that is in the team, or was.
    pub fn member(&self, device: &DeviceId) -> Option<&MemberRecord> {
        self.members.get(device)
    }

    fn current(&self, device: &DeviceId) -> Option<&MemberRecord> {
        self.members
            .get(device)
            .filter(|record| record.removed.is_none())
    }

    /// The devices in the team, by id.
    pub fn devices(&self) -> impl Iterator<Item = &MemberRecord> {
        self.members
            .values()
            .filter(|record| record.removed.is_none())
    }

    /// The devices that were removed, by id.
    pub fn removed(&self) -> impl Iterator<Item = &MemberRecord> {
        self.members
            .values()
            .filter(|record| record.removed.is_some())
    }

    /// The devices of admins, without the recovery key.
    pub fn admins(&self) -> impl Iterator<Item = &MemberRecord> {
        self.devices().filter(|record| record.role == Role::Admin)
    }

    /// Devices whose key any number of runners share.
    pub fn robots(&self) -> impl Iterator<Item = DeviceId> {
        self.devices()
            .filter(|record| record.robot)
            .map(|record| record.device)
    }

    pub fn is_robot(&self, device: &DeviceId) -> bool {
        self.current(device).is_some_and(|record| record.robot)
    }

    /// All invites ever made, by key.
    pub fn invites(&self) -> impl Iterator<Item = &InviteRecord> {
        self.invites.values()
    }

    pub fn invite(&self, key: &DeviceId) -> Option<&InviteRecord> {
        self.invites.get(key)
    }

    /// Whether a feed entry of this device counts: all of a member's, and those of a removed device
    /// up to the entry in its removal. The caller has checked the chain.
    pub fn entry_counts(&self, device: &DeviceId, seq: u64, hash: &EntryHash) -> bool {
        match self.members.get(device).map(|record| record.removed) {
            None => false,
            Some(None) => true,
            Some(Some(removal)) => removal
                .last
                .is_some_and(|last| seq < last.seq || (seq == last.seq && *hash == last.hash)),
        }
    }

    pub fn setting(&self, name: &str) -> Option<&str> {
        self.settings.get(name).map(String::as_str)
    }

    pub fn settings(&self) -> &BTreeMap<String, String> {
        &self.settings
    }

    pub fn hub_url(&self) -> Option<&str> {
        self.setting(HUB_URL)
    }

    /// The key with which the hub witnesses joins.
    pub fn hub_key(&self) -> Option<DeviceId> {
        self.setting(HUB_KEY).and_then(|key| key.parse().ok())
    }

    /// Whether this is the hub's key, and nobody took it out.
    pub fn is_hub_key(&self, key: &DeviceId) -> bool {
        self.hub_key() == Some(*key) && !self.removed.contains(key)
    }

    /// The epoch whose key is used from now on.
    pub fn current_epoch(&self) -> EpochId {
        self.epoch.id
    }

    /// Whether an admin should rotate the key: somebody was removed since, or a member cannot
    /// open it.
    pub fn rotation_due(&self) -> bool {
        self.epoch.removals_seen < self.removals.len() || !self.uncovered.is_empty()
    }

    /// Applies one operation that counts. `role` returns a device's role from all counting
    /// operations.
    pub(super) fn apply(&mut self, graph: &Graph, at: Index, role: impl Fn(&DeviceId) -> Role) {
        let node = graph.node(at);
        match node.kind() {
            Kind::Found(_) => {}
            Kind::Add(add) => self.enrol(node, &add.newcomer, &role, add.robot, None),
            Kind::Join(join) => {
                self.enrol(node, &join.newcomer, &role, false, Some(join.invite));
                if let Some(invite) = self.invites.get_mut(&join.invite) {
                    invite.joined.insert(join.newcomer.device);
                }
            }
            Kind::Remove(remove) => self.remove(node, &remove.device, remove.last),
            Kind::SetRole(set) => {
                if let Some(record) = self.members.get_mut(&set.device) {
                    record.role = role(&set.device);
                }
            }
            Kind::Invite(invite) => self.invite_made(node, invite),
            Kind::Rotate(rotate) => self.rotate(graph, node, rotate.epoch),
            Kind::Settings(settings) => self.set(settings),
        }
        self.cover(graph, node);
    }

    fn enrol(
        &mut self,
        node: &Node,
        newcomer: &Enrolment,
        role: impl Fn(&DeviceId) -> Role,
        robot: bool,
        invite: Option<DeviceId>,
    ) {
        let Enrolment {
            device,
            box_key,
            member,
            label,
        } = newcomer.clone();
        let role = role(&device);
        // Enrolled twice at once: the first counts.
        let record = self.members.entry(device).or_insert_with(|| MemberRecord {
            device,
            box_key,
            member,
            label,
            role,
            robot,
            enrolled: Enrolled {
                op: node.order.id,
                depth: node.order.depth,
                invite,
            },
            removed: None,
        });
        record.robot |= robot;
        record.role = role;
        let by_invite = invite.is_some_and(|key| self.covered.contains(&key));
        if record.removed.is_none() && !by_invite && !self.covered.contains(&device) {
            self.uncovered.insert(device);
        }
    }

    fn remove(&mut self, node: &Node, device: &DeviceId, last: Option<LastEntry>) {
        self.removals.insert(node.order.id);
        self.removed.insert(*device);
        self.uncovered.remove(device);
        if let Some(invite) = self.invites.get_mut(device) {
            invite.withdrawn = true;
        }
        if let Some(record) = self.members.get_mut(device) {
            let removal = Removal {
                op: node.order.id,
                by: node.signer(),
                last,
            };
            let least = record.removed.map_or(removal, |other| {
                std::cmp::min_by_key(other, removal, |removal| (removal.last, removal.op))
            });
            record.removed = Some(least);
        }
    }

    fn invite_made(&mut self, node: &Node, invite: &Invite) {
        self.invites
            .entry(invite.key.device)
            .or_insert_with(|| InviteRecord {
                key: invite.key,
                role: invite.role,
                member: invite.member.clone(),
                expires_ms: invite.expires_ms,
                uses: invite.uses,
                joined: BTreeSet::new(),
                by: node.signer(),
                op: node.order.id,
                withdrawn: false,
            });
    }

    fn rotate(&mut self, graph: &Graph, node: &Node, id: EpochId) {
        let seen = |op: &OpId| graph.index(op).is_some_and(|at| node.past.contains(at));
        let removals_seen = self.removals.iter().filter(|op| seen(op)).count();
        let epoch = Epoch {
            removals_seen,
            depth: node.order.depth,
            op: node.order.id,
            id,
        };
        if epoch < self.epoch {
            return;
        }
        self.epoch = epoch;
        self.covered = node.op.value().wraps().iter().map(|wrap| wrap.to).collect();
        let has_key = |record: &MemberRecord| {
            let invite = record.enrolled.invite;
            self.covered.contains(&record.device)
                || invite.is_some_and(|key| self.covered.contains(&key))
        };
        self.uncovered = self
            .devices()
            .filter(|record| !has_key(record))
            .map(|record| record.device)
            .collect();
    }

    /// Notes who has the current key, by its rotation or by a later operation.
    fn cover(&mut self, graph: &Graph, node: &Node) {
        let epoch_seen = self.epoch.op == node.order.id
            || graph
                .index(&self.epoch.op)
                .is_some_and(|at| node.past.contains(at));
        if !epoch_seen {
            return;
        }
        for wrap in node.op.value().wraps() {
            if wrap.epoch == self.epoch.id {
                self.covered.insert(wrap.to);
                self.uncovered.remove(&wrap.to);
            }
        }
    }

    fn set(&mut self, settings: &Settings) {
        for (name, value) in &settings.changes {
            match value {
                None => {
                    self.settings.remove(name);
                }
                Some(value)
                    if self.settings.contains_key(name) || self.settings.len() < MAX_SETTINGS =>
                {
                    self.settings.insert(name.clone(), value.clone());
                }
                Some(_) => {}
            }
        }
    }
}

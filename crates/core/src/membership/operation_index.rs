//! Indexes operations by the device, invite, name or epoch they are about, so that the rules never
//! scan the whole graph.
//!
//! Every list is in counting order ([`super::graph::Order`]), not in order of arrival, so it is the
//! same on every replica.

use std::collections::BTreeMap;

use super::{
    graph::{Graph, Index},
    operation::{Enrolment, Kind},
    roster::HUB_KEY,
};
use crate::{
    id::{DeviceId, EpochId},
    name::MemberName,
};

#[derive(Debug, Default)]
pub(super) struct OperationIndex {
    signed: Lists<DeviceId>,
    enrolments: Lists<DeviceId>,
    strikes: Lists<DeviceId>,
    invites: Lists<DeviceId>,
    joins: Lists<DeviceId>,
    names: Lists<String>,
    epochs: Lists<EpochId>,
    hub_settings: Lists<()>,
    hubs: Lists<DeviceId>,
}

impl OperationIndex {
    pub(super) fn enter(&mut self, graph: &Graph, at: Index) {
        let node = graph.node(at);
        self.signed.enter(graph, node.signer(), at);
        if let Some(enrolment) = enrolment(node.kind()) {
            self.enrolments.enter(graph, enrolment.device, at);
            self.names.enter(graph, folded(&enrolment.member), at);
        }
        if let Some(epoch) = node.op.value().new_epoch() {
            self.epochs.enter(graph, epoch, at);
        }
        match node.kind() {
            Kind::Invite(invite) => self.invites.enter(graph, invite.key.device, at),
            Kind::Join(join) => self.joins.enter(graph, join.invite, at),
            Kind::Settings(settings) => {
                if let Some(value) = settings.changes.get(HUB_KEY) {
                    self.hub_settings.enter(graph, (), at);
                    if let Some(key) = hub_key(value.as_deref()) {
                        self.hubs.enter(graph, key, at);
                    }
                }
            }
            kind => {
                if let Some(device) = struck(kind) {
                    self.strikes.enter(graph, device, at);
                }
            }
        }
    }

    pub(super) fn signed_by(&self, device: &DeviceId) -> &[Index] {
        self.signed.of(device)
    }

    /// Operations that enrol `device`.
    pub(super) fn enrolments(&self, device: &DeviceId) -> &[Index] {
        self.enrolments.of(device)
    }

    /// Removals and role changes of this device or invite.
    pub(super) fn strikes(&self, device: &DeviceId) -> &[Index] {
        self.strikes.of(device)
    }

    pub(super) fn invites(&self, key: &DeviceId) -> &[Index] {
        self.invites.of(key)
    }

    pub(super) fn joins(&self, invite: &DeviceId) -> &[Index] {
        self.joins.of(invite)
    }

    /// Enrolments under this member name. Case is ignored: `Alice` and `alice` are one name.
    pub(super) fn named(&self, member: &MemberName) -> &[Index] {
        self.names.of(&folded(member))
    }

    /// Operations that set or clear the hub's key.
    pub(super) fn hub_settings(&self) -> &[Index] {
        self.hub_settings.of(&())
    }

    /// Operations that set the hub's key to `key`.
    pub(super) fn hubs(&self, key: &DeviceId) -> &[Index] {
        self.hubs.of(key)
    }

    pub(super) fn epochs(&self, epoch: &EpochId) -> &[Index] {
        self.epochs.of(epoch)
    }
}

/// Parses the value of the setting [`HUB_KEY`]. None if it is not a device id.
pub(super) fn hub_key(value: Option<&str>) -> Option<DeviceId> {
    value.and_then(|value| value.parse().ok())
}

/// The device that an operation enrols.
pub(super) fn enrolment(kind: &Kind) -> Option<&Enrolment> {
    match kind {
        Kind::Found(founding) => Some(&founding.founder),
        Kind::Add(add) => Some(&add.newcomer),
        Kind::Join(join) => Some(&join.newcomer),
        _ => None,
    }
}

/// The device or invite whose rights an operation takes or changes.
pub(super) fn struck(kind: &Kind) -> Option<DeviceId> {
    match kind {
        Kind::Remove(remove) => Some(remove.device),
        Kind::SetRole(set) => Some(set.device),
        _ => None,
    }
}

fn folded(member: &MemberName) -> String {
    member.as_str().to_ascii_lowercase()
}

#[derive(Debug)]
struct Lists<K>(BTreeMap<K, Vec<Index>>);

impl<K> Default for Lists<K> {
    fn default() -> Self {
        Self(BTreeMap::new())
    }
}

impl<K: Ord> Lists<K> {
    fn enter(&mut self, graph: &Graph, key: K, at: Index) {
        let list = self.0.entry(key).or_default();
        let order = graph.node(at).order;
        let place = list.partition_point(|other| graph.node(*other).order < order);
        list.insert(place, at);
    }

    fn of(&self, key: &K) -> &[Index] {
        self.0.get(key).map_or(&[], Vec::as_slice)
    }
}

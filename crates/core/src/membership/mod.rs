//! Membership: the graph of signed operations, and the roster that results from it.
//!
//! Replicas with the same operations have the same roster, whatever the order of arrival. An
//! operation whose author lacks the right is kept, so that all graphs are equal, but does not
//! count. Nothing here reads a clock or makes a key.

pub mod author;
mod fold;
mod graph;
pub mod keyring;
pub mod operation;
mod operation_index;
mod roster;
mod rules;
mod void;
pub mod wire;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub use author::{Author, AuthorError};
pub use keyring::KeyRing;
pub use operation::{Enrolment, KeyWrap, LastEntry, Operation, Role};
pub use roster::{Enrolled, HUB_KEY, HUB_URL, InviteRecord, MemberRecord, Removal, Roster};
pub use void::Void;

use self::{
    fold::{Effect, Fold},
    graph::{Graph, Index, NodeSet, Waiting},
    operation::{Kind, MAX_PARENTS},
};
use crate::{
    id::{DeviceId, OpId, TeamId},
    signed::Verified,
    ticket::OpPrefix,
};

/// The most operations of a team.
pub const MAX_OPERATIONS: usize = 10_000;
/// The most bytes of all operations of a team.
pub const MAX_OPERATIONS_LEN: usize = 64 << 20;

const DIGEST_CONTEXT: &str = "podsync 2026 membership digest 1";

/// A team's operations and its roster.
#[derive(Debug)]
pub struct Membership {
    team: TeamId,
    graph: Graph,
    waiting: Waiting,
    fold: Fold,
    roster: Roster,
}

/// Why an operation founds no team.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FoundingError {
    #[error(
        "operation {0} does not found a team; fetch the team's operations from their beginning"
    )]
    NotAFounding(OpId),
}

/// The result of inserting an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Insert {
    /// It is in the graph now, with the operations that waited for it. [`Membership::why_void`]
    /// tells whether it counts.
    New,
    /// It was in the graph already.
    Known,
    /// It waits until these operations arrive.
    Waiting { missing: Vec<OpId> },
    /// Not kept.
    Refused(Refusal),
}

/// Why an operation is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the operation belongs to team {0}, not to this one; drop it")]
    OtherTeam(TeamId),
    #[error("device {0} signed an operation, but nothing before it mentions that device; drop it")]
    Stranger(DeviceId),
    #[error(
        "the team has as many operations as are kept ({MAX_OPERATIONS}, or {MAX_OPERATIONS_LEN} bytes); found a new team and share its pods there"
    )]
    Full,
}

impl Membership {
    pub fn new(founding: Verified<Operation>) -> Result<Self, FoundingError> {
        let founding = Arc::new(founding);
        let id = OpId::of(founding.bytes());
        let Kind::Found(details) = founding.value().kind.clone() else {
            return Err(FoundingError::NotAFounding(id));
        };
        let mut graph = Graph::default();
        let mut fold = Fold::new(details.recovery.device);
        let at = graph.push(id, founding, NodeSet::default(), 0);
        fold.enter(&graph, at);
        let mut roster = Roster::new(graph.node(at), &details);
        roster.apply(&graph, at, |_| Role::Admin);
        let team = TeamId::from_bytes(*id.as_bytes());
        Ok(Self {
            team,
            graph,
            waiting: Waiting::default(),
            fold,
            roster,
        })
    }

    /// The team: the hash of its founding operation's envelope.
    pub fn team(&self) -> TeamId {
        self.team
    }

    /// Inserts one operation, and those that waited for it.
    pub fn insert(&mut self, op: impl Into<Arc<Verified<Operation>>>) -> Insert {
        let insert = self.take_in(op.into());
        self.settle();
        insert
    }

    /// Inserts many operations and returns the result of each, in order. Cheaper than one by one.
    pub fn insert_all<I>(&mut self, ops: I) -> Vec<Insert>
    where
        I: IntoIterator,
        I::Item: Into<Arc<Verified<Operation>>>,
    {
        let inserts = ops.into_iter().map(|op| self.take_in(op.into())).collect();
        self.settle();
        inserts
    }

    /// The operations that no other names as its past, ascending.
    pub fn heads(&self) -> &[OpId] {
        self.graph.heads()
    }

    /// The heads for a new operation to name: all, or the deepest if there are too many.
    pub fn parents_for_next(&self) -> Vec<OpId> {
        let mut heads: Vec<_> = self
            .heads()
            .iter()
            .filter_map(|id| self.graph.get(id))
            .map(|node| node.order)
            .collect();
        heads.sort_unstable_by(|a, b| b.cmp(a));
        heads.truncate(MAX_PARENTS);
        let mut parents: Vec<_> = heads.into_iter().map(|order| order.id).collect();
        parents.sort_unstable();
        parents
    }

    pub fn contains(&self, id: &OpId) -> bool {
        self.graph.contains(id)
    }

    /// The operation whose id has this prefix.
    pub fn starting_with(&self, prefix: &OpPrefix) -> Option<&Verified<Operation>> {
        self.graph.starting_with(prefix).map(|node| &*node.op)
    }

    /// The number of operations; at least one.
    pub fn op_count(&self) -> usize {
        self.graph.nodes().len()
    }

    /// An operation's envelope as received.
    pub fn op_bytes(&self, id: &OpId) -> Option<Arc<[u8]>> {
        self.graph.get(id).map(|node| node.op.bytes().clone())
    }

    /// The operations that a holder of `known` and their ancestors lacks, parents first. Unknown
    /// ids are ignored.
    pub fn ops_since(&self, known: &[OpId]) -> Vec<Arc<[u8]>> {
        let (past, _) = self.graph.closure(known);
        (0..)
            .zip(self.graph.nodes())
            .filter(|(at, _)| !past.contains(*at))
            .map(|(_, node)| node.op.bytes().clone())
            .collect()
    }

    /// The operations that prove its removal to `device`, which holds `known`: the removal and its
    /// ancestors, parents first, nothing later. Empty if it was not removed or knows it already.
    pub fn removal_since(&self, device: &DeviceId, known: &[OpId]) -> Vec<Arc<[u8]>> {
        let record = self.roster.member(device);
        let Some(removal) = record.and_then(|record| record.removed) else {
            return Vec::new();
        };
        let (past, _) = self.graph.closure(known);
        let (to_show, _) = self.graph.closure(&[removal.op]);
        (0..)
            .zip(self.graph.nodes())
            .filter(|(at, _)| to_show.contains(*at) && !past.contains(*at))
            .map(|(_, node)| node.op.bytes().clone())
            .collect()
    }

    /// Equal for equal sets of operations.
    pub fn digest(&self) -> [u8; 32] {
        let mut hasher = blake3::Hasher::new_derive_key(DIGEST_CONTEXT);
        hasher.update(self.team.as_bytes());
        for head in self.heads() {
            hasher.update(head.as_bytes());
        }
        *hasher.finalize().as_bytes()
    }

    pub fn state(&self) -> &Roster {
        &self.roster
    }

    /// Why a known operation does not count. None if it counts or is unknown.
    pub fn why_void(&self, id: &OpId) -> Option<Void> {
        self.graph
            .index(id)
            .and_then(|at| self.fold.why_void(&self.graph, at))
    }

    /// Whether an operation would count if `signer` made it now, on top of its parents.
    pub fn would_count(&self, signer: DeviceId, op: &Operation) -> Result<(), Void> {
        let (past, _) = self.graph.closure(&op.parents);
        self.fold.would_count(&self.graph, signer, op, &past)
    }

    /// All operations and whether each counts, parents first.
    pub(crate) fn operations(&self) -> impl DoubleEndedIterator<Item = (&Operation, bool)> {
        let numbered = self.graph.nodes().iter().enumerate();
        numbered.map(|(at, node)| (node.op.value(), self.fold.counts(at as Index)))
    }

    /// Adds an operation to the graph or to the waiting ones. The roster is valid again after
    /// [`Self::settle`].
    fn take_in(&mut self, op: Arc<Verified<Operation>>) -> Insert {
        let id = OpId::of(op.bytes());
        if self.graph.contains(&id) {
            return Insert::Known;
        }
        // A founding operation names no team, so a second one stops here too.
        if op.team() != self.team {
            return Insert::Refused(Refusal::OtherTeam(op.team()));
        }
        let missing = self.graph.missing(op.value());
        if !missing.is_empty() {
            self.waiting.park(id, op, &missing);
            return Insert::Waiting { missing };
        }
        if let Err(refusal) = self.admit(id, op) {
            return Insert::Refused(refusal);
        }
        let mut arrived = vec![id];
        while let Some(parent) = arrived.pop() {
            for (id, op) in self.waiting.take_children(&parent) {
                let missing = self.graph.missing(op.value());
                if !missing.is_empty() {
                    self.waiting.park(id, op, &missing);
                } else if self.admit(id, op).is_ok() {
                    arrived.push(id);
                }
            }
        }
        Insert::New
    }

    fn admit(&mut self, id: OpId, op: Arc<Verified<Operation>>) -> Result<(), Refusal> {
        if self.op_count() >= MAX_OPERATIONS
            || self.graph.byte_len() + op.bytes().len() > MAX_OPERATIONS_LEN
        {
            return Err(Refusal::Full);
        }
        // All replicas see the same past of an operation, so all refuse the same strangers. An
        // operation of a member without the needed right is kept and void.
        let (past, depth) = self.graph.closure(&op.value().parents);
        if !self.fold.is_heard_of(&op.signer(), &past) {
            return Err(Refusal::Stranger(op.signer()));
        }
        let at = self.graph.push(id, op, past, depth);
        if self.fold.enter(&self.graph, at) == (Effect::Ruled { counts: true }) {
            self.apply(at);
        }
        Ok(())
    }

    fn settle(&mut self) {
        if !self.fold.is_stale() {
            return;
        }
        self.fold.refold(&self.graph);
        let first = self.graph.node(0);
        if let Kind::Found(founding) = &first.kind() {
            self.roster = Roster::new(first, founding);
        }
        for at in fold::in_order(&self.graph) {
            if self.fold.counts(at) {
                self.apply(at);
            }
        }
    }

    fn apply(&mut self, at: Index) {
        let fold = &self.fold;
        let role = |device: &DeviceId| fold.role(&self.graph, device);
        self.roster.apply(&self.graph, at, role);
    }
}

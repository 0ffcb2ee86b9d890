//! The graph of operations: which operation knew which others, and operations that wait for
//! parents.
//!
//! Nodes are numbered in order of arrival, parents first. The numbers differ between replicas and
//! are used only inside this crate's membership code; every decision uses [`Order`] instead.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use crate::{
    id::{DeviceId, OpId},
    membership::operation::Operation,
    signed::Verified,
    ticket::OpPrefix,
};

/// A node's number, in order of arrival.
pub(super) type Index = u32;

/// The order in which operations are counted: by depth, then by id. Parents come first in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Order {
    pub(super) depth: u32,
    pub(super) id: OpId,
}

#[derive(Debug)]
pub(super) struct Node {
    pub(super) order: Order,
    pub(super) op: Arc<Verified<Operation>>,
    /// All operations that its author knew.
    pub(super) past: NodeSet,
}

impl Node {
    pub(super) fn kind(&self) -> &super::operation::Kind {
        &self.op.value().kind
    }

    pub(super) fn signer(&self) -> DeviceId {
        self.op.signer()
    }
}

#[derive(Debug, Default)]
pub(super) struct Graph {
    nodes: Vec<Node>,
    by_id: BTreeMap<OpId, Index>,
    /// Ascending.
    heads: Vec<OpId>,
    /// Bytes of all envelopes held.
    len: usize,
}

impl Graph {
    pub(super) fn contains(&self, id: &OpId) -> bool {
        self.by_id.contains_key(id)
    }

    pub(super) fn starting_with(&self, prefix: &OpPrefix) -> Option<&Node> {
        let (id, at) = self.by_id.range(prefix.first()..).next()?;
        (OpPrefix::of(id) == *prefix).then(|| self.node(*at))
    }

    pub(super) fn get(&self, id: &OpId) -> Option<&Node> {
        self.index(id).map(|at| self.node(at))
    }

    pub(super) fn index(&self, id: &OpId) -> Option<Index> {
        self.by_id.get(id).copied()
    }

    pub(super) fn node(&self, at: Index) -> &Node {
        &self.nodes[at as usize]
    }

    pub(super) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    pub(super) fn heads(&self) -> &[OpId] {
        &self.heads
    }

    /// Bytes of all envelopes held.
    pub(super) fn byte_len(&self) -> usize {
        self.len
    }

    pub(super) fn missing(&self, op: &Operation) -> Vec<OpId> {
        op.parents
            .iter()
            .filter(|id| !self.contains(id))
            .copied()
            .collect()
    }

    /// Appends an operation whose parents are all here. `past` and `depth` are their
    /// [`Self::closure`].
    pub(super) fn push(
        &mut self,
        id: OpId,
        op: Arc<Verified<Operation>>,
        past: NodeSet,
        depth: u32,
    ) -> Index {
        let at = self.nodes.len() as Index;
        let parents = &op.value().parents;
        self.heads.retain(|head| !parents.contains(head));
        let place = self.heads.binary_search(&id).unwrap_or_else(|place| place);
        self.heads.insert(place, id);
        self.len += op.bytes().len();
        self.nodes.push(Node {
            order: Order { depth, id },
            op,
            past,
        });
        self.by_id.insert(id, at);
        at
    }

    /// The union of `ids` and their ancestors that are known here, and the depth of an operation on
    /// top of them.
    pub(super) fn closure(&self, ids: &[OpId]) -> (NodeSet, u32) {
        let mut past = NodeSet::default();
        let mut depth = 0;
        for at in ids.iter().filter_map(|id| self.index(id)) {
            past.union(&self.node(at).past);
            past.insert(at);
            depth = depth.max(self.node(at).order.depth + 1);
        }
        (past, depth)
    }

    /// Everything that is here.
    pub(super) fn all(&self) -> NodeSet {
        let mut all = NodeSet(vec![u64::MAX; self.nodes.len() / 64]);
        for at in self.nodes.len() / 64 * 64..self.nodes.len() {
            all.insert(at as Index);
        }
        all
    }

    /// Whether neither knew the other.
    pub(super) fn concurrent(&self, a: Index, b: Index) -> bool {
        a != b && !self.node(a).past.contains(b) && !self.node(b).past.contains(a)
    }
}

/// A set of node numbers.
#[derive(Debug, Clone, Default)]
pub(super) struct NodeSet(Vec<u64>);

impl NodeSet {
    pub(super) fn contains(&self, at: Index) -> bool {
        self.0
            .get(at as usize / 64)
            .is_some_and(|word| word >> (at % 64) & 1 == 1)
    }

    pub(super) fn insert(&mut self, at: Index) {
        let word = at as usize / 64;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        self.0[word] |= 1 << (at % 64);
    }

    pub(super) fn union(&mut self, other: &Self) {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        for (word, theirs) in self.0.iter_mut().zip(&other.0) {
            *word |= theirs;
        }
    }

    pub(super) fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }
}

/// Operations that arrived before their parents.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    ops: BTreeMap<OpId, Arc<Verified<Operation>>>,
    /// The waiting operations by missing parent.
    by_parent: BTreeMap<OpId, BTreeSet<OpId>>,
    len: usize,
}

impl Waiting {
    /// The most operations that wait.
    pub(super) const MAX: usize = 1000;
    /// The most bytes that wait.
    pub(super) const MAX_LEN: usize = 16 << 20;

    /// Stores an operation until its parents arrive. If there is no room, all waiting ones are
    /// dropped: they can be fetched again, and junk must not block the space for ever.
    pub(super) fn park(&mut self, id: OpId, op: Arc<Verified<Operation>>, missing: &[OpId]) {
        if self.ops.contains_key(&id) {
            return;
        }
        let len = op.bytes().len();
        if self.ops.len() >= Self::MAX || self.len + len > Self::MAX_LEN {
            *self = Self::default();
        }
        self.len += len;
        self.ops.insert(id, op);
        for parent in missing {
            self.by_parent.entry(*parent).or_default().insert(id);
        }
    }

    /// Removes the operations that waited for `parent`. Some may still lack another parent.
    pub(super) fn take_children(&mut self, parent: &OpId) -> Vec<(OpId, Arc<Verified<Operation>>)> {
        let children = self.by_parent.remove(parent).unwrap_or_default();
        children
            .into_iter()
            .filter_map(|id| self.remove(&id).map(|op| (id, op)))
            .collect()
    }

    fn remove(&mut self, id: &OpId) -> Option<Arc<Verified<Operation>>> {
        let op = self.ops.remove(id)?;
        self.len -= op.bytes().len();
        for parent in &op.value().parents {
            if let Some(children) = self.by_parent.get_mut(parent) {
                children.remove(id);
                if children.is_empty() {
                    self.by_parent.remove(parent);
                }
            }
        }
        Some(op)
    }
}

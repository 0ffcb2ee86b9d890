//! The fold: decides for every operation whether it counts (a ruling). The result is the same on
//! every replica, whatever the order of arrival.
//!
//! A ruling may depend on others, even on later operations: a removal also voids what its device
//! did concurrently. So each ruling is made once its dependencies are decided, which has one
//! outcome. If operations depend on each other in a ring (removals that void each other through a
//! third), the ring is cut at its most senior device. An operation that changes no other ruling is
//! judged alone.

use std::collections::{BTreeSet, VecDeque};

use super::{
    graph::{Graph, Index, Node, NodeSet},
    operation::{Kind, Operation, Role},
    operation_index::{OperationIndex, enrolment, struck},
    rules::{Bench, Case, Seniority, Stop},
    void::Void,
};
use crate::id::DeviceId;

/// The most cuts in one fold. Honest teams need none. More means an attack on the fold: what is
/// still open then does not count.
const MAX_CUTS: usize = 64;

#[derive(Debug)]
pub(super) struct Fold {
    recovery: DeviceId,
    index: OperationIndex,
    rulings: Vec<Option<bool>>,
    /// Pairs of an operation and a strike (a removal or role change) that a cut made ineffective
    /// against it.
    spared: BTreeSet<(Index, Index)>,
    /// The limit on cuts was reached.
    knotted: bool,
    /// All rulings have to be made again.
    stale: bool,
}

/// The effect of an operation on the rulings.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Effect {
    /// One more ruling; the others stand.
    Ruled { counts: bool },
    /// All rulings have to be made again.
    Disturbed,
}

impl Fold {
    pub(super) fn new(recovery: DeviceId) -> Self {
        Self {
            recovery,
            index: OperationIndex::default(),
            rulings: Vec::new(),
            spared: BTreeSet::new(),
            knotted: false,
            stale: false,
        }
    }

    /// Adds the newest node of the graph. After one [`Effect::Disturbed`], all further ones are
    /// until [`Self::refold`].
    pub(super) fn enter(&mut self, graph: &Graph, at: Index) -> Effect {
        self.index.enter(graph, at);
        self.rulings.push(None);
        if self.stale || self.disturbs(graph, at) {
            self.stale = true;
            return Effect::Disturbed;
        }
        match self.bench(graph).judge(&case(graph, at)) {
            Err(Stop::Blocked(_)) => {
                self.stale = true;
                Effect::Disturbed
            }
            ruling => {
                let counts = ruling.is_ok();
                self.rulings[at as usize] = Some(counts);
                Effect::Ruled { counts }
            }
        }
    }

    /// Whether an operation may change earlier rulings, or belongs in the middle of an
    /// order-dependent list.
    fn disturbs(&self, graph: &Graph, at: Index) -> bool {
        let node = graph.node(at);
        if !self.is_plain() {
            return true;
        }
        if node.past.len() == at as usize {
            return false;
        }
        let index = &self.index;
        let more_than_this = |list: &[Index]| list.len() > 1;
        let after = |list: &[Index]| list.last().is_some_and(|last| *last != at);
        let beside = |list: &[Index]| list.iter().any(|other| graph.concurrent(*other, at));
        if let Some(device) = struck(node.kind()) {
            return beside(index.signed_by(&device)) || beside(index.joins(&device));
        }
        if let Some(enrolment) = enrolment(node.kind()) {
            return more_than_this(index.enrolments(&enrolment.device))
                || after(index.named(&enrolment.member))
                || matches!(node.kind(), Kind::Join(join)
                    if after(index.joins(&join.invite)) && self.may_be_overspent(graph, &join.invite));
        }
        match node.kind() {
            Kind::Invite(invite) => more_than_this(index.invites(&invite.key.device)),
            Kind::Rotate(rotate) => more_than_this(index.epochs(&rotate.epoch)),
            _ => true,
        }
    }

    /// Whether more devices joined by an invite than it allows, so that the order decides which of
    /// them stay.
    fn may_be_overspent(&self, graph: &Graph, invite: &DeviceId) -> bool {
        let joins = self.index.joins(invite).len();
        self.index.invites(invite).iter().any(|at| {
            matches!(graph.node(*at).kind(), Kind::Invite(invite) if joins > invite.uses as usize)
        })
    }

    /// Whether the fold needed no cut.
    pub(super) fn is_plain(&self) -> bool {
        self.spared.is_empty() && !self.knotted
    }

    pub(super) fn is_stale(&self) -> bool {
        self.stale
    }

    /// Makes all rulings anew.
    pub(super) fn refold(&mut self, graph: &Graph) {
        self.rulings = vec![None; graph.nodes().len()];
        self.spared.clear();
        self.knotted = false;
        self.stale = false;
        let mut due: VecDeque<Index> = in_order(graph).into();
        let mut blocked: Vec<Vec<Index>> = vec![Vec::new(); graph.nodes().len()];
        loop {
            while let Some(at) = due.pop_front() {
                if self.rulings[at as usize].is_some() {
                    continue;
                }
                match self.bench(graph).judge(&case(graph, at)) {
                    Err(Stop::Blocked(on)) => blocked[on as usize].push(at),
                    ruling => {
                        self.rulings[at as usize] = Some(ruling.is_ok());
                        due.extend(blocked[at as usize].drain(..));
                    }
                }
            }
            let open: Vec<Index> = in_order(graph)
                .into_iter()
                .filter(|at| self.rulings[*at as usize].is_none())
                .collect();
            let Some(&first) = open.first() else { break };
            match self.cut(graph, first) {
                Some(cut) if self.spared.len() < MAX_CUTS => {
                    self.spared.insert(cut);
                }
                _ => {
                    self.knotted = true;
                    for at in &open {
                        self.rulings[*at as usize] = Some(false);
                    }
                }
            }
            for waiting in &mut blocked {
                waiting.clear();
            }
            due.extend(open);
        }
    }

    /// Finds a ring of operations that depend on each other. Returns the operation in it to spare,
    /// and the strike to spare it from: removals and demotions first, then the most senior.
    fn cut(&self, graph: &Graph, from: Index) -> Option<(Index, Index)> {
        let ring = self.ring(graph, from);
        ring.into_iter()
            .filter(|(at, on)| {
                struck(graph.node(*on).kind()).is_some() && graph.concurrent(*at, *on)
            })
            .min_by_key(|(at, on)| {
                let node = graph.node(*at);
                let strike = match node.kind() {
                    Kind::Remove(_) => true,
                    Kind::SetRole(set) => set.role < Role::Admin,
                    _ => false,
                };
                (
                    !strike,
                    self.presumed_seniority(graph, node),
                    node.order,
                    graph.node(*on).order,
                )
            })
    }

    /// The ring that open rulings lead to from `from`, as pairs of an operation and the one it
    /// depends on.
    fn ring(&self, graph: &Graph, from: Index) -> Vec<(Index, Index)> {
        let bench = self.bench(graph);
        let mut walked: Vec<(Index, Index)> = Vec::new();
        let mut seen = NodeSet::default();
        let mut at = from;
        while !seen.contains(at) {
            seen.insert(at);
            match bench.judge(&case(graph, at)) {
                Err(Stop::Blocked(on)) => {
                    walked.push((at, on));
                    at = on;
                }
                _ => return Vec::new(),
            }
        }
        let start = walked
            .iter()
            .position(|(first, _)| *first == at)
            .unwrap_or(walked.len());
        walked.split_off(start)
    }

    /// Seniority, assuming that an undecided enrolment counts.
    fn presumed_seniority(&self, graph: &Graph, node: &Node) -> Seniority {
        let presumed: Vec<Option<bool>> = self
            .rulings
            .iter()
            .map(|ruling| Some(ruling.unwrap_or(true)))
            .collect();
        Bench {
            rulings: &presumed,
            ..self.bench(graph)
        }
        .seniority(&node.signer(), &node.past)
        .unwrap_or((u32::MAX, true, node.signer()))
    }

    pub(super) fn counts(&self, at: Index) -> bool {
        self.rulings[at as usize] == Some(true)
    }

    /// The role that a device has, or had when it was removed.
    pub(super) fn role(&self, graph: &Graph, device: &DeviceId) -> Role {
        let held = self.bench(graph).role_held(device, &graph.all());
        held.ok().flatten().map_or(Role::Reader, |(role, _)| role)
    }

    /// Why an operation does not count. None if it does.
    pub(super) fn why_void(&self, graph: &Graph, at: Index) -> Option<Void> {
        if self.counts(at) {
            return None;
        }
        match self.bench(graph).judge(&case(graph, at)) {
            Err(Stop::Void(why)) => Some(why),
            _ => Some(Void::Knotted),
        }
    }

    /// Whether an operation with this `past` would count if it were made now.
    pub(super) fn would_count(
        &self,
        graph: &Graph,
        signer: DeviceId,
        op: &Operation,
        past: &NodeSet,
    ) -> Result<(), Void> {
        match self.bench(graph).judge(&Case {
            at: None,
            signer,
            op,
            past,
        }) {
            Ok(()) => Ok(()),
            Err(Stop::Void(why)) => Err(why),
            Err(Stop::Blocked(_)) => Err(Void::Knotted),
        }
    }

    /// Whether any operation in `past` could have given `device` a right in the team.
    pub(super) fn is_heard_of(&self, device: &DeviceId, past: &NodeSet) -> bool {
        *device == self.recovery
            || self
                .index
                .enrolments(device)
                .iter()
                .chain(self.index.hubs(device))
                .any(|at| past.contains(*at))
    }

    pub(super) fn bench<'a>(&'a self, graph: &'a Graph) -> Bench<'a> {
        Bench {
            graph,
            index: &self.index,
            recovery: self.recovery,
            rulings: &self.rulings,
            spared: &self.spared,
        }
    }
}

/// All nodes in counting order.
pub(super) fn in_order(graph: &Graph) -> Vec<Index> {
    let mut order: Vec<Index> = (0..graph.nodes().len() as Index).collect();
    order.sort_unstable_by_key(|at| graph.node(*at).order);
    order
}

fn case(graph: &Graph, at: Index) -> Case<'_> {
    let node = graph.node(at);
    Case {
        at: Some(at),
        signer: node.signer(),
        op: node.op.value(),
        past: &node.past,
    }
}

//! The world: nodes, links, virtual time, and the loop that turns one event after the other.
//!
//! Every change of an engine goes through [`World::feed`], and so through the invariants.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use podsync_core::{
    DeviceId, TeamId,
    engine::{Answer, CommandId, Engine, EngineError, Input, Now, TransferId},
    keys::DeviceSecret,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{
    bucket::Bucket,
    chance,
    disk::Mood,
    figures::Figures,
    genesis::Genesis,
    happening::Happening,
    history::{Broken, History, Note, Violation},
    hub::Hub,
    id::{Conduct, NodeId},
    invariants,
    ledger::Ledger,
    node::{Node, Peer},
    opened::Opened,
    queue::Queue,
    weather::Climate,
};

/// The wall clock when the world begins, in Unix milliseconds.
const BEGINNING_MS: u64 = 1_800_000_000_000;

pub struct World {
    seed: u64,
    step: u64,
    pub(super) now: Duration,
    pub(super) rng: ChaCha8Rng,
    queue: Queue<Happening>,
    pub(super) nodes: Vec<Node>,
    /// Pairs of nodes that want to be connected.
    pub(super) links: Vec<(NodeId, NodeId)>,
    /// Sessions that carry messages, by their two ends.
    pub(super) sessions: BTreeMap<u64, (NodeId, NodeId)>,
    pub(super) sessions_opened: u64,
    /// Addresses that were given out.
    pub(super) given: u32,
    /// Nodes on the other side of a partition.
    pub(super) far_side: BTreeSet<NodeId>,
    pub(super) climate: Climate,
    pub(super) bucket: Bucket,
    pub(super) hub: Option<Hub>,
    pub(super) ledger: Ledger,
    pub(super) opened: Opened,
    pub(super) answers: BTreeMap<(NodeId, CommandId), Result<Answer, EngineError>>,
    /// Transfers that ended, and whether everything arrived.
    pub(super) ended: BTreeMap<(NodeId, TransferId), bool>,
    pub(super) figures: Figures,
    history: History,
}

impl World {
    pub fn new(seed: u64, climate: Climate) -> Self {
        Self {
            seed,
            step: 0,
            now: Duration::ZERO,
            rng: ChaCha8Rng::seed_from_u64(seed),
            queue: Queue::new(),
            nodes: Vec::new(),
            links: Vec::new(),
            sessions: BTreeMap::new(),
            sessions_opened: 0,
            given: 0,
            far_side: BTreeSet::new(),
            climate,
            bucket: Bucket::default(),
            hub: None,
            ledger: Ledger::default(),
            opened: Opened::default(),
            answers: BTreeMap::new(),
            ended: BTreeMap::new(),
            figures: Figures::default(),
            history: History::default(),
        }
    }

    /// A world whose first `count` nodes are one team already; the first is its admin.
    pub fn founded(seed: u64, climate: Climate, count: usize) -> Result<(Self, TeamId), Violation> {
        let mut world = Self::new(seed, climate);
        let secrets: Vec<_> = (0..count).map(|_| world.secret()).collect();
        let others: Vec<_> = secrets.iter().skip(1).collect();
        let (team, genesis) = Genesis::team(&secrets[0], &others, &mut world.rng);
        let genesis = Arc::new(genesis);
        world.ledger.durable.extend(&genesis.hashes);
        for secret in secrets {
            world.move_in(Node::new(secret, genesis.clone()))?;
        }
        Ok((world, team))
    }

    /// A new home with a fresh key, up and alone.
    pub fn add(&mut self) -> Result<NodeId, Violation> {
        let secret = self.secret();
        self.move_in(Node::new(secret, Arc::default()))
    }

    fn secret(&mut self) -> DeviceSecret {
        DeviceSecret::from_seed(chance::seed(&mut self.rng))
    }

    fn move_in(&mut self, node: Node) -> Result<NodeId, Violation> {
        let id = NodeId(self.nodes.len());
        self.nodes.push(node);
        self.start(id)?;
        Ok(id)
    }

    /// Copies a node's home as it lies there, and starts the copy. From here on the device signs two
    /// feeds, unless it is kept from it.
    pub fn copy_home(&mut self, node: NodeId) -> Result<NodeId, Violation> {
        let copy = self.node(node).copy_home();
        self.ledger.copied.insert(copy.device());
        self.move_in(copy)
    }

    /// Has two nodes connect, and connect anew whenever the connection breaks.
    pub fn link(&mut self, one: NodeId, other: NodeId) {
        self.links.push((one, other));
        self.enter(
            Duration::ZERO,
            Happening::Dial {
                link: self.links.len() - 1,
            },
        );
    }

    /// Links everybody with everybody.
    pub fn link_all(&mut self) {
        for other in 0..self.nodes.len() {
            (0..other).for_each(|one| self.link(NodeId(one), NodeId(other)));
        }
    }

    /// Links every node to some random others.
    pub fn link_sparsely(&mut self, each: usize) {
        for one in 0..self.nodes.len() {
            for _ in 0..each.div_ceil(2) {
                let other = (one + self.rng.random_range(1..self.nodes.len())) % self.nodes.len();
                self.link(NodeId(one), NodeId(other));
            }
        }
    }

    pub fn nodes(&self) -> impl Iterator<Item = NodeId> + use<> {
        (0..self.nodes.len()).map(NodeId)
    }

    pub fn device(&self, node: NodeId) -> DeviceId {
        self.node(node).device()
    }

    pub fn now(&self) -> Duration {
        self.now
    }

    pub fn figures(&self) -> Figures {
        Figures {
            steps: self.step,
            passed: self.now,
            ..self.figures
        }
    }

    pub fn is_up(&self, node: NodeId) -> bool {
        self.node(node).is_up()
    }

    pub fn set_mood(&mut self, node: NodeId, mood: Mood) {
        self.node_mut(node).disk.mood = mood;
    }

    pub fn set_conduct(&mut self, node: NodeId, conduct: Conduct) {
        self.node_mut(node).conduct = conduct;
    }

    pub fn set_climate(&mut self, climate: Climate) {
        self.climate = climate;
    }

    /// Stops a node as a power failure does.
    pub fn crash(&mut self, node: NodeId) -> Result<(), Violation> {
        if !self.node(node).is_up() {
            return Ok(());
        }
        self.figures.crashes += 1;
        self.note(node, "crashes", None, 0);
        let (nodes, rng) = (&mut self.nodes, &mut self.rng);
        let survived = nodes[node.0].disk.crash(rng);
        self.now_durable(node, &survived)?;
        self.node_mut(node).lose_memory();
        self.sever(|one, other| one == node || other == node);
        Ok(())
    }

    /// Starts a node from what its disk holds.
    pub fn start(&mut self, node: NodeId) -> Result<(), Violation> {
        let seed = chance::seed(&mut self.rng);
        let now = self.clock();
        let home = self.node_mut(node);
        if home.is_up() {
            return Ok(());
        }
        let mut engine = Engine::new(home.secret.clone(), seed, now);
        home.disk
            .restore()
            .for_each(|record| engine.restore(record));
        engine.start(now);
        for (blob, len, bytes) in home.store.runs() {
            engine.handle(Input::Held { blob, len, bytes }, now);
        }
        home.engine = Some(engine);
        self.note(node, "starts", None, 0);
        self.settle(node)?;
        self.roam_anew(node)?;
        self.tell_of_bucket(node)
    }

    /// Lets a span of time pass.
    pub fn run_for(&mut self, span: Duration) -> Result<(), Violation> {
        let until = self.now + span;
        while let Some((at, what)) = self.queue.next(until) {
            self.turn(at, what)?;
        }
        self.now = until;
        Ok(())
    }

    /// Lets time pass until something holds, at most for `patience`. Whether it came to hold.
    pub fn run_until(
        &mut self,
        patience: Duration,
        mut holds: impl FnMut(&Self) -> bool,
    ) -> Result<bool, Violation> {
        let until = self.now + patience;
        while !holds(self) {
            let Some((at, what)) = self.queue.next(until) else {
                self.now = until;
                return Ok(holds(self));
            };
            self.turn(at, what)?;
        }
        Ok(true)
    }

    fn turn(&mut self, at: Duration, what: Happening) -> Result<(), Violation> {
        self.now = at;
        self.step += 1;
        match what {
            Happening::Wake { node, life } => self.wake(node, life),
            Happening::Written { node, life } => self.written(node, life),
            Happening::Dial { link } => self.dial(link),
            Happening::Arrive {
                to,
                from,
                session,
                parcel,
            } => self.arrive(to, from, session, parcel),
            Happening::TimedOut {
                node,
                life,
                request,
            } => self.timed_out(node, life, request),
            Happening::Notice {
                node,
                device,
                session,
            } => self.notice(node, device, session),
            Happening::Piece { node, life, fetch } => self.piece(node, life, fetch),
            Happening::BucketPiece { node, life, fetch } => self.bucket_piece(node, life, fetch),
            Happening::DownloadGivenUp { node, life, fetch } => {
                self.download_given_up(node, life, fetch)
            }
            Happening::Roam { node, life } => self.roam(node, life),
            Happening::Dialled {
                node,
                life,
                device,
                addresses,
            } => self.dialled(node, life, device, &addresses),
            Happening::Poll { node } => self.poll(node),
            Happening::GivenUp { node, life, fetch } => self.given_up(node, life, fetch),
        }
    }

    fn wake(&mut self, node: NodeId, life: u32) -> Result<(), Violation> {
        let now = self.now;
        let home = self.node_mut(node);
        if home.life != life || home.wake.is_none_or(|due| due > now) {
            return Ok(());
        }
        home.wake = None;
        self.feed(node, Input::Tick)
    }

    /// Passes an input to an engine, and carries out its outputs.
    pub(super) fn feed(&mut self, node: NodeId, input: Input) -> Result<(), Violation> {
        let now = self.clock();
        let Some(engine) = &mut self.node_mut(node).engine else {
            return Ok(());
        };
        engine.handle(input, now);
        self.settle(node)
    }

    /// Carries out an engine's outputs, then checks its state.
    fn settle(&mut self, node: NodeId) -> Result<(), Violation> {
        while let Some(output) = self
            .node_mut(node)
            .engine
            .as_mut()
            .and_then(Engine::poll_output)
        {
            self.carry_out(node, output)?;
        }
        self.schedule_wake(node);
        let home = &mut self.nodes[node.0];
        let checked = invariants::after_a_step(home, &self.ledger);
        self.judge(node, checked)
    }

    fn schedule_wake(&mut self, node: NodeId) {
        let now = self.now;
        let home = self.node_mut(node);
        let Some(due) = home.engine.as_ref().and_then(Engine::poll_timeout) else {
            return;
        };
        let due = due.max(now);
        if home.wake.is_none_or(|wake| due < wake) {
            home.wake = Some(due);
            let life = home.life;
            self.queue.enter(due, Happening::Wake { node, life });
        }
    }

    pub(super) fn clock(&self) -> Now {
        let elapsed = u64::try_from(self.now.as_millis()).unwrap_or(u64::MAX);
        Now {
            mono: self.now,
            wall_ms: BEGINNING_MS + elapsed,
        }
    }

    pub(super) fn node(&self, node: NodeId) -> &Node {
        &self.nodes[node.0]
    }

    pub(super) fn node_mut(&mut self, node: NodeId) -> &mut Node {
        &mut self.nodes[node.0]
    }

    pub(super) fn enter(&mut self, after: Duration, what: Happening) {
        self.queue.enter(self.now + after, what);
    }

    pub(super) fn note(
        &mut self,
        node: NodeId,
        what: &'static str,
        other: Option<NodeId>,
        number: u64,
    ) {
        self.history.note(Note {
            at: self.now,
            step: self.step,
            node,
            what,
            other,
            number,
        });
    }

    /// Turns a broken rule into a report.
    pub(super) fn judge(&self, node: NodeId, checked: Result<(), Broken>) -> Result<(), Violation> {
        checked.map_err(|broken| self.violation(Some(node), broken.0))
    }

    pub(super) fn violation(&self, node: Option<NodeId>, what: String) -> Violation {
        Violation {
            seed: self.seed,
            step: self.step,
            at: self.now,
            node,
            what,
            notes: self.history.notes(),
        }
    }

    /// The node at the other end of a session, and that end's view of it.
    pub(super) fn peer(&self, node: NodeId, device: &DeviceId) -> Option<Peer> {
        self.node(node).peers.get(device).copied()
    }
}

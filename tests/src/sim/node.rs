//! One home: an engine, and what a daemon keeps around it.
//!
//! The engine and everything that is only in memory goes with a crash ([`Node::lose_memory`]); the
//! log and the blobs stay. A node is not a device: a copied home makes two nodes of one device.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
    sync::Arc,
    time::Duration,
};

use podsync_core::{
    BlobId, DeviceId, TeamId,
    engine::{
        CommandId, Engine, FetchId, Gate, GossipId, RequestId, ResponderId, TransferId, WantedBlob,
    },
    keys::DeviceSecret,
    wire::Protocol,
};

use super::{
    asked::Asked,
    disk::Disk,
    genesis::Genesis,
    id::{Conduct, NodeId},
    place::Roaming,
    store::Store,
};

/// The other end of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Peer {
    pub(super) node: NodeId,
    pub(super) session: u64,
}

/// A gossip message that waits for its verdict.
#[derive(Debug, Clone)]
pub(super) struct PendingGossip {
    pub(super) team: TeamId,
    pub(super) from: NodeId,
    pub(super) bytes: Arc<[u8]>,
}

/// A request that this node has made.
#[derive(Debug, Clone, Copy)]
pub(super) struct Requested {
    pub(super) peer: Peer,
    pub(super) protocol: Protocol,
}

/// A request that a peer has made, and which life of the peer it was.
#[derive(Debug, Clone, Copy)]
pub(super) struct Responder {
    pub(super) peer: Peer,
    pub(super) life: u32,
    pub(super) request: RequestId,
    pub(super) protocol: Protocol,
}

/// A range on its way here.
#[derive(Debug, Clone)]
pub(super) struct Fetch {
    pub(super) peer: Peer,
    pub(super) blob: BlobId,
    pub(super) range: Range<u64>,
    pub(super) total_len: u64,
    pub(super) arrived: u64,
}

/// A range on its way from the bucket.
#[derive(Debug, Clone)]
pub(super) struct Download {
    pub(super) blob: BlobId,
    pub(super) range: Range<u64>,
    pub(super) total_len: u64,
    pub(super) arrived: u64,
}

pub(super) struct Node {
    pub(super) secret: DeviceSecret,
    pub(super) conduct: Conduct,
    /// Counts the starts; what was sent to an earlier life is lost.
    pub(super) life: u32,
    /// None while the node is down.
    pub(super) engine: Option<Engine>,
    pub(super) disk: Disk,
    pub(super) store: Store,
    pub(super) gate: Gate,
    pub(super) peers: BTreeMap<DeviceId, Peer>,
    pub(super) pending_gossip: BTreeMap<GossipId, PendingGossip>,
    /// Gossip that came or went already.
    pub(super) seen: BTreeSet<[u8; 32]>,
    pub(super) requested: BTreeMap<RequestId, Requested>,
    /// Requests to devices that weren't connected.
    pub(super) unsent: BTreeSet<RequestId>,
    pub(super) responders: BTreeMap<ResponderId, Responder>,
    pub(super) fetches: BTreeMap<FetchId, Fetch>,
    /// Ranges on their way from the bucket.
    pub(super) downloads: BTreeMap<FetchId, Download>,
    pub(super) asked: BTreeMap<CommandId, Asked>,
    pub(super) transfers: BTreeMap<TransferId, Vec<WantedBlob>>,
    /// Its place, where it finds others by itself; others are linked by the story.
    pub(super) roaming: Option<Roaming>,
    /// When the engine is woken next.
    pub(super) wake: Option<Duration>,
    /// The newest head of each feed that was safe on the disk: it outlives the engine.
    pub(super) floors: BTreeMap<(TeamId, DeviceId), u64>,
    minted: u64,
}

impl Node {
    pub(super) fn new(secret: DeviceSecret, genesis: Arc<Genesis>) -> Self {
        Self {
            secret,
            conduct: Conduct::Honest,
            life: 0,
            engine: None,
            disk: Disk::new(genesis),
            store: Store::default(),
            gate: Gate::default(),
            peers: BTreeMap::new(),
            pending_gossip: BTreeMap::new(),
            seen: BTreeSet::new(),
            requested: BTreeMap::new(),
            unsent: BTreeSet::new(),
            responders: BTreeMap::new(),
            fetches: BTreeMap::new(),
            downloads: BTreeMap::new(),
            asked: BTreeMap::new(),
            transfers: BTreeMap::new(),
            roaming: None,
            wake: None,
            floors: BTreeMap::new(),
            minted: 0,
        }
    }

    /// The home copied as it lies there, blobs and all. The copy is down.
    pub(super) fn copy_home(&self) -> Self {
        let mut copy = Self::new(self.secret.clone(), Arc::default());
        copy.disk = self.disk.clone();
        copy.disk.lose_queue();
        copy.store = self.store.clone();
        copy.floors = self.floors.clone();
        copy
    }

    pub(super) fn device(&self) -> DeviceId {
        self.secret.id()
    }

    pub(super) fn is_up(&self) -> bool {
        self.engine.is_some()
    }

    pub(super) fn is_joining(&self) -> bool {
        self.asked
            .values()
            .any(|asked| matches!(asked, Asked::Join { .. }))
    }

    /// An identifier that this node's daemon never gave before.
    pub(super) fn mint(&mut self) -> u64 {
        self.minted += 1;
        self.minted
    }

    pub(super) fn lose_memory(&mut self) {
        self.life += 1;
        self.engine = None;
        self.gate = Gate::default();
        self.peers.clear();
        self.pending_gossip.clear();
        self.seen.clear();
        self.requested.clear();
        self.unsent.clear();
        self.responders.clear();
        self.fetches.clear();
        self.downloads.clear();
        self.asked.clear();
        self.transfers.clear();
        self.wake = None;
    }
}

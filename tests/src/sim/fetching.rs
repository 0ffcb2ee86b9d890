//! Ranges of blobs on their way from one node to another.
//!
//! Whether a range is served is asked of the provider's own gate at the moment of serving, as the
//! daemon does. Bytes that have arrived are in the store, verified, even if the rest never comes.

use std::{ops::Range, time::Duration};

use podsync_core::{
    BlobId, DeviceId,
    engine::{FetchFailed, FetchId, Input},
};
use rand::RngExt;

use super::{
    Mood, chance,
    happening::Happening,
    history::Violation,
    id::{Conduct, NodeId},
    invariants,
    node::{Fetch, Peer},
    parcel::Parcel,
    traffic::SILENCE,
    world::World,
};

/// Bytes that arrive together.
const PIECE_LEN: u64 = 2 << 20;
/// How long a piece is under way, for each range that its provider serves at the time.
const PIECE_TAKES: Range<Duration> = Duration::from_millis(10)..Duration::from_millis(60);

impl World {
    pub(super) fn fetch(
        &mut self,
        node: NodeId,
        fetch: FetchId,
        device: DeviceId,
        blob: BlobId,
        range: Range<u64>,
        total_len: u64,
    ) {
        let life = self.node(node).life;
        let peer = self.peer(node, &device);
        self.note(node, "fetches", peer.map(|peer| peer.node), fetch.0);
        let nobody = Peer { node, session: 0 };
        let entry = Fetch {
            peer: peer.unwrap_or(nobody),
            blob,
            range: range.clone(),
            total_len,
            arrived: 0,
        };
        self.node_mut(node).fetches.insert(fetch, entry);
        match peer {
            Some(peer) => {
                self.enter(SILENCE, Happening::GivenUp { node, life, fetch });
                self.send(
                    node,
                    peer,
                    Parcel::Ask {
                        life,
                        fetch,
                        blob,
                        range,
                    },
                );
            }
            None => self.enter(
                Duration::from_millis(1),
                Happening::GivenUp { node, life, fetch },
            ),
        }
    }

    /// A provider is asked for a range.
    pub(super) fn serve(
        &mut self,
        node: NodeId,
        asker: Peer,
        life: u32,
        fetch: FetchId,
        blob: BlobId,
        range: Range<u64>,
    ) -> Result<(), Violation> {
        let device = self.device(asker.node);
        if !self.is_served(node, device, blob)? || !self.node(node).store.has(&blob, range) {
            return self.end_fetch(asker.node, life, fetch, FetchFailed::Refused);
        }
        self.enter(
            Duration::ZERO,
            Happening::Piece {
                node: asker.node,
                life,
                fetch,
            },
        );
        Ok(())
    }

    /// Whether a node's gate lets a device have a blob. A device needs no connection to be asked
    /// about: this is how a stranger is played.
    pub fn is_served(
        &self,
        node: NodeId,
        device: DeviceId,
        blob: BlobId,
    ) -> Result<bool, Violation> {
        let home = self.node(node);
        if !home.gate.may_fetch(&device, &blob) {
            return Ok(false);
        }
        let checked = invariants::blobs_go_to_members_only(home, &device, &blob, &self.ledger);
        self.judge(node, checked)?;
        Ok(true)
    }

    pub(super) fn piece(&mut self, node: NodeId, life: u32, id: FetchId) -> Result<(), Violation> {
        let home = self.node(node);
        if home.life != life {
            return Ok(());
        }
        let Some(fetch) = home.fetches.get(&id) else {
            return Ok(());
        };
        if !self.sessions.contains_key(&fetch.peer.session) {
            return Ok(());
        }
        let conduct = self.node(fetch.peer.node).conduct;
        if conduct != Conduct::Honest && conduct != Conduct::Tamperer && fetch.arrived > 0 {
            return match conduct {
                Conduct::Liar => self.end_fetch(node, life, id, FetchFailed::Liar),
                _ => Ok(()),
            };
        }
        if home.disk.mood == Mood::Failing && self.rng.random_bool(0.05) {
            return self.end_fetch(node, life, id, FetchFailed::Local);
        }
        self.take_piece(node, life, id)
    }

    fn take_piece(&mut self, node: NodeId, life: u32, id: FetchId) -> Result<(), Violation> {
        let home = self.node_mut(node);
        let Some(fetch) = home.fetches.get_mut(&id) else {
            return Ok(());
        };
        let len = fetch.range.end - fetch.range.start;
        fetch.arrived = (fetch.arrived + PIECE_LEN).min(len);
        let (
            bytes,
            Fetch {
                blob,
                range,
                total_len,
                peer,
                ..
            },
        ) = (fetch.arrived, fetch.clone());
        home.store
            .put(blob, total_len, range.start..range.start + bytes);
        if bytes == len {
            home.fetches.remove(&id);
            return self.feed(node, Input::FetchDone { fetch: id });
        }
        let busy = self.fetches_from(peer.node);
        let takes = chance::time(&mut self.rng, &PIECE_TAKES) * busy;
        self.enter(
            takes,
            Happening::Piece {
                node,
                life,
                fetch: id,
            },
        );
        self.feed(node, Input::FetchProgress { fetch: id, bytes })
    }

    /// How many ranges a node serves.
    fn fetches_from(&self, provider: NodeId) -> u32 {
        let its = |peer: &Peer| {
            let fetches = self.node(peer.node).fetches.values();
            fetches.filter(|fetch| fetch.peer.node == provider).count()
        };
        let busy: usize = self.node(provider).peers.values().map(its).sum();
        busy.clamp(1, 64) as u32
    }

    pub(super) fn given_up(
        &mut self,
        node: NodeId,
        life: u32,
        id: FetchId,
    ) -> Result<(), Violation> {
        let home = self.node(node);
        let Some(fetch) = home.fetches.get(&id).filter(|_| home.life == life) else {
            return Ok(());
        };
        let alive = self.sessions.contains_key(&fetch.peer.session);
        let still_moving =
            alive && fetch.arrived > 0 && self.node(fetch.peer.node).conduct == Conduct::Honest;
        if still_moving {
            self.enter(
                SILENCE,
                Happening::GivenUp {
                    node,
                    life,
                    fetch: id,
                },
            );
            return Ok(());
        }
        let why = if fetch.peer.session == 0 {
            FetchFailed::NotConnected
        } else {
            FetchFailed::Stalled
        };
        self.end_fetch(node, life, id, why)
    }

    fn end_fetch(
        &mut self,
        node: NodeId,
        life: u32,
        fetch: FetchId,
        why: FetchFailed,
    ) -> Result<(), Violation> {
        let home = self.node_mut(node);
        if home.life != life || home.fetches.remove(&fetch).is_none() {
            return Ok(());
        }
        self.note(node, "is not sent", None, fetch.0);
        self.feed(node, Input::FetchFailed { fetch, why })
    }
}

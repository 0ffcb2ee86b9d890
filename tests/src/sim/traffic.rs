//! Connections, and the messages on them.
//!
//! A session is the life of one connection. Messages of one session are never delivered on the
//! next. An end that has not noticed the end of its session sends into the void.

use std::{sync::Arc, time::Duration};

use podsync_core::{
    DeviceId, TeamId,
    engine::{GossipId, Input, RequestFailed, RequestId, ResponderId},
    wire::Protocol,
};

use super::{
    chance, forge,
    happening::Happening,
    hash::hash,
    history::Violation,
    id::{Conduct, NodeId},
    invariants,
    node::{Peer, PendingGossip, Responder},
    parcel::Parcel,
    world::World,
};

impl World {
    /// Splits the network: these nodes on one side, all others on the other.
    pub fn partition(&mut self, far_side: impl IntoIterator<Item = NodeId>) {
        self.far_side = far_side.into_iter().collect();
        let far = self.far_side.clone();
        self.sever(move |one, other| far.contains(&one) != far.contains(&other));
    }

    pub fn heal(&mut self) {
        self.far_side.clear();
    }

    /// Ends the sessions between nodes that `cut` picks; their ends notice by and by.
    pub(super) fn sever(&mut self, cut: impl Fn(NodeId, NodeId) -> bool) {
        let ended: Vec<_> = self
            .sessions
            .extract_if(.., |_, (one, other)| cut(*one, *other))
            .collect();
        for (session, (one, other)) in ended {
            self.announce_end(session, one, other);
        }
    }

    /// Has both ends of a session notice that it is over.
    pub(super) fn announce_end(&mut self, session: u64, one: NodeId, other: NodeId) {
        for (node, gone) in [(one, other), (other, one)] {
            let device = self.device(gone);
            let after = chance::time(&mut self.rng, &self.climate.notice);
            self.enter(
                after,
                Happening::Notice {
                    node,
                    device,
                    session,
                },
            );
        }
    }

    pub(super) fn notice(
        &mut self,
        node: NodeId,
        device: DeviceId,
        session: u64,
    ) -> Result<(), Violation> {
        let home = self.node_mut(node);
        if home
            .peers
            .get(&device)
            .is_none_or(|peer| peer.session != session)
        {
            return Ok(());
        }
        let gone = home.peers.remove(&device).map(|peer| peer.node);
        let requests: Vec<_> = home
            .requested
            .extract_if(.., |_, asked| asked.peer.session == session)
            .collect();
        let fetches: Vec<_> = home
            .fetches
            .extract_if(.., |_, fetch| fetch.peer.session == session)
            .collect();
        self.note(node, "loses", gone, session);
        for (id, _) in requests {
            self.feed(
                node,
                Input::Response {
                    id,
                    result: Err(RequestFailed::NotConnected),
                },
            )?;
        }
        for (fetch, _) in fetches {
            self.feed(
                node,
                Input::FetchFailed {
                    fetch,
                    why: podsync_core::engine::FetchFailed::Cut,
                },
            )?;
        }
        self.tell(
            node,
            podsync_daemon::addresses::Input::Disconnected { device },
        )?;
        self.feed(node, Input::Disconnected { device })
    }

    /// Connects a link that isn't, or tries again later.
    pub(super) fn dial(&mut self, link: usize) -> Result<(), Violation> {
        let again = chance::time(&mut self.rng, &self.climate.redial);
        self.enter(again, Happening::Dial { link });
        let (one, other) = self.links[link];
        if self.may_connect(one, other) {
            self.connect(one, other)?;
        }
        Ok(())
    }

    fn may_connect(&self, one: NodeId, other: NodeId) -> bool {
        let (here, there) = (self.node(one), self.node(other));
        let reachable = self.far_side.contains(&one) == self.far_side.contains(&other);
        let listed = here.gate.is_member(&there.device()) || there.gate.is_member(&here.device());
        here.is_up()
            && there.is_up()
            && reachable
            && here.device() != there.device()
            && (listed || here.is_joining() || there.is_joining())
            && !here.peers.contains_key(&there.device())
            && !there.peers.contains_key(&here.device())
    }

    pub(super) fn connect(&mut self, one: NodeId, other: NodeId) -> Result<(), Violation> {
        self.sessions_opened += 1;
        let session = self.sessions_opened;
        self.sessions.insert(session, (one, other));
        self.note(one, "connects", Some(other), session);
        for (node, peer) in [(one, other), (other, one)] {
            let device = self.device(peer);
            self.node_mut(node).peers.insert(
                device,
                Peer {
                    node: peer,
                    session,
                },
            );
        }
        for (node, peer) in [(one, other), (other, one)] {
            let device = self.device(peer);
            self.feed(node, Input::Connected { device })?;
        }
        Ok(())
    }

    /// Puts a message on its way, unless its session is over or it gets lost.
    pub(super) fn send(&mut self, from: NodeId, peer: Peer, parcel: Parcel) {
        if self.is_lost() || !self.sessions.contains_key(&peer.session) {
            return;
        }
        let after = chance::time(&mut self.rng, &self.climate.latency);
        self.enter(
            after,
            Happening::Arrive {
                to: peer.node,
                from,
                session: peer.session,
                parcel,
            },
        );
    }

    /// Sends gossip to all neighbours in the team's topic.
    pub(super) fn pass_on(
        &mut self,
        node: NodeId,
        team: TeamId,
        bytes: &Arc<[u8]>,
        but: Option<NodeId>,
    ) {
        let peers: Vec<_> = self.node(node).peers.values().copied().collect();
        for peer in peers.into_iter().filter(|peer| Some(peer.node) != but) {
            self.send(
                node,
                peer,
                Parcel::Gossip {
                    team,
                    bytes: bytes.clone(),
                },
            );
        }
    }

    pub(super) fn arrive(
        &mut self,
        to: NodeId,
        from: NodeId,
        session: u64,
        parcel: Parcel,
    ) -> Result<(), Violation> {
        if !self.sessions.contains_key(&session) {
            return Ok(());
        }
        let peer = Peer {
            node: from,
            session,
        };
        match parcel {
            Parcel::Gossip { team, bytes } => self.hear(to, from, team, bytes),
            Parcel::Request {
                life,
                id,
                protocol,
                bytes,
            } => self.be_asked(to, peer, life, id, protocol, &bytes),
            Parcel::Response { life, id, bytes } => self.be_answered(to, from, life, id, &bytes),
            Parcel::Ask {
                life,
                fetch,
                blob,
                range,
            } => self.serve(to, peer, life, fetch, blob, range),
        }
    }

    fn hear(
        &mut self,
        to: NodeId,
        from: NodeId,
        team: TeamId,
        bytes: Arc<[u8]>,
    ) -> Result<(), Violation> {
        let device = self.device(from);
        let home = self.node_mut(to);
        if !home.is_up() || !home.seen.insert(hash(&bytes)) {
            return Ok(());
        }
        let Ok(message) = self.opened.gossip(&bytes) else {
            return Ok(());
        };
        let home = self.node_mut(to);
        let id = GossipId(home.mint());
        home.pending_gossip
            .insert(id, PendingGossip { team, from, bytes });
        self.note(to, "hears gossip", Some(from), 0);
        self.feed(
            to,
            Input::Gossip {
                id,
                team,
                from: device,
                message,
            },
        )
    }

    fn be_asked(
        &mut self,
        to: NodeId,
        peer: Peer,
        life: u32,
        request: RequestId,
        protocol: Protocol,
        bytes: &[u8],
    ) -> Result<(), Violation> {
        let Ok(opened) = self.opened.request(protocol, bytes) else {
            return Ok(());
        };
        let device = self.device(peer.node);
        let home = self.node_mut(to);
        let id = ResponderId(home.mint());
        home.responders.insert(
            id,
            Responder {
                peer,
                life,
                request,
                protocol,
            },
        );
        self.note(to, "is asked", Some(peer.node), protocol as u64);
        self.feed(
            to,
            Input::Request {
                id,
                device,
                request: opened,
            },
        )
    }

    pub(super) fn respond(
        &mut self,
        node: NodeId,
        id: ResponderId,
        bytes: Vec<u8>,
    ) -> Result<(), Violation> {
        let Some(responder) = self.node_mut(node).responders.remove(&id) else {
            return Err(self.violation(
                Some(node),
                format!("{id:?} was answered twice, or never asked"),
            ));
        };
        let Responder {
            peer,
            life,
            request,
            protocol,
        } = responder;
        let checked = invariants::answers_are_durable(&self.ledger, protocol, &bytes);
        self.judge(node, checked)?;
        let bytes = match self.node(node).conduct {
            Conduct::Tamperer => forge::tampered(protocol, bytes),
            Conduct::Honest | Conduct::Liar | Conduct::Staller => bytes,
        };
        self.note(node, "answers", Some(peer.node), protocol as u64);
        self.send(
            node,
            peer,
            Parcel::Response {
                life,
                id: request,
                bytes,
            },
        );
        Ok(())
    }

    fn be_answered(
        &mut self,
        to: NodeId,
        from: NodeId,
        life: u32,
        id: RequestId,
        bytes: &[u8],
    ) -> Result<(), Violation> {
        let home = self.node_mut(to);
        if home.life != life {
            return Ok(());
        }
        let Some(requested) = home.requested.remove(&id) else {
            return Ok(());
        };
        self.note(to, "is answered", Some(from), requested.protocol as u64);
        let result = self
            .opened
            .response(requested.protocol, bytes)
            .map_err(|_| RequestFailed::Garbage);
        self.feed(to, Input::Response { id, result })
    }

    pub(super) fn timed_out(
        &mut self,
        node: NodeId,
        life: u32,
        id: RequestId,
    ) -> Result<(), Violation> {
        let home = self.node_mut(node);
        if home.life != life {
            return Ok(());
        }
        let why = match home.requested.remove(&id) {
            Some(_) => RequestFailed::TimedOut,
            None if home.unsent.remove(&id) => RequestFailed::NotConnected,
            None => return Ok(()),
        };
        self.feed(
            node,
            Input::Response {
                id,
                result: Err(why),
            },
        )
    }
}

/// How long an answer or a range may take that nobody sends.
pub(super) const SILENCE: Duration = Duration::from_secs(30);

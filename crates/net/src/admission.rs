//! Decides which connections may stay: one per peer, and few for peers in no team.
//!
//! Both sides of a pair may dial at once. Each then sees two connections and must close the same
//! one on its own: the one that the smaller peer id dialled stays. A second connection long after
//! the first means that the peer has lost the first, or it wouldn't dial.
//!
//! A peer that dials may look for another device, whose old address this one has now. It hangs up once it
//! sees whom it reached. So a connection that a peer opened replaces another only after the peer has
//! answered on it.
//!
//! A robot is the exception: any number of runners hold its key, and each connects separately. All
//! their connections stay, up to a share of the total.

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    net::IpAddr,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        CloseConnection, ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm,
        NetworkBehaviour, THandler, THandlerInEvent, THandlerOutEvent, ToSwarm, dummy,
    },
};

use crate::{
    gate::Gate,
    peer_id::{device_of, ip_of},
};

/// The most inbound connections of peers in no team, so that strangers cannot take every slot.
const MAX_STRANGERS: usize = 8;

/// The most inbound connections of robots' runners, so that a CI with a hundred jobs leaves room for
/// people.
pub(crate) const MAX_RUNNERS: usize = 12;

/// The most time between two connections that come from dialling at once.
const SIMULTANEOUS: Duration = Duration::from_secs(5);

/// Why a connection was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    #[error("the peer's key is not ed25519")]
    ForeignKey,
    #[error("too many peers that no team lists are connected")]
    Strangers,
    #[error("another connection to this peer stands")]
    Duplicate,
    #[error("too many runners of robots are connected")]
    Runners,
}

#[derive(Debug, Clone, Copy)]
struct Connection {
    id: ConnectionId,
    dialled_by_us: bool,
    dialled_by_smaller: bool,
    remote: Option<IpAddr>,
    since: Instant,
    /// It replaces a connection that the peer has lost.
    is_again: bool,
}

#[derive(Debug, PartialEq, Eq)]
enum Winner {
    Standing,
    Newcomer,
}

fn winner(standing: &Connection, newcomer: &Connection) -> Winner {
    if is_lost(standing, newcomer) || newcomer.dialled_by_smaller || !standing.dialled_by_smaller {
        Winner::Newcomer
    } else {
        Winner::Standing
    }
}

/// Whether the peer must have lost the existing connection, since it dialled again: long after it, or from
/// another address, as a machine that just moved dials at once. A machine with two addresses may lose both
/// connections here if both sides dial at the same time; it then dials again.
fn is_lost(standing: &Connection, newcomer: &Connection) -> bool {
    let together = newcomer.since.duration_since(standing.since) < SIMULTANEOUS;
    let is_elsewhere = match (standing.remote, newcomer.remote) {
        (Some(before), Some(now)) => before.is_ipv4() == now.is_ipv4() && before != now,
        _ => false,
    };
    !together || (is_elsewhere && !newcomer.dialled_by_us)
}

/// The behaviour that refuses connections. It must come before behaviours that count connections,
/// which don't learn of refused ones.
pub(crate) struct Behaviour {
    local: PeerId,
    gate: Arc<dyn Gate>,
    standing: BTreeMap<PeerId, Connection>,
    /// Connections that are to replace the standing ones, and where they come from.
    unanswered: BTreeMap<PeerId, (Connection, Multiaddr)>,
    runners: BTreeMap<ConnectionId, PeerId>,
    closing: VecDeque<(PeerId, ConnectionId)>,
}

impl Behaviour {
    pub(crate) fn new(local: PeerId, gate: Arc<dyn Gate>) -> Self {
        Self {
            local,
            gate,
            standing: BTreeMap::new(),
            unanswered: BTreeMap::new(),
            runners: BTreeMap::new(),
            closing: VecDeque::new(),
        }
    }

    fn admit(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        dialled_by_us: bool,
        remote: &Multiaddr,
    ) -> Result<(), Refused> {
        let device = device_of(&peer).ok_or(Refused::ForeignKey)?;
        if !dialled_by_us && self.gate.is_robot(device) {
            return self.admit_runner(id, peer);
        }
        let mut newcomer = Connection {
            id,
            dialled_by_us,
            dialled_by_smaller: dialled_by_us == (self.local < peer),
            remote: ip_of(remote),
            since: Instant::now(),
            is_again: false,
        };
        match self.standing.get(&peer) {
            Some(standing) => {
                if winner(standing, &newcomer) == Winner::Standing {
                    return Err(Refused::Duplicate);
                }
                newcomer.is_again = is_lost(standing, &newcomer);
                if !dialled_by_us {
                    let earlier = self.unanswered.insert(peer, (newcomer, remote.clone()));
                    let earlier = earlier.map(|(earlier, _)| (peer, earlier.id));
                    self.closing.extend(earlier);
                    return Ok(());
                }
                self.closing.push_back((peer, standing.id));
            }
            None => {
                if !dialled_by_us
                    && !self.gate.is_member(device)
                    && self.strangers() >= MAX_STRANGERS
                {
                    return Err(Refused::Strangers);
                }
            }
        }
        self.standing.insert(peer, newcomer);
        Ok(())
    }

    fn admit_runner(&mut self, id: ConnectionId, peer: PeerId) -> Result<(), Refused> {
        if self.runners.len() >= MAX_RUNNERS {
            return Err(Refused::Runners);
        }
        self.runners.insert(id, peer);
        Ok(())
    }

    /// Whether the connection replaces another as soon as the peer answers on it.
    pub(crate) fn is_unanswered(&self, peer: &PeerId, id: ConnectionId) -> bool {
        let unanswered = self.unanswered.get(peer);
        unanswered.is_some_and(|(newcomer, _)| newcomer.id == id)
    }

    /// The peer answered on a connection. Returns where that comes from if it replaces another now.
    pub(crate) fn answered(&mut self, peer: &PeerId, id: ConnectionId) -> Option<Multiaddr> {
        if !self.is_unanswered(peer, id) {
            return None;
        }
        let (newcomer, remote) = self.unanswered.remove(peer)?;
        let standing = self.standing.insert(*peer, newcomer);
        let replaced = standing.map(|standing| (*peer, standing.id));
        self.closing.extend(replaced);
        Some(remote)
    }

    /// Whether the peer's connection replaced one that the peer had lost.
    pub(crate) fn is_again(&self, peer: &PeerId) -> bool {
        self.standing
            .get(peer)
            .is_some_and(|standing| standing.is_again)
    }

    fn strangers(&self) -> usize {
        let is_member = |peer| device_of(peer).is_some_and(|device| self.gate.is_member(device));
        self.standing.keys().filter(|peer| !is_member(peer)).count()
    }
}

impl NetworkBehaviour for Behaviour {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.admit(id, peer, false, remote)
            .map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        id: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.admit(id, peer, true, remote)
            .map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn on_swarm_event(&mut self, event: FromSwarm) {
        if let FromSwarm::ConnectionClosed(ConnectionClosed {
            peer_id,
            connection_id,
            ..
        }) = event
        {
            self.runners.remove(&connection_id);
            if self.is_unanswered(&peer_id, connection_id) {
                self.unanswered.remove(&peer_id);
            }
            if self
                .standing
                .get(&peer_id)
                .is_some_and(|standing| standing.id == connection_id)
            {
                self.standing.remove(&peer_id);
            }
        }
    }

    fn on_connection_handler_event(
        &mut self,
        _: PeerId,
        _: ConnectionId,
        event: THandlerOutEvent<Self>,
    ) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Infallible, THandlerInEvent<Self>>> {
        match self.closing.pop_front() {
            Some((peer_id, id)) => Poll::Ready(ToSwarm::CloseConnection {
                peer_id,
                connection: CloseConnection::One(id),
            }),
            None => Poll::Pending,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn connection(id: usize, dialled_by_smaller: bool, since: Instant) -> Connection {
        Connection {
            id: ConnectionId::new_unchecked(id),
            dialled_by_us: false,
            dialled_by_smaller,
            remote: Some([10, 0, 0, 1].into()),
            since,
            is_again: false,
        }
    }

    #[test]
    fn both_sides_keep_the_one_that_the_smaller_dialled() {
        let now = Instant::now();
        let soon = now + Duration::from_millis(20);
        let (by_smaller, by_larger) = (connection(1, true, now), connection(2, false, soon));
        assert_eq!(winner(&by_smaller, &by_larger), Winner::Standing);
        let (by_larger, by_smaller) = (connection(2, false, now), connection(1, true, soon));
        assert_eq!(winner(&by_larger, &by_smaller), Winner::Newcomer);
    }

    #[test]
    fn a_late_second_connection_means_that_the_first_is_lost() {
        let now = Instant::now();
        let standing = connection(1, true, now);
        assert_eq!(
            winner(&standing, &connection(2, false, now + SIMULTANEOUS)),
            Winner::Newcomer
        );
    }

    #[test]
    fn who_comes_from_another_address_has_lost_the_first_however_young() {
        let now = Instant::now();
        let standing = connection(1, true, now);
        let moved = Connection {
            remote: Some([10, 0, 0, 2].into()),
            ..connection(2, false, now)
        };
        assert_eq!(winner(&standing, &moved), Winner::Newcomer);
        let dialled_by_us = Connection {
            dialled_by_us: true,
            ..moved
        };
        assert_eq!(
            winner(&standing, &dialled_by_us),
            Winner::Standing,
            "the peer may have two addresses"
        );
    }

    struct Nobody;

    impl Gate for Nobody {
        fn is_member(&self, _: podsync_core::DeviceId) -> bool {
            false
        }

        fn may_fetch(&self, _: podsync_core::DeviceId, _: podsync_core::BlobId) -> bool {
            false
        }
    }

    /// A gate for which every peer is a robot.
    struct Robots;

    impl Gate for Robots {
        fn is_member(&self, _: podsync_core::DeviceId) -> bool {
            true
        }

        fn is_robot(&self, _: podsync_core::DeviceId) -> bool {
            true
        }

        fn may_fetch(&self, _: podsync_core::DeviceId, _: podsync_core::BlobId) -> bool {
            true
        }
    }

    fn peer(seed: u8) -> PeerId {
        let key = libp2p::identity::Keypair::ed25519_from_bytes([seed; 32]).unwrap();
        key.public().to_peer_id()
    }

    #[test]
    fn runners_of_one_robot_stand_side_by_side_and_leave_places_for_others() {
        let mut admission = Behaviour::new(peer(0), Arc::new(Robots));
        for n in 1..=MAX_RUNNERS {
            let id = ConnectionId::new_unchecked(n);
            assert_eq!(
                admission.admit(id, peer(1), false, &Multiaddr::empty()),
                Ok(())
            );
        }
        assert!(admission.closing.is_empty(), "none replaces another");
        let one_more = ConnectionId::new_unchecked(100);
        assert_eq!(
            admission.admit(one_more, peer(2), false, &Multiaddr::empty()),
            Err(Refused::Runners)
        );
        admission.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
            peer_id: peer(1),
            connection_id: ConnectionId::new_unchecked(1),
            endpoint: &libp2p::core::ConnectedPoint::Listener {
                local_addr: Multiaddr::empty(),
                send_back_addr: Multiaddr::empty(),
            },
            cause: None,
            remaining_established: MAX_RUNNERS - 1,
        }));
        assert_eq!(
            admission.admit(one_more, peer(2), false, &Multiaddr::empty()),
            Ok(())
        );
    }

    /// The ids of connections that are to be closed.
    fn closing(admission: &mut Behaviour) -> Vec<ConnectionId> {
        admission.closing.drain(..).map(|(_, id)| id).collect()
    }

    #[test]
    fn a_connection_replaces_another_once_the_peer_answers_on_it() {
        let mut admission = Behaviour::new(peer(0), Arc::new(Nobody));
        let at = |ip: &str| -> Multiaddr { format!("/ip4/{ip}/tcp/7637").parse().unwrap() };
        let [first, hung_up, second, third, ours] =
            [1, 2, 3, 4, 5].map(ConnectionId::new_unchecked);
        let arrives = |admission: &mut Behaviour, id, ip: &str| {
            assert_eq!(admission.admit(id, peer(1), false, &at(ip)), Ok(()));
        };
        let ends = |admission: &mut Behaviour, id| {
            admission.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
                peer_id: peer(1),
                connection_id: id,
                endpoint: &libp2p::core::ConnectedPoint::Listener {
                    local_addr: Multiaddr::empty(),
                    send_back_addr: Multiaddr::empty(),
                },
                cause: None,
                remaining_established: 1,
            }));
        };
        arrives(&mut admission, first, "10.0.0.1");
        assert!(!admission.is_unanswered(&peer(1), first));

        // The peer looked for another device here.
        arrives(&mut admission, hung_up, "10.0.0.2");
        assert!(admission.is_unanswered(&peer(1), hung_up));
        ends(&mut admission, hung_up);
        assert_eq!(admission.answered(&peer(1), hung_up), None);
        assert_eq!(closing(&mut admission), []);

        // The peer has moved. Of two that it opens, the later one counts.
        arrives(&mut admission, second, "10.0.0.2");
        arrives(&mut admission, third, "10.0.0.3");
        assert_eq!(closing(&mut admission), [second]);
        assert_eq!(admission.answered(&peer(1), second), None);
        assert_eq!(admission.answered(&peer(1), third), Some(at("10.0.0.3")));
        assert_eq!(closing(&mut admission), [first]);
        assert!(admission.is_again(&peer(1)));
        assert_eq!(admission.answered(&peer(1), third), None, "it stands");

        // Whom this side dials has proved who it is.
        if let Some(standing) = admission.standing.get_mut(&peer(1)) {
            standing.since -= SIMULTANEOUS;
        }
        let dialled = admission.admit(ours, peer(1), true, &at("10.0.0.4"));
        assert_eq!(dialled, Ok(()));
        assert_eq!(closing(&mut admission), [third]);
    }

    #[test]
    fn strangers_cannot_take_every_slot() {
        let mut admission = Behaviour::new(peer(0), Arc::new(Nobody));
        for seed in 1..=MAX_STRANGERS as u8 {
            let id = ConnectionId::new_unchecked(seed.into());
            assert_eq!(
                admission.admit(id, peer(seed), false, &Multiaddr::empty()),
                Ok(())
            );
        }
        let id = ConnectionId::new_unchecked(100);
        assert_eq!(
            admission.admit(id, peer(100), false, &Multiaddr::empty()),
            Err(Refused::Strangers)
        );
        assert_eq!(
            admission.admit(id, peer(100), true, &Multiaddr::empty()),
            Ok(()),
            "we chose to dial this one"
        );
    }
}

//! Machines that move between networks and find each other by the daemon's own address code.
//!
//! A network is a subnet with multicast in it; packets pass between networks. Who moves loses the address
//! that it had: its own end of each connection is dead at once, the other end learns it after a silence.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use podsync_core::{
    DeviceId, TeamId,
    engine::{self, GateChange},
};
use podsync_daemon::addresses::{Addresses, Input, Multiaddr, Output};

use super::{
    chance, happening::Happening, history::Violation, id::NodeId, place::Roaming, world::World,
};

/// For the first packet of a connection to be answered.
const CONNECT: Duration = Duration::from_secs(3);
/// How long nothing may come before a connection is dead.
const SILENCE: Duration = Duration::from_millis(4200);
/// Daemons listen here, and connections leave from there.
const LISTEN_PORT: &str = "/tcp/7637";
const FLEETING_PORT: &str = "/tcp/40000";

impl World {
    /// Puts a node into a network, from where it finds others by itself; `pinned` are in its settings.
    pub fn settle_in(
        &mut self,
        node: NodeId,
        network: u8,
        pinned: &[NodeId],
    ) -> Result<(), Violation> {
        let here = self.free_address(network);
        let pinned = pinned.iter().filter_map(|&other| {
            let roaming = self.node(other).roaming.as_ref()?;
            Some((self.device(other), roaming.here.clone()))
        });
        let pinned: Vec<_> = pinned.collect();
        let device = self.device(node);
        let roaming = Roaming {
            addresses: Addresses::new(device, pinned.clone(), [], self.now),
            network,
            here,
            pinned,
            remembered: BTreeMap::new(),
            members: BTreeMap::new(),
            wake: None,
        };
        // The engine reported the members before this could receive it.
        let teams = self.node(node).engine.as_ref().map(|engine| {
            let members = |team: &TeamId| {
                let roster = engine.roster(team)?;
                Some(roster.devices().map(|member| member.device).collect())
            };
            let teams = engine
                .teams()
                .filter_map(|team| Some((team, members(&team)?)));
            teams.collect::<Vec<(_, Vec<_>)>>()
        });
        self.node_mut(node).roaming = Some(roaming);
        for (team, devices) in teams.into_iter().flatten() {
            self.membership_told(node, &GateChange::Members { team, devices })?;
        }
        self.arrive_in_network(node)
    }

    /// Moves a node into another network, where it has another address.
    pub fn move_to(&mut self, node: NodeId, network: u8) -> Result<(), Violation> {
        let new = self.free_address(network);
        let Some(roaming) = &mut self.node_mut(node).roaming else {
            return Ok(());
        };
        let old = std::mem::replace(&mut roaming.here, new);
        roaming.network = network;
        self.note(node, "moves", None, network.into());
        let mine = |(one, other): &(NodeId, NodeId)| *one == node || *other == node;
        let ended: Vec<_> = self.sessions.extract_if(.., |_, ends| mine(ends)).collect();
        self.tell(node, Input::ListeningEnded { address: old })?;
        for (session, (one, other)) in ended {
            let far = if one == node { other } else { one };
            let (mover, left) = (self.device(node), self.device(far));
            let notice = |node, device| Happening::Notice {
                node,
                device,
                session,
            };
            self.enter(SILENCE, notice(far, mover));
            self.notice(node, left, session)?;
        }
        self.arrive_in_network(node)?;
        self.tell(node, Input::NetworkChanged)
    }

    /// The devices that a node is connected to.
    pub fn connected(&self, node: NodeId) -> BTreeSet<DeviceId> {
        self.node(node).peers.keys().copied().collect()
    }

    /// A restarted node has only what was written down.
    pub(super) fn roam_anew(&mut self, node: NodeId) -> Result<(), Violation> {
        let (device, now) = (self.device(node), self.now);
        let Some(roaming) = &mut self.node_mut(node).roaming else {
            return Ok(());
        };
        roaming.addresses = Addresses::new(
            device,
            roaming.pinned.clone(),
            roaming.remembered.clone(),
            now,
        );
        roaming.wake = None;
        for (team, devices) in std::mem::take(&mut roaming.members) {
            self.membership_told(node, &GateChange::Members { team, devices })?;
        }
        self.arrive_in_network(node)
    }

    /// Announces a newcomer to all nodes in its network, and them to it.
    fn arrive_in_network(&mut self, node: NodeId) -> Result<(), Violation> {
        let Some(roaming) = &self.node(node).roaming else {
            return Ok(());
        };
        let (network, here) = (roaming.network, roaming.here.clone());
        let listening = Input::Listening {
            address: here.clone(),
        };
        self.tell(node, listening)?;
        let neighbours: Vec<_> = self
            .nodes()
            .filter(|&other| other != node && self.is_up(other))
            .filter_map(|other| {
                let roaming = self.node(other).roaming.as_ref()?;
                (roaming.network == network).then(|| (other, roaming.here.clone()))
            })
            .collect();
        for (other, there) in neighbours {
            for (hears, of, at) in [(other, node, here.clone()), (node, other, there)] {
                let discovered = Input::Discovered {
                    device: self.device(of),
                    addresses: vec![at],
                };
                self.tell(hears, discovered)?;
            }
        }
        Ok(())
    }

    pub(super) fn membership_told(
        &mut self,
        node: NodeId,
        change: &GateChange,
    ) -> Result<(), Violation> {
        let GateChange::Members { team, devices } = change else {
            return Ok(());
        };
        let (team, devices) = (*team, devices.clone());
        if let Some(roaming) = &mut self.node_mut(node).roaming {
            roaming.members.insert(team, devices.clone());
        }
        self.tell(node, Input::Members { team, devices })
    }

    /// Tells a node's address machine something, and carries out what it makes of it.
    pub(super) fn tell(&mut self, node: NodeId, input: Input) -> Result<(), Violation> {
        let now = self.now;
        if !self.is_up(node) {
            return Ok(());
        }
        let Some(roaming) = &mut self.node_mut(node).roaming else {
            return Ok(());
        };
        roaming.addresses.handle(input, now);
        while let Some(output) = self.next_address_output(node) {
            match output {
                Output::Dial { device, addresses } => self.begin_dial(node, device, addresses),
                Output::Unreachable { .. } => {}
                Output::Announce { addresses } => {
                    self.feed(node, engine::Input::Listening { addresses })?;
                }
                Output::Remember { device, addresses } => {
                    if let Some(roaming) = &mut self.node_mut(node).roaming {
                        roaming.remembered.insert(device, addresses);
                        roaming
                            .remembered
                            .retain(|_, addresses| !addresses.is_empty());
                    }
                }
            }
        }
        self.schedule_roaming(node);
        Ok(())
    }

    fn next_address_output(&mut self, node: NodeId) -> Option<Output> {
        self.node_mut(node)
            .roaming
            .as_mut()?
            .addresses
            .poll_output()
    }

    fn schedule_roaming(&mut self, node: NodeId) {
        let now = self.now;
        let home = self.node_mut(node);
        let life = home.life;
        let Some(roaming) = &mut home.roaming else {
            return;
        };
        let due = roaming.addresses.poll_timeout().max(now);
        if roaming.wake.is_none_or(|wake| due < wake) {
            roaming.wake = Some(due);
            self.enter(due - now, Happening::Roam { node, life });
        }
    }

    pub(super) fn roam(&mut self, node: NodeId, life: u32) -> Result<(), Violation> {
        let now = self.now;
        let home = self.node_mut(node);
        let Some(roaming) = &mut home.roaming else {
            return Ok(());
        };
        if home.life != life || roaming.wake.is_none_or(|wake| wake > now) {
            return Ok(());
        }
        roaming.wake = None;
        self.tell(node, Input::Tick)
    }

    /// Starts one dial attempt: the node that has one of the addresses now answers, no other.
    fn begin_dial(&mut self, node: NodeId, device: DeviceId, addresses: Vec<Multiaddr>) {
        let (life, latency) = (
            self.node(node).life,
            chance::time(&mut self.rng, &self.climate.latency),
        );
        let answers = self.who_answers(device, &addresses).is_some();
        let after = if answers { 2 * latency } else { CONNECT };
        self.enter(
            after,
            Happening::Dialled {
                node,
                life,
                device,
                addresses,
            },
        );
    }

    pub(super) fn dialled(
        &mut self,
        node: NodeId,
        life: u32,
        device: DeviceId,
        addresses: &[Multiaddr],
    ) -> Result<(), Violation> {
        if self.node(node).life != life || self.node(node).peers.contains_key(&device) {
            return Ok(());
        }
        let Some((other, address)) = self.who_answers(device, addresses) else {
            return self.tell(
                node,
                Input::DialFailed {
                    device,
                    taken: None,
                },
            );
        };
        // The other end's old connection is dead, or this side wouldn't dial.
        let me = self.device(node);
        if let Some(stale) = self.peer(other, &me) {
            self.sessions.remove(&stale.session);
            self.notice(other, me, stale.session)?;
        }
        self.connect(node, other)?;
        let from = self.fleeting_address(node);
        let ends = [
            (node, device, Some(address), true),
            (other, me, from, false),
        ];
        for (at, of, address, dialled) in ends {
            let Some(address) = address else {
                continue;
            };
            let connected = Input::Connected {
                device: of,
                address,
                dialled,
            };
            self.tell(at, connected)?;
        }
        Ok(())
    }

    /// Where a node dials from: its address, at a port that nobody listens at.
    fn fleeting_address(&self, node: NodeId) -> Option<Multiaddr> {
        let here = self.node(node).roaming.as_ref()?.here.to_string();
        here.replace(LISTEN_PORT, FLEETING_PORT).parse().ok()
    }

    fn who_answers(
        &self,
        device: DeviceId,
        addresses: &[Multiaddr],
    ) -> Option<(NodeId, Multiaddr)> {
        self.nodes().find_map(|node| {
            let here = &self.node(node).roaming.as_ref()?.here;
            let answers =
                self.is_up(node) && self.device(node) == device && addresses.contains(here);
            answers.then(|| (node, here.clone()))
        })
    }

    /// An address in a network that nobody ever had there.
    fn free_address(&mut self, network: u8) -> Multiaddr {
        self.given += 1;
        let [.., high, low] = self.given.to_be_bytes();
        format!("/ip4/10.{network}.{high}.{low}{LISTEN_PORT}")
            .parse()
            .expect("that is an address")
    }
}

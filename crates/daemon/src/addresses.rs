//! Decides which device to dial, when and at which addresses, and which addresses of this device others are told.
//!
//! A state machine without I/O: each input carries the time, and the decisions are [`Output`]s. The daemon's node
//! and the simulated network drive the same type. Announced addresses are hints: only a connection proves which
//! device answers there.

mod announced;
mod known;
mod peer;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use podsync_core::{DeviceId, TeamId};
pub use podsync_net::Multiaddr;

use self::announced::best_first;
use self::peer::Peer;
pub use self::{announced::announced, known::REACHED_KEPT};

/// Most devices remembered at once.
const MAX_DEVICES: usize = 256;
/// Most devices among them that no team lists. They are dialled when this device wants to join a team.
const MAX_STRANGERS: usize = 64;
/// Most devices dialled at once.
const MAX_DIALLED: usize = 24;
/// With this many connections, members known only by their own announcement are dialled only when needed.
const ENOUGH_CONNECTED: usize = 12;
/// With this many connections, no member is dialled. The remaining places are for devices that dial this one.
const FULL: usize = 20;
/// How long the waiting side gives the other side to dial.
const FALLBACK: Duration = Duration::from_secs(2);
/// How long after a change of address here other devices can't know of it. During this time this side dials first.
const UNKNOWN_TO_OTHERS: Duration = Duration::from_secs(5);
/// How often devices that nobody needs any more are forgotten.
const PRUNE_EVERY: Duration = Duration::from_secs(60);

/// Whether other machines may reach this device at one of its addresses.
pub(crate) fn is_beyond_this_machine(address: &Multiaddr) -> bool {
    !known::is_loopback(address) && !known::is_link_local(address)
}

/// An input of the state machine.
#[derive(Debug, Clone)]
pub enum Input {
    /// Peers can reach this device here.
    Listening { address: Multiaddr },
    /// Peers can't reach this device here any more.
    ListeningEnded { address: Multiaddr },
    /// This machine got or lost an address.
    NetworkChanged,
    /// All members of a team. Replaces the earlier list.
    Members {
        team: TeamId,
        devices: Vec<DeviceId>,
    },
    /// Whether this device is about to join a team. Then any device on the local network may be a member to ask.
    Joining(bool),
    /// The first connection to a device is open: this device `dialled` it at `address`, or accepted it.
    Connected {
        device: DeviceId,
        address: Multiaddr,
        dialled: bool,
    },
    /// The last connection to a device ended.
    Disconnected { device: DeviceId },
    /// An attempt failed, perhaps because another device answered at an address that is `taken` now.
    DialFailed {
        device: DeviceId,
        taken: Option<Multiaddr>,
    },
    /// Somebody on the local network claims to be this device.
    Discovered {
        device: DeviceId,
        addresses: Vec<Multiaddr>,
    },
    /// A member's device announced its addresses, signed.
    Announced {
        device: DeviceId,
        addresses: Vec<String>,
    },
    /// Somebody waits for a connection to this device: dial it now.
    Wanted {
        device: DeviceId,
        addresses: Vec<Multiaddr>,
    },
    /// Time has passed.
    Tick,
}

/// A decision for the caller to carry out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Output {
    /// Dial these addresses, all at once, as one attempt. Its result comes back as an input.
    Dial {
        device: DeviceId,
        addresses: Vec<Multiaddr>,
    },
    /// A wanted device was not reached.
    Unreachable { device: DeviceId },
    /// Announce these addresses of this device to members. Replaces the earlier announcement.
    Announce { addresses: Vec<String> },
    /// Store where a device was reached, the latest first. An empty list forgets the device.
    Remember {
        device: DeviceId,
        addresses: Vec<Multiaddr>,
    },
}

/// The state machine.
#[derive(Debug)]
pub struct Addresses {
    local: DeviceId,
    listening: Vec<Multiaddr>,
    teams: BTreeMap<TeamId, BTreeSet<DeviceId>>,
    joining: bool,
    peers: BTreeMap<DeviceId, Peer>,
    /// When this device began, or its machine's addresses changed last.
    changed: Duration,
    prune_at: Duration,
    outputs: VecDeque<Output>,
}

impl Addresses {
    /// `pinned` devices should always be connected. `reached` comes from [`Output::Remember`] in earlier runs.
    pub fn new(
        local: DeviceId,
        pinned: impl IntoIterator<Item = (DeviceId, Multiaddr)>,
        reached: impl IntoIterator<Item = (DeviceId, Vec<Multiaddr>)>,
        now: Duration,
    ) -> Self {
        let mut addresses = Self {
            local,
            listening: Vec::new(),
            teams: BTreeMap::new(),
            joining: false,
            peers: BTreeMap::new(),
            changed: now,
            prune_at: now + PRUNE_EVERY,
            outputs: VecDeque::new(),
        };
        for (device, address) in pinned {
            let peer = addresses.peers.entry(device);
            peer.or_insert_with(|| Peer::away(now)).known.pin(address);
        }
        for (device, reached) in reached.into_iter().take(MAX_DEVICES) {
            let peer = addresses.peers.entry(device);
            peer.or_insert_with(|| Peer::away(now))
                .known
                .restore(reached);
        }
        addresses.peers.remove(&local);
        addresses
    }

    /// Processes an input.
    pub fn handle(&mut self, input: Input, now: Duration) {
        match input {
            Input::Listening { address } => {
                if !self.listening.contains(&address) {
                    self.listening.push(address);
                    self.announce();
                }
            }
            Input::ListeningEnded { address } => {
                self.listening.retain(|known| *known != address);
                self.announce();
            }
            Input::NetworkChanged => self.network_changed(now),
            Input::Members { team, devices } => self.members(team, devices, now),
            Input::Joining(joining) => self.joining = joining,
            Input::Connected {
                device,
                address,
                dialled,
            } => self.connected(device, address, dialled, now),
            Input::Disconnected { device } => self.disconnected(device, now),
            Input::DialFailed { device, taken } => self.dial_failed(device, taken, now),
            Input::Discovered { device, addresses } => self.discovered(device, addresses, now),
            Input::Announced { device, addresses } => self.heard(device, &addresses, now),
            Input::Wanted { device, addresses } => self.wanted(device, addresses, now),
            Input::Tick => {}
        }
        if self.prune_at <= now {
            self.prune_at = now + PRUNE_EVERY;
            self.prune();
        }
        self.dial_due(now);
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When the next [`Input::Tick`] is due.
    pub fn poll_timeout(&self) -> Duration {
        let room = self.room();
        let due = self.peers.iter().filter_map(|(device, peer)| {
            let due = peer.due()?;
            self.may_dial(device, peer, &room).then_some(due)
        });
        due.min()
            .map_or(self.prune_at, |due| due.min(self.prune_at))
    }

    /// Where peers can reach this device now, the best first.
    pub fn listening(&self) -> Vec<Multiaddr> {
        best_first(&self.listening)
    }

    fn announce(&mut self) {
        let addresses = announced(&self.listening);
        self.outputs.push_back(Output::Announce { addresses });
    }

    /// Resets the results of earlier attempts: they say nothing about the network that this machine is in now.
    fn network_changed(&mut self, now: Duration) {
        self.changed = now;
        let near = self.is_near();
        for (&device, peer) in &mut self.peers {
            peer.known.forget_taken();
            let addresses = peer.begin_anew(near, now);
            if !addresses.is_empty() {
                self.outputs.push_back(Output::Dial { device, addresses });
            }
        }
    }

    fn members(&mut self, team: TeamId, devices: Vec<DeviceId>, now: Duration) {
        let before = self.teams.insert(team, devices.into_iter().collect());
        let before = before.unwrap_or_default();
        let new: Vec<_> = self.teams[&team].difference(&before).copied().collect();
        for device in new {
            let due = self.first_turn(device, now);
            if let Some(peer) = self.peers.get_mut(&device) {
                peer.dial_by(due);
            }
        }
    }

    fn connected(&mut self, device: DeviceId, address: Multiaddr, dialled: bool, now: Duration) {
        let peer = self.peers.entry(device);
        let peer = peer.or_insert_with(|| Peer::away(now));
        peer.connected(now);
        peer.known.forget_taken();
        if !dialled {
            peer.known.dialled_from(&address);
        } else if peer.known.reached_at(address) {
            self.outputs.push_back(Output::Remember {
                device,
                addresses: peer.known.reached().to_vec(),
            });
        }
    }

    fn disconnected(&mut self, device: DeviceId, now: Duration) {
        let due = self.first_turn(device, now);
        if let Some(peer) = self.peers.get_mut(&device) {
            peer.disconnected(due, now);
        }
    }

    fn dial_failed(&mut self, device: DeviceId, taken: Option<Multiaddr>, now: Duration) {
        let near = self.is_near();
        let Some(peer) = self.peers.get_mut(&device) else {
            return;
        };
        let is_less_to_dial = taken.is_some_and(|address| peer.known.taken_at(address));
        if !peer.attempt_failed(now) {
            return;
        }
        if is_less_to_dial && !peer.known.dialled(near).is_empty() {
            // One wrong answer ended the attempt at all addresses.
            peer.dial_by(now);
        } else if std::mem::take(&mut peer.wanted) {
            self.outputs.push_back(Output::Unreachable { device });
        }
    }

    fn discovered(&mut self, device: DeviceId, addresses: Vec<Multiaddr>, now: Duration) {
        let due = self.first_turn(device, now);
        if let Some(peer) = self.entry(device)
            && peer.known.discovered_at(addresses)
        {
            self.dial_by_news(device, due);
        }
    }

    fn heard(&mut self, device: DeviceId, addresses: &[String], now: Duration) {
        let due = self.first_turn(device, now);
        if self.is_member(&device)
            && let Some(peer) = self.entry(device)
            && peer.known.announced_at(addresses)
        {
            self.dial_by_news(device, due);
        }
    }

    fn dial_by_news(&mut self, device: DeviceId, due: Duration) {
        let near = self.is_near();
        if let Some(peer) = self.peers.get_mut(&device) {
            let addresses = peer.dial_by_news(due, near);
            if !addresses.is_empty() {
                self.outputs.push_back(Output::Dial { device, addresses });
            }
        }
    }

    fn wanted(&mut self, device: DeviceId, addresses: Vec<Multiaddr>, now: Duration) {
        let Some(peer) = self.entry(device) else {
            self.outputs.push_back(Output::Unreachable { device });
            return;
        };
        peer.known.discovered_at(addresses);
        if !peer.is_connected() {
            peer.wanted = true;
            peer.dial_by(now);
        }
    }

    /// A device's entry. Makes it if there is room.
    fn entry(&mut self, device: DeviceId) -> Option<&mut Peer> {
        if device == self.local {
            return None;
        }
        if !self.peers.contains_key(&device) {
            let is_stranger = |device: &&DeviceId| !self.is_member(device);
            let strangers = self.peers.keys().filter(is_stranger).count();
            let has_room = self.peers.len() < MAX_DEVICES
                && (self.is_member(&device) || strangers < MAX_STRANGERS);
            if !has_room {
                return None;
            }
        }
        let peer = self.peers.entry(device);
        // Waits until an address is known.
        Some(peer.or_insert_with(|| Peer::away(Duration::MAX)))
    }

    /// When this side dials a device that may have learnt of this one at the same time. The side with the smaller
    /// key dials at once; the other waits a little in case that fails.
    fn first_turn(&self, device: DeviceId, now: Duration) -> Duration {
        let only_we_know = now.saturating_sub(self.changed) < UNKNOWN_TO_OTHERS;
        if only_we_know || self.local < device {
            now
        } else {
            now + FALLBACK
        }
    }

    fn dial_due(&mut self, now: Duration) {
        let near = self.is_near();
        let due: Vec<_> = self
            .peers
            .iter()
            .filter(|(_, peer)| peer.due().is_some_and(|due| due <= now))
            .map(|(device, _)| *device)
            .collect();
        for device in due {
            let room = self.room();
            if !self.may_dial(&device, &self.peers[&device], &room) {
                continue;
            }
            let Some(peer) = self.peers.get_mut(&device) else {
                continue;
            };
            let addresses = peer.begin_attempt(near);
            if addresses.is_empty() {
                if std::mem::take(&mut peer.wanted) {
                    self.outputs.push_back(Output::Unreachable { device });
                }
            } else {
                self.outputs.push_back(Output::Dial { device, addresses });
            }
        }
    }

    fn room(&self) -> Room {
        let count =
            |which: fn(&Peer) -> bool| self.peers.values().filter(|peer| which(peer)).count();
        Room {
            connected: count(Peer::is_connected),
            dialled: count(Peer::is_dialled),
        }
    }

    fn may_dial(&self, device: &DeviceId, peer: &Peer, room: &Room) -> bool {
        if peer.wanted || peer.known.is_pinned() {
            return true;
        }
        if room.dialled >= MAX_DIALLED {
            return false;
        }
        if !self.is_member(device) {
            return self.joining && peer.known.is_nearby();
        }
        room.connected < FULL && (peer.known.is_found() || room.connected < ENOUGH_CONNECTED)
    }

    fn is_member(&self, device: &DeviceId) -> bool {
        self.teams.values().any(|members| members.contains(device))
    }

    /// Whether this device listens on loopback only, as several homes on one machine do. Then the loopback
    /// addresses of others are useful.
    fn is_near(&self) -> bool {
        self.listening.iter().all(known::is_loopback)
    }

    /// Forgets devices that no team lists any more. Strangers nearby stay for a join to come.
    fn prune(&mut self) {
        let teams = &self.teams;
        let is_member = |device: &DeviceId| teams.values().any(|members| members.contains(device));
        let joining = self.joining;
        let outputs = &mut self.outputs;
        self.peers.retain(|device, peer| {
            let stays = joining
                || is_member(device)
                || peer.wanted
                || peer.known.is_pinned()
                || peer.is_connected()
                || peer.is_dialled();
            if !stays && !peer.known.reached().is_empty() {
                peer.known.forget_reached();
                outputs.push_back(Output::Remember {
                    device: *device,
                    addresses: Vec::new(),
                });
            }
            stays || peer.known.is_nearby()
        });
    }
}

/// How many peers there are.
struct Room {
    connected: usize,
    dialled: usize,
}

#[cfg(test)]
mod tests;

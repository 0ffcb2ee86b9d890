//! Reports on the daemon itself and the peers that it sees.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, PoisonError},
};

use podsync_api::node;
use podsync_core::{DeviceId, TeamId, engine::Engine};
use podsync_net::{Contact, Multiaddr, Net, PeerInfo};
use podsync_store::{Blobs, Home};

use crate::{
    call::{Context, Handle},
    clock::{now_ms, unix_ms},
    error::Failure,
    hub::sync::HubSync,
    metered::Metered,
    metrics::Metrics,
    node::handle::Node,
    persisted::Persisted,
    program::Program,
    reach::{CUT_OFF, Reach},
    service::{
        autosave::{self, list::Autosaves},
        follow::{self, list::Follows},
        names::DeviceNames,
        pause::Pause,
        skew,
        team::role_to,
    },
    settings::Settings,
    tasks::{Lifetime, Tasks},
    versions::Versions,
};

/// Answers calls about the daemon itself.
pub(crate) struct Status {
    pub(crate) device: DeviceId,
    pub(crate) lifetime: Lifetime,
    pub(crate) home: Arc<Home>,
    pub(crate) node: Node,
    pub(crate) net: Net,
    pub(crate) blobs: Blobs,
    pub(crate) versions: Arc<Versions>,
    pub(crate) hubs: Arc<HubSync>,
    pub(crate) follows: Persisted<Follows>,
    pub(crate) autosaves: Persisted<Autosaves>,
    pub(crate) listening: Arc<Mutex<Vec<Multiaddr>>>,
    pub(crate) tasks: Tasks,
    pub(crate) program: Option<Program>,
    pub(crate) pause: Arc<Pause>,
    pub(crate) settings: Arc<Settings>,
    pub(crate) metered: Arc<Metered>,
}

impl Status {
    /// Addresses that peers can dial, with this device's id at the end.
    pub(crate) fn listening(&self) -> Vec<Multiaddr> {
        let addresses = self
            .listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let named = |address: &Multiaddr| format!("{address}/p2p/{}", self.device).parse().ok();
        addresses.iter().filter_map(named).collect()
    }
}

impl Handle<node::GetStatus> for Status {
    async fn handle(
        self: Arc<Self>,
        _: node::GetStatus,
        _: Arc<Context>,
    ) -> Result<node::Status, Failure> {
        self.look().await
    }
}

impl Status {
    /// The metrics text for Prometheus.
    pub(crate) async fn metrics(&self, metrics: &Metrics) -> Result<String, Failure> {
        let status = self.look().await?;
        let free = podsync_store::free_bytes(self.home.root())?;
        Ok(metrics.text(&status, self.net.traffic(), free))
    }

    async fn look(&self) -> Result<node::Status, Failure> {
        let device = self.device;
        let connections = self.net.connections();
        let connected: BTreeSet<_> = connections.iter().map(|peer| peer.device).collect();
        let contacts = last_contacts(&self.net);
        let mut teams = self
            .node
            .read(move |engine| teams(engine, &device, &connected, &contacts))
            .await
            .map_err(Failure::from)?;
        for team in &mut teams {
            team.hub = self.hub_status(team.id).await?;
        }
        let blobs = self.versions.blobs().map_err(Failure::damaged)?;
        let bytes_held = self.blobs.held_len(&blobs).map_err(Failure::from)?;
        let mut warnings: Vec<_> = self.cut_off().into_iter().collect();
        for team in &teams {
            match team.role {
                None if team.left => warnings.push(format!(
                    "you left {}; to come back, join with a new invite and a new home",
                    team.name
                )),
                None => warnings.push(format!(
                    "this device was removed from {}: ask an admin for a new invite and join from a new home",
                    team.name
                )),
                Some(_) if team.admins == 0 => warnings.push(format!(
                    "{} has no admin: only the recovery key can make one, with `podsync team recover`",
                    team.name
                )),
                Some(_) if team.admins == 1 && team.members > 1 => warnings.push(format!(
                    "{} has one admin: if that device is lost only the recovery key brings the team back; \
                     make another with `podsync team role NAME admin`",
                    team.name
                )),
                Some(_) => {}
            }
            if let Some(node::HubStatus {
                url,
                trouble: Some(trouble),
                ..
            }) = &team.hub
            {
                warnings.push(format!("the hub of {} ({url}): {trouble}", team.name));
            }
        }
        let follows = told_or_warned(follow::all(&self.node, &self.follows).await, &mut warnings);
        let saved = autosave::all(&self.node, &self.autosaves).await;
        let autosaves = told_or_warned(saved, &mut warnings);
        Ok(node::Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            pid: std::process::id(),
            program: self
                .program
                .as_ref()
                .map(|program| program.path().to_owned()),
            replaced: self.program.as_ref().is_some_and(Program::was_replaced),
            home: self.home.root().to_owned(),
            device,
            transient: self.lifetime == Lifetime::Transient,
            listening: self.listening().iter().map(ToString::to_string).collect(),
            teams,
            peers_connected: connections.len(),
            paused: self.pause.state(),
            limit_up: self.settings.limit_up.0,
            limit_down: self.settings.limit_down.0,
            // A command's own daemon ends before this matters.
            metered: self.lifetime == Lifetime::Service && self.metered.is_metered().await,
            bytes_held,
            follows,
            autosaves,
            warnings,
        })
    }
}

impl Status {
    /// The warning of a machine without a network.
    fn cut_off(&self) -> Option<String> {
        let reach = Reach {
            settings: Arc::clone(&self.settings),
            listening: Arc::clone(&self.listening),
        };
        let warning = || format!("{CUT_OFF}; check this machine's network");
        reach.is_cut_off().then(warning)
    }

    async fn hub_status(&self, team: TeamId) -> Result<Option<node::HubStatus>, Failure> {
        let url = self
            .node
            .read(move |engine| engine.hub_url(&team).map(str::to_owned));
        let Some(url) = url.await? else {
            return Ok(None);
        };
        let unusable = |failure: Failure| node::HubStatus {
            url: url.clone(),
            heard_ms: None,
            trouble: Some(failure.api().to_string()),
            waiting: None,
            uploading: None,
        };
        let hub = match self.hubs.hub(team).await {
            Ok(Some(hub)) => hub,
            Ok(None) => return Ok(None),
            Err(failure) => return Ok(Some(unusable(failure))),
        };
        let standing = hub.standing();
        let waiting = match standing.heard_ms {
            Some(_) => Some(self.hubs.waiting(team, &hub).await?),
            None => None,
        };
        Ok(Some(node::HubStatus {
            url: hub.url().to_owned(),
            heard_ms: standing.last_heard_ms(),
            trouble: standing.trouble.map(|trouble| trouble.error.to_string()),
            waiting,
            uploading: standing.uploading,
        }))
    }
}

/// An unreadable list is only a warning: the daemon does everything else.
fn told_or_warned<T>(list: Result<Vec<T>, Failure>, warnings: &mut Vec<String>) -> Vec<T> {
    list.unwrap_or_else(|failure| {
        let error = failure.api();
        let hint = error.hint.as_deref().unwrap_or_default();
        warnings.push(format!("{error}: {hint}"));
        Vec::new()
    })
}

fn teams(
    engine: &Engine,
    device: &DeviceId,
    connected: &BTreeSet<DeviceId>,
    contacts: &BTreeMap<DeviceId, u64>,
) -> Vec<node::TeamStatus> {
    let status = |id| {
        let roster = engine.membership(&id)?.state();
        let catalog = engine.catalog(&id)?;
        let is_member = |peer: &&DeviceId| *peer != device && roster.is_member(peer);
        let met = contacts.iter().filter(|(peer, _)| is_member(peer));
        let met = met.map(|(_, heard_ms)| *heard_ms).max();
        Some(node::TeamStatus {
            id,
            name: roster.name().clone(),
            role: roster.role(device).map(role_to),
            left: roster
                .member(device)
                .and_then(|record| record.removed)
                .is_some_and(|removal| removal.by == *device),
            members: roster
                .devices()
                .map(|record| &record.member)
                .collect::<BTreeSet<_>>()
                .len(),
            admins: roster.admins().count(),
            pods: catalog.pods().len(),
            connected: connected.iter().filter(is_member).count(),
            heard_ms: engine
                .last_heard(&id)
                .iter()
                .filter(|heard| heard.device != *device)
                .map(|heard| heard.time_ms)
                .chain(met)
                .max(),
            quarantined: engine
                .feeds(&id)
                .iter()
                .filter(|feed| feed.forked_at.is_some())
                .map(|feed| feed.device)
                .collect(),
            clocks: skew::clocks(engine, id, now_ms()),
            hub: None,
        })
    };
    engine.teams().filter_map(status).collect()
}

impl Handle<node::GetPeers> for Status {
    async fn handle(
        self: Arc<Self>,
        _: node::GetPeers,
        _: Arc<Context>,
    ) -> Result<Vec<node::Peer>, Failure> {
        let (names, mut heard) = self
            .node
            .read(|engine| (DeviceNames::of(engine), heard(engine)))
            .await
            .map_err(Failure::from)?;
        let mut names: BTreeMap<DeviceId, Option<String>> = names
            .into_inner()
            .into_iter()
            .map(|(device, name)| (device, Some(name)))
            .collect();
        names.remove(&self.device);
        let connections: BTreeMap<DeviceId, PeerInfo> = self
            .net
            .connections()
            .into_iter()
            .map(|peer| (peer.device, peer))
            .collect();
        for device in connections.keys() {
            names.entry(*device).or_insert(None);
        }
        for (device, met_ms) in last_contacts(&self.net) {
            let known = heard.entry(device).or_insert(0);
            *known = met_ms.max(*known);
        }
        let contacts = self.net.contacts();
        let mut peers: Vec<_> = names
            .into_iter()
            .map(|(device, name)| node::Peer {
                heard_ms: heard.get(&device).copied(),
                ..peer(
                    device,
                    name,
                    connections.get(&device),
                    contacts.get(&device),
                )
            })
            .collect();
        peers.sort_by_key(|peer| (!peer.connected, peer.name.clone()));
        Ok(peers)
    }
}

fn peer(
    device: DeviceId,
    name: Option<String>,
    info: Option<&PeerInfo>,
    contact: Option<&Contact>,
) -> node::Peer {
    node::Peer {
        device,
        name,
        connected: info.is_some(),
        heard_ms: None,
        address: info.map(|info| info.addr.to_string()),
        round_trip_us: info
            .and_then(|info| info.rtt)
            .map(|rtt| u64::try_from(rtt.as_micros()).unwrap_or(u64::MAX)),
        sent: contact.map_or(0, |contact| contact.served),
        received: contact.map_or(0, |contact| contact.fetched),
        received_over_lane: contact.map_or(0, |contact| contact.fetched_over_lane),
    }
}

/// When something last came from each device that this daemon was connected with, in Unix milliseconds.
fn last_contacts(net: &Net) -> BTreeMap<DeviceId, u64> {
    let contacts = net.contacts().into_iter();
    contacts
        .map(|(device, contact)| (device, unix_ms(contact.heard)))
        .collect()
}

/// The newest statement of each device, in any team.
fn heard(engine: &Engine) -> BTreeMap<DeviceId, u64> {
    let mut newest = BTreeMap::new();
    for heard in engine.teams().flat_map(|team| engine.last_heard(&team)) {
        let known = newest.entry(heard.device).or_insert(0);
        *known = heard.time_ms.max(*known);
    }
    newest
}

impl Handle<node::Stop> for Status {
    async fn handle(
        self: Arc<Self>,
        _: node::Stop,
        _: Arc<Context>,
    ) -> Result<node::Stopping, Failure> {
        self.tasks.begin_stop();
        Ok(node::Stopping {
            pid: std::process::id(),
        })
    }
}

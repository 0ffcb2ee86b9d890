//! The metrics that Prometheus reads at `/metrics` of the control socket. Labels have few values: team names, calls
//! and their results. They never name a device, a pod or a path.

use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use podsync_api::node;
use podsync_net::Traffic;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram, info::Info},
    registry::Registry,
};

/// The text's content type.
pub(crate) const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Seconds: from a listing to a save of many gigabytes.
const SECONDS: [f64; 9] = [0.005, 0.025, 0.1, 0.5, 2.0, 10.0, 60.0, 300.0, 1800.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Called {
    call: &'static str,
    /// `ok`, or the kind of its error.
    outcome: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfCall {
    call: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfTeam {
    team: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Moved {
    direction: &'static str,
}

pub(crate) struct Metrics {
    registry: Registry,
    calls: Family<Called, Counter>,
    seconds: Family<OfCall, Histogram, fn() -> Histogram>,
    moved: Family<Moved, Counter<u64, AtomicU64>>,
    peers: Gauge,
    held: Gauge,
    free: Gauge,
    paused: Gauge,
    members: Family<OfTeam, Gauge>,
    pods: Family<OfTeam, Gauge>,
    waiting: Family<OfTeam, Gauge>,
    heard: Family<OfTeam, Gauge>,
    hub_heard: Family<OfTeam, Gauge>,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("podsync"),
            calls: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            moved: Family::default(),
            peers: Gauge::default(),
            held: Gauge::default(),
            free: Gauge::default(),
            paused: Gauge::default(),
            members: Family::default(),
            pods: Family::default(),
            waiting: Family::default(),
            heard: Family::default(),
            hub_heard: Family::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        registry.register("build", "The podsync that runs", build);
        let start: Gauge = Gauge::default();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        start.set(whole(now.unwrap_or_default().as_secs()));
        registry.register(
            "start_time_seconds",
            "Unix time of the daemon's start",
            start,
        );
        let calls = "Calls of the control API by how they ended";
        registry.register("calls", calls, self.calls.clone());
        let seconds = "Seconds that calls took";
        registry.register("call_seconds", seconds, self.seconds.clone());
        let moved = "Bytes of blobs sent to and received from peers and buckets";
        registry.register("transferred_bytes", moved, self.moved.clone());
        let peers = "Teammates' devices that are connected";
        registry.register("peers_connected", peers, self.peers.clone());
        let held = "Bytes of packs and manifests on this machine";
        registry.register("held_bytes", held, self.held.clone());
        let free = "Bytes that are left on the disk of the home";
        registry.register("disk_free_bytes", free, self.free.clone());
        let paused = "1 while nothing is served, fetched or uploaded";
        registry.register("paused", paused, self.paused.clone());
        let members = "Members of a team";
        registry.register("team_members", members, self.members.clone());
        let pods = "Pods of a team";
        registry.register("team_pods", pods, self.pods.clone());
        let waiting = "Changes of this device that the team's bucket lacks";
        registry.register("hub_waiting_entries", waiting, self.waiting.clone());
        let heard = "Unix time of the newest word of another device of a team";
        registry.register("team_heard_seconds", heard, self.heard.clone());
        let heard = "Unix time of the last answer of a team's hub";
        registry.register("hub_heard_seconds", heard, self.hub_heard.clone());
    }

    /// Notes a call that was carried out; `outcome` is `ok` or the kind of its error.
    pub(crate) fn note_call(&self, call: &'static str, outcome: String, took: Duration) {
        self.calls.get_or_create(&Called { call, outcome }).inc();
        let seconds = self.seconds.get_or_create(&OfCall { call });
        seconds.observe(took.as_secs_f64());
    }

    /// The text that Prometheus reads, of how the daemon is now.
    pub(crate) fn text(&self, status: &node::Status, traffic: &Traffic, free: u64) -> String {
        let (sent, received) = traffic.moved();
        for (direction, bytes) in [("sent", sent), ("received", received)] {
            let counter = self.moved.get_or_create(&Moved { direction });
            counter.inner().store(bytes, Ordering::Relaxed);
        }
        self.peers.set(whole(status.peers_connected as u64));
        self.held.set(whole(status.bytes_held));
        self.free.set(whole(free));
        self.paused.set(i64::from(status.paused.is_some()));
        for family in [
            &self.members,
            &self.pods,
            &self.waiting,
            &self.heard,
            &self.hub_heard,
        ] {
            // Removes teams that this home has left.
            family.clear();
        }
        for team in &status.teams {
            let label = OfTeam {
                team: team.name.to_string(),
            };
            let set = |family: &Family<OfTeam, Gauge>, value: Option<u64>| {
                if let Some(value) = value {
                    family.get_or_create(&label).set(whole(value));
                }
            };
            set(&self.members, Some(team.members as u64));
            set(&self.pods, Some(team.pods as u64));
            set(&self.heard, team.heard_ms.map(|ms| ms / 1000));
            let hub = team.hub.as_ref();
            set(&self.waiting, hub.and_then(|hub| hub.waiting));
            set(
                &self.hub_heard,
                hub.and_then(|hub| hub.heard_ms).map(|ms| ms / 1000),
            );
        }
        let mut text = String::new();
        if let Err(error) = encode(&mut text, &self.registry) {
            tracing::error!(%error, "metrics");
        }
        text
    }
}

fn whole(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}

//! What Prometheus reads at `/metrics`. Labels have few values: teams that are served, routes, codes; never a
//! device or a key.

use std::sync::{LazyLock, atomic::AtomicU64};

use podsync_core::TeamId;
use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

const SECONDS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

/// Buckets know of no hub, so their errors are counted for the process.
static BUCKET_ERRORS: LazyLock<Family<BucketError, Counter>> = LazyLock::new(Family::default);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BucketError {
    bucket: String,
    /// Status and the server's own code; `no answer` if there was none, `unreadable` if it made no sense.
    code: String,
}

/// Counts what a bucket's server refused, or that it didn't answer.
pub fn count_bucket_error(bucket: &str, code: &str) {
    let code = if code.is_empty() { "no answer" } else { code };
    let label = BucketError {
        bucket: bucket.to_owned(),
        code: code.to_owned(),
    };
    BUCKET_ERRORS.get_or_create(&label).inc();
}

/// For the same reason their requests are.
static BUCKET_REQUESTS: LazyLock<Family<BucketRequest, Counter>> = LazyLock::new(Family::default);

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BucketRequest {
    method: &'static str,
}

/// Counts what the hub itself asks of buckets, each try: it is what an S3 server bills.
pub fn count_bucket_request(method: &http::Method) {
    let known = ["GET", "PUT", "DELETE", "HEAD"];
    let method = known.into_iter().find(|known| method == known);
    let label = BucketRequest {
        method: method.unwrap_or("other"),
    };
    BUCKET_REQUESTS.get_or_create(&label).inc();
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Request {
    /// The path with its parameters' names.
    pub endpoint: String,
    /// Empty if the hub serves no such team.
    pub team: String,
    pub status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Endpoint {
    pub endpoint: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Presigned {
    pub team: String,
    pub operation: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct OfTeam {
    pub team: String,
}

impl From<TeamId> for OfTeam {
    fn from(team: TeamId) -> Self {
        Self {
            team: team.to_string(),
        }
    }
}

#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    pub requests: Family<Request, Counter>,
    pub seconds: Family<Endpoint, Histogram, fn() -> Histogram>,
    pub in_flight: Gauge,
    /// URLs given out.
    pub presigned: Family<Presigned, Counter>,
    /// Bytes that were promised by them.
    pub presigned_bytes: Family<Presigned, Counter<u64, AtomicU64>>,
    /// Entries committed.
    pub committed: Family<OfTeam, Counter>,
    /// 1 where the team's bucket takes shares.
    pub team_ready: Family<OfTeam, Gauge>,
    pub stored_bytes: Family<OfTeam, Gauge>,
    pub quota_bytes: Family<OfTeam, Gauge>,
    /// Unix seconds of the last sweep that went well.
    pub sweep_end: Family<OfTeam, Gauge>,
    pub sweep_failures: Family<OfTeam, Counter>,
    pub condemned: Family<OfTeam, Counter>,
    pub deleted: Family<OfTeam, Counter>,
    /// Unix seconds; 0 without a certificate.
    pub certificate_end: Gauge,
    /// 1 if the files were taken when they were read last, and 0 if those before are in force.
    pub settings_taken: Gauge,
    pub certificate_taken: Gauge,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut metrics = Self {
            registry: Registry::with_prefix("podsync_hub"),
            requests: Family::default(),
            seconds: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            in_flight: Gauge::default(),
            presigned: Family::default(),
            presigned_bytes: Family::default(),
            committed: Family::default(),
            team_ready: Family::default(),
            stored_bytes: Family::default(),
            quota_bytes: Family::default(),
            sweep_end: Family::default(),
            sweep_failures: Family::default(),
            condemned: Family::default(),
            deleted: Family::default(),
            certificate_end: Gauge::default(),
            settings_taken: Gauge::default(),
            certificate_taken: Gauge::default(),
        };
        // The hub begins with none that it refused.
        metrics.settings_taken.set(1);
        metrics.certificate_taken.set(1);
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        let requests = "Requests by endpoint, team and status";
        registry.register("requests", requests, self.requests.clone());
        let seconds = "Seconds that requests took";
        registry.register("request_seconds", seconds, self.seconds.clone());
        let in_flight = "Requests that are being answered";
        registry.register("requests_in_flight", in_flight, self.in_flight.clone());
        let presigned = "URLs given out";
        registry.register("presigned", presigned, self.presigned.clone());
        let bytes = "Bytes of the objects that URLs were given out for";
        registry.register("presigned_bytes", bytes, self.presigned_bytes.clone());
        let committed = "Feed entries written to the bucket";
        registry.register("committed_entries", committed, self.committed.clone());
        let errors = "What buckets refused, by their own code";
        registry.register("bucket_errors", errors, BUCKET_ERRORS.clone());
        let asked = "Requests of the hub to buckets, by method";
        registry.register("bucket_requests", asked, BUCKET_REQUESTS.clone());
        let ready = "Whether a team's bucket takes shares, when last asked";
        registry.register("team_ready", ready, self.team_ready.clone());
        let stored = "Bytes of a team's objects, when last listed, and of those committed since";
        registry.register("stored_bytes", stored, self.stored_bytes.clone());
        let quota = "The most bytes that a team may store";
        registry.register("quota_bytes", quota, self.quota_bytes.clone());
        let end = "Unix time of the last sweep that went well";
        registry.register("sweep_end_seconds", end, self.sweep_end.clone());
        let failures = "Sweeps that did nothing";
        registry.register("sweep_failures", failures, self.sweep_failures.clone());
        let condemned = "Objects that a sweep condemned";
        registry.register("condemned_objects", condemned, self.condemned.clone());
        let deleted = "Objects that a sweep deleted";
        registry.register("deleted_objects", deleted, self.deleted.clone());
        let end = "Unix time of the end of the hub's certificate; 0 without one";
        registry.register("certificate_end_seconds", end, self.certificate_end.clone());
        let taken = "1 if the settings were taken when last read; 0 if older ones are in force";
        registry.register("settings_taken", taken, self.settings_taken.clone());
        let taken = "The same for the certificate and its key";
        registry.register("certificate_taken", taken, self.certificate_taken.clone());
    }

    /// Shows nothing more of how a team does that isn't served any longer.
    pub fn forget(&self, team: TeamId) {
        let label = OfTeam::from(team);
        for gauge in [
            &self.team_ready,
            &self.stored_bytes,
            &self.quota_bytes,
            &self.sweep_end,
        ] {
            gauge.remove(&label);
        }
        for counter in self.counters() {
            counter.remove(&label);
        }
    }

    /// Shows a team's counters before anything is counted: an alert by their rate would miss the first time.
    pub fn begin(&self, team: TeamId) {
        let label = OfTeam::from(team);
        for counter in self.counters() {
            drop(counter.get_or_create(&label));
        }
    }

    /// Those of a team.
    fn counters(&self) -> [&Family<OfTeam, Counter>; 4] {
        [
            &self.committed,
            &self.sweep_failures,
            &self.condemned,
            &self.deleted,
        ]
    }

    /// The text that Prometheus reads.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if let Err(error) = encode(&mut text, &self.registry) {
            tracing::error!(%error, "metrics");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const CONFIG: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../config");

    /// The names that a text uses, without what Prometheus makes of a histogram or a counter.
    fn named(text: &str) -> BTreeSet<String> {
        let is_of_name = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
        let words = text.split(|letter| !is_of_name(letter));
        words
            .filter_map(|word| word.strip_prefix("podsync_hub_"))
            .map(|name| {
                let ends = ["_bucket", "_sum", "_count", "_total"];
                let end = ends.iter().find_map(|end| name.strip_suffix(end));
                end.unwrap_or(name).to_owned()
            })
            .collect()
    }

    /// The labels by which a text selects, each with its metric: `name{label=`.
    fn selected(text: &str) -> Vec<(String, String)> {
        let mut found = Vec::new();
        for part in text.split("podsync_hub_").skip(1) {
            let Some((name, rest)) = part.split_once('{') else {
                continue;
            };
            let is_name = name
                .bytes()
                .all(|byte| byte.is_ascii_lowercase() || byte == b'_');
            let Some((labels, _)) = rest.split_once('}').filter(|_| is_name) else {
                continue;
            };
            for label in labels.split(',') {
                let label = label.split(['=', '!']).next().unwrap_or_default();
                found.push((name.to_owned(), label.trim().to_owned()));
            }
        }
        found
    }

    #[test]
    fn dashboard_and_alerts_ask_for_what_is_there() {
        let metrics = Metrics::default();
        metrics.begin(TeamId::from_bytes([1; 32]));
        let (team, text) = (OfTeam::from(TeamId::from_bytes([1; 32])), String::new);
        // What was never counted isn't shown.
        let request = Request {
            endpoint: text(),
            team: text(),
            status: 200,
        };
        let presigned = Presigned {
            team: text(),
            operation: "upload",
        };
        drop(metrics.requests.get_or_create(&request));
        drop(
            metrics
                .seconds
                .get_or_create(&Endpoint { endpoint: text() }),
        );
        drop(metrics.presigned.get_or_create(&presigned));
        drop(metrics.presigned_bytes.get_or_create(&presigned));
        for gauge in [
            &metrics.team_ready,
            &metrics.stored_bytes,
            &metrics.quota_bytes,
            &metrics.sweep_end,
        ] {
            drop(gauge.get_or_create(&team));
        }
        count_bucket_error("bucket", "SlowDown");
        count_bucket_request(&http::Method::GET);
        let text = metrics.text();
        let there: BTreeSet<_> = text
            .lines()
            .filter_map(|line| line.strip_prefix("# TYPE podsync_hub_")?.split(' ').next())
            .map(str::to_owned)
            .collect();
        assert!(
            there.contains("bucket_requests") && there.contains("bucket_errors"),
            "{text}"
        );
        for file in ["prometheus/alerts.yaml", "grafana/podsync-hub.json"] {
            let asking = std::fs::read_to_string(format!("{CONFIG}/{file}")).unwrap();
            let asked = named(&asking);
            assert!(asked.len() > 5, "{file} asks for next to nothing");
            let unknown: Vec<_> = asked.difference(&there).collect();
            assert!(unknown.is_empty(), "{file} asks for {unknown:?}");
            for (name, label) in selected(&asking) {
                let begin = format!("podsync_hub_{name}{{");
                let has = format!("{label}=\"");
                let mut lines = text.lines().filter(|line| line.starts_with(&begin));
                assert!(
                    lines.any(|line| line.contains(&has)),
                    "{file}: {name}{{{label}}}"
                );
            }
        }
        let dashboard = std::fs::read(format!("{CONFIG}/grafana/podsync-hub.json")).unwrap();
        let dashboard: serde_json::Value = serde_json::from_slice(&dashboard).unwrap();
        for panel in dashboard["panels"].as_array().unwrap() {
            let asks = panel["targets"]
                .as_array()
                .is_some_and(|asks| !asks.is_empty());
            assert!(asks && panel["title"].is_string(), "{panel}");
        }
    }
}

//! What Prometheus reads at `/metrics`. Labels have few values: never a team, a device or a key.

use std::sync::atomic::AtomicU64;

use prometheus_client::{
    encoding::{EncodeLabelSet, text::encode},
    metrics::{counter::Counter, family::Family, gauge::Gauge, histogram::Histogram},
    registry::Registry,
};

const SECONDS: [f64; 10] = [0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0, 30.0];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Request {
    /// The path with its parameters' names.
    pub endpoint: String,
    pub status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Endpoint {
    pub endpoint: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct Presigned {
    pub operation: &'static str,
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
    pub committed: Counter,
}

impl Default for Metrics {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("podsync_hub");
        let requests = Family::default();
        let seconds: Family<Endpoint, Histogram, fn() -> Histogram> =
            Family::new_with_constructor(|| Histogram::new(SECONDS));
        let in_flight = Gauge::default();
        let presigned = Family::default();
        let presigned_bytes = Family::default();
        let committed = Counter::default();
        registry.register(
            "requests",
            "Requests by endpoint and status",
            requests.clone(),
        );
        registry.register(
            "request_seconds",
            "Seconds that requests took",
            seconds.clone(),
        );
        registry.register(
            "requests_in_flight",
            "Requests that are being answered",
            in_flight.clone(),
        );
        registry.register("presigned", "URLs given out", presigned.clone());
        registry.register(
            "presigned_bytes",
            "Bytes of the objects that URLs were given out for",
            presigned_bytes.clone(),
        );
        registry.register(
            "committed_entries",
            "Feed entries written to the bucket",
            committed.clone(),
        );
        Self {
            registry,
            requests,
            seconds,
            in_flight,
            presigned,
            presigned_bytes,
            committed,
        }
    }
}

impl Metrics {
    /// The text that Prometheus reads.
    pub fn text(&self) -> String {
        let mut text = String::new();
        if let Err(error) = encode(&mut text, &self.registry) {
            tracing::error!(%error, "metrics");
        }
        text
    }
}

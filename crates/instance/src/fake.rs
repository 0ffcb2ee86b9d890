//! A well-behaved LocalStack in memory, for tests and demonstrations of other crates.
//!
//! Its state is one opaque zip: a load replaces it whatever the merge strategy, and reports
//! [`FakeLocalStack::SERVICES`] as loaded whatever is within.

use std::{
    io,
    net::Ipv4Addr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use axum::{
    Json, Router,
    body::{Body, Bytes},
    extract::{DefaultBodyLimit, Path, Query, State},
    http::{HeaderName, StatusCode},
    routing::{get, post},
};
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinHandle};

use crate::{endpoint::Endpoint, service::Merge};

/// The largest state that it takes: it is held in memory.
const MAX_FAKE_STATE_LEN: usize = 256 << 20;

/// A zip without a member.
const EMPTY_ZIP: &[u8] = b"PK\x05\x06\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0";

const VERSION: &str = "4.14.0";

/// Runs until it is dropped.
pub struct FakeLocalStack {
    endpoint: Endpoint,
    inside: Shared,
    server: JoinHandle<io::Result<()>>,
}

type Shared = Arc<Mutex<Inside>>;

struct Inside {
    zip: Bytes,
    loads: Vec<Merge>,
    /// Runs so far: part of the session id.
    run: u32,
}

impl FakeLocalStack {
    /// The services that it always has.
    pub const SERVICES: [&'static str; 2] = ["s3", "sqs"];

    /// Listens on a free port of 127.0.0.1, with an empty state.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let endpoint = format!("http://{}", listener.local_addr()?);
        let endpoint = endpoint.parse().map_err(io::Error::other)?;
        let inside = Inside {
            zip: Bytes::from_static(EMPTY_ZIP),
            loads: Vec::new(),
            run: 1,
        };
        let inside = Arc::new(Mutex::new(inside));
        let app = router(inside.clone());
        let server = tokio::spawn(async move { axum::serve(listener, app).await });
        Ok(Self {
            endpoint,
            inside,
            server,
        })
    }

    pub fn endpoint(&self) -> &Endpoint {
        &self.endpoint
    }

    pub fn state(&self) -> Bytes {
        lock(&self.inside).zip.clone()
    }

    pub fn set_state(&self, zip: impl Into<Bytes>) {
        lock(&self.inside).zip = zip.into();
    }

    /// The strategy of each load so far.
    pub fn loads(&self) -> Vec<Merge> {
        lock(&self.inside).loads.clone()
    }

    /// Becomes another run with an empty state, as a restart without persistence would.
    pub fn restart(&self) {
        let mut inside = lock(&self.inside);
        inside.zip = Bytes::from_static(EMPTY_ZIP);
        inside.run += 1;
    }
}

impl Drop for FakeLocalStack {
    fn drop(&mut self) {
        self.server.abort();
    }
}

fn router(inside: Shared) -> Router {
    Router::new()
        .route("/_localstack/health", get(health))
        .route("/_localstack/info", get(info))
        .route("/_localstack/pods/environment", get(environment))
        .route("/_localstack/pods/state", get(save))
        .route("/_localstack/pods", post(load))
        .route("/_localstack/state/reset", post(reset))
        .route("/_localstack/state/{service}/reset", post(reset_service))
        .layer(DefaultBodyLimit::max(MAX_FAKE_STATE_LEN))
        .with_state(inside)
}

async fn health() -> Json<Value> {
    let [one, other] = FakeLocalStack::SERVICES;
    Json(
        json!({"services": {one: "running", other: "running"}, "edition": "fake", "version": VERSION}),
    )
}

async fn info(State(inside): State<Shared>) -> Json<Value> {
    // The address of what is inside tells two fakes of one process apart.
    let session = format!("fake-{:p}-{}", Arc::as_ptr(&inside), lock(&inside).run);
    Json(json!({"session_id": session, "version": VERSION}))
}

async fn environment() -> Json<Value> {
    Json(json!({"localstack_version": VERSION, "pro": false}))
}

async fn save(State(inside): State<Shared>) -> ([(HeaderName, String); 2], Body) {
    let zip = lock(&inside).zip.clone();
    let headers = [
        (
            HeaderName::from_static("x-localstack-pod-services"),
            FakeLocalStack::SERVICES.join(","),
        ),
        (
            HeaderName::from_static("x-localstack-pod-size"),
            zip.len().to_string(),
        ),
    ];
    (headers, Body::from(zip))
}

#[derive(Deserialize)]
struct LoadQuery {
    #[serde(default)]
    merge: Merge,
}

async fn load(
    State(inside): State<Shared>,
    Query(query): Query<LoadQuery>,
    zip: Bytes,
) -> (StatusCode, String) {
    if !zip.starts_with(b"PK") {
        return (
            StatusCode::BAD_REQUEST,
            json!({"error": {"message": "no zip"}}).to_string(),
        );
    }
    let mut inside = lock(&inside);
    inside.zip = zip;
    inside.loads.push(query.merge);
    let events = FakeLocalStack::SERVICES.map(|service| {
        format!(
            "{}\n",
            json!({"service": service, "status": "ok", "message": ""})
        )
    });
    (StatusCode::CREATED, events.concat())
}

async fn reset(State(inside): State<Shared>) {
    lock(&inside).zip = Bytes::from_static(EMPTY_ZIP);
}

async fn reset_service(State(inside): State<Shared>, Path(service): Path<String>) -> StatusCode {
    if !FakeLocalStack::SERVICES.contains(&service.as_str()) {
        return StatusCode::NOT_FOUND;
    }
    reset(State(inside)).await;
    StatusCode::OK
}

/// What is inside is whole after each step, so a panic elsewhere spoils nothing.
fn lock(inside: &Mutex<Inside>) -> MutexGuard<'_, Inside> {
    inside.lock().unwrap_or_else(PoisonError::into_inner)
}

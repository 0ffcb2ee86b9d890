//! A whole hub on loopback, over buckets in memory: for the hub's own tests and those of its clients.

use std::{
    collections::HashMap,
    io,
    net::{Ipv4Addr, SocketAddr, TcpListener},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use axum::{Router, extract::Request, response::IntoResponse};
use podsync_core::{TeamId, keys::DeviceSecret};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{
    Confirm, Hub, Identity, TeamSettings, Teams,
    gc::decide::Retention,
    guard::Guard,
    limits::Limits,
    moved::Moved,
    serve::{HEADERS, serve_by},
    storage::memory::MemoryBucket,
};

/// How a test's hub differs from the usual one.
#[derive(Debug)]
pub struct Options {
    pub quota: Option<u64>,
    /// The seed of the key that it witnesses joins with.
    pub witness: Option<[u8; 32]>,
    pub limits: Limits,
    /// How long a request's headers may take.
    pub headers: Duration,
    /// The most keys of a page of a listing.
    pub page: usize,
    /// Believe a request's `Host`, for a hub behind something else's address.
    pub any_host: bool,
    /// Where teams are sent that it doesn't serve.
    pub moved: Moved,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            quota: None,
            witness: Some([0x77; 32]),
            limits: Limits::default(),
            headers: HEADERS,
            page: 1000,
            any_host: false,
            moved: Moved::default(),
        }
    }
}

/// Buckets in memory, one for each team, behind an address of their own.
#[derive(Debug, Clone)]
pub struct TestBuckets {
    base: String,
    page: usize,
    buckets: Arc<Mutex<HashMap<TeamId, MemoryBucket>>>,
    _server: Arc<Server>,
}

impl TestBuckets {
    pub async fn start(page: usize) -> io::Result<Self> {
        let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let base = format!("http://{}", listener.local_addr()?);
        let buckets: Arc<Mutex<HashMap<TeamId, MemoryBucket>>> = Arc::default();
        let served = buckets.clone();
        let app = Router::new().fallback(move |request: Request| route(served.clone(), request));
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let task = tokio::spawn(async move {
            let stopped = stopped.cancelled_owned();
            let _ = axum::serve(listener, app)
                .with_graceful_shutdown(stopped)
                .await;
        });
        Ok(Self {
            base,
            page,
            buckets,
            _server: Arc::new(Server { stop, task }),
        })
    }

    /// A team's bucket.
    pub fn of(&self, team: TeamId) -> MemoryBucket {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let base = format!("{}/{team}", self.base);
        buckets
            .entry(team)
            .or_insert_with(|| MemoryBucket::new(&base).with_page(self.page))
            .clone()
    }
}

/// Hands a request to the bucket that its path begins with.
async fn route(
    buckets: Arc<Mutex<HashMap<TeamId, MemoryBucket>>>,
    mut request: Request,
) -> axum::response::Response {
    let not_found = axum::http::StatusCode::NOT_FOUND;
    let path_and_query = request
        .uri()
        .path_and_query()
        .map(|path| path.as_str().to_owned());
    let found = path_and_query.and_then(|path| {
        let (team, rest) = path.strip_prefix('/')?.split_once('/')?;
        let buckets = buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let bucket = buckets.get(&team.parse().ok()?)?.clone();
        Some((bucket, format!("/{rest}").parse().ok()?))
    });
    let Some((bucket, uri)) = found else {
        return not_found.into_response();
    };
    *request.uri_mut() = uri;
    bucket.answer(request).await
}

#[derive(Debug)]
struct Server {
    stop: CancellationToken,
    task: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        self.task.abort();
    }
}

/// A hub that takes any team, on a port of its own.
#[derive(Debug)]
pub struct TestHub {
    address: SocketAddr,
    hub: Arc<Hub>,
    buckets: TestBuckets,
    handle: axum_server::Handle<SocketAddr>,
    server: Server,
}

impl TestHub {
    pub async fn start() -> io::Result<Self> {
        Self::with(Options::default()).await
    }

    pub async fn with(options: Options) -> io::Result<Self> {
        let buckets = TestBuckets::start(options.page).await?;
        Self::over(buckets, options).await
    }

    /// Another replica over the same buckets.
    pub async fn replica(&self) -> io::Result<Self> {
        Self::over(self.buckets.clone(), Options::default()).await
    }

    pub async fn over(buckets: TestBuckets, options: Options) -> io::Result<Self> {
        let open = buckets.clone();
        let teams = Teams::any(move |team| Ok(Arc::new(open.of(team))));
        Self::serving(teams, buckets, options).await
    }

    /// A hub for one team, with the quota that the options name.
    pub async fn only(team: TeamId, options: Options) -> io::Result<Self> {
        let buckets = TestBuckets::start(options.page).await?;
        let teams = Teams::only([TeamSettings {
            team,
            bucket: Arc::new(buckets.of(team)),
            quota: options.quota,
            retention: Retention::default(),
            confirm: Confirm::default(),
        }]);
        Self::serving(teams, buckets, options).await
    }

    /// A hub over any buckets.
    pub async fn of(teams: Teams) -> io::Result<Self> {
        let options = Options::default();
        Self::serving(teams, TestBuckets::start(options.page).await?, options).await
    }

    /// A hub that serves no team.
    pub async fn of_none(options: Options) -> io::Result<Self> {
        let buckets = TestBuckets::start(options.page).await?;
        Self::serving(Teams::only([]), buckets, options).await
    }

    async fn serving(teams: Teams, buckets: TestBuckets, options: Options) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        let address = listener.local_addr()?;
        let witness = options.witness.map(DeviceSecret::from_seed);
        let own = (!options.any_host).then(|| address.to_string());
        let identity = Identity {
            authorities: own.into_iter().collect(),
            witness,
            guard: Guard::Open,
            moved: options.moved,
        };
        let hub = Hub::new(teams, identity).with_limits(options.limits);
        let hub = Arc::new(hub);
        let stop = CancellationToken::new();
        let handle = axum_server::Handle::new();
        let (served, stopped, cut) = (hub.clone(), stop.clone(), handle.clone());
        let task = tokio::spawn(async move {
            let _ = serve_by(cut, served, listener, None, options.headers, stopped).await;
        });
        Ok(Self {
            address,
            hub,
            buckets,
            handle,
            server: Server { stop, task },
        })
    }

    /// Is reached by another address from now on.
    pub fn behind(mut self, address: SocketAddr) -> Self {
        self.address = address;
        self
    }

    /// Such as `http://127.0.0.1:4000`.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    pub fn buckets(&self) -> &TestBuckets {
        &self.buckets
    }

    pub fn bucket(&self, team: TeamId) -> MemoryBucket {
        self.buckets.of(team)
    }

    /// Cuts every connection at once, as a crash does.
    pub fn kill(&self) {
        self.handle.shutdown();
    }

    /// Asks it to stop, and waits until it did.
    pub async fn stop(mut self) {
        self.server.stop.cancel();
        let _ = (&mut self.server.task).await;
    }
}

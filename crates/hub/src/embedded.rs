//! An S3 server on the local disk, for trying podsync and for teams that have no other.
//!
//! It checks what AWS checks: signatures, expiry, every signed header, and the body's checksum before
//! anything of it can be seen. It syncs every object before it confirms it. Nobody can read or write without
//! a signature.

mod disk;
mod keys;
mod multipart;
mod service;
mod socket;
mod upload;

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use hyper_util::{
    rt::{TokioExecutor, TokioIo},
    server::{conn::auto::Builder, graceful::GracefulShutdown},
};
use s3s::service::{S3Service, S3ServiceBuilder};
use tokio::{
    net::TcpListener,
    sync::Semaphore,
    task::JoinHandle,
    time::{MissedTickBehavior, interval, timeout},
};
use tokio_util::sync::CancellationToken;

use self::{disk::Disk, keys::Keys, service::Service, socket::TimedStream};
use crate::s3::{Addressing, Credentials, Endpoint, S3Settings};

/// The region that the server says it is in.
pub const REGION: &str = "us-east-1";

const MAX_CONNECTIONS: usize = 512;
/// How long a connection may move no byte.
const SILENCE: Duration = Duration::from_secs(120);
const SWEEP_EVERY: Duration = Duration::from_secs(3600);
/// After a stop, running requests get this much time.
const GRACE: Duration = Duration::from_secs(5);

/// Why the server doesn't start.
#[derive(Debug, thiserror::Error)]
pub enum EmbeddedError {
    #[error("cannot use {path}: {source}", path = .path.display())]
    Folder {
        path: PathBuf,
        source: std::io::Error,
    },
    #[error("{path} is in use by another podsync-hub: stop that one, or take another folder", path = .0.display())]
    InUse(PathBuf),
    #[error("{path} is damaged: {what}; put it back from a backup, or move it away to have new keys made", path = .path.display())]
    Keys { path: PathBuf, what: &'static str },
    #[error("cannot listen on {address}: {source}; take another port")]
    Listen {
        address: SocketAddr,
        source: std::io::Error,
    },
}

/// The access key and the secret key of a bucket of the server whose folder this is, running or not.
pub fn keys(folder: &Path, bucket: &str) -> Result<(String, String), EmbeddedError> {
    Ok(Keys::made_in(folder)?.of_bucket(bucket))
}

/// A running server.
#[derive(Debug)]
pub struct Embedded {
    address: SocketAddr,
    keys: Keys,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Embedded {
    /// Serves the objects in `folder`, and makes the folder if it is missing. Port 0 takes a free one.
    pub async fn start(folder: &Path, listen: SocketAddr) -> Result<Self, EmbeddedError> {
        Self::start_with(folder, listen, SILENCE).await
    }

    /// With another patience, for tests.
    pub async fn start_with(
        folder: &Path,
        listen: SocketAddr,
        silence: Duration,
    ) -> Result<Self, EmbeddedError> {
        let folder = folder.to_owned();
        let opened = tokio::task::spawn_blocking(move || {
            let disk = Disk::open(&folder)?;
            let keys = Keys::open(&folder)?;
            Ok((disk, keys))
        });
        let (disk, keys) = opened.await.unwrap_or_else(|panic| {
            std::panic::resume_unwind(panic.into_panic());
        })?;
        let disk = Arc::new(disk);
        let failed = |source| EmbeddedError::Listen {
            address: listen,
            source,
        };
        let listener = TcpListener::bind(listen).await.map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;
        let mut service = S3ServiceBuilder::new(Service::new(disk.clone()));
        service.set_auth(keys.clone());
        service.set_access(keys.clone());
        let stop = CancellationToken::new();
        let server = Server {
            listener,
            service: service.build(),
            silence,
            disk,
            stop: stop.clone(),
        };
        Ok(Self {
            address,
            keys,
            stop,
            serving: tokio::spawn(server.run()),
        })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How a hub reaches a bucket here. Each bucket has keys of its own.
    pub fn bucket(&self, name: &str) -> S3Settings {
        let endpoint: Option<Endpoint> = format!("http://{}", self.address).parse().ok();
        let (access_key, secret_key) = self.keys.of_bucket(name);
        S3Settings {
            endpoint,
            public_endpoint: None,
            region: REGION.to_owned(),
            bucket: name.to_owned(),
            addressing: Addressing::Path,
            known: true,
            credentials: Credentials::Static {
                access_key,
                secret_key,
            },
        }
    }

    /// Lets running requests finish, within a time limit.
    pub async fn stop(self) {
        self.stop.cancel();
        let _ = self.serving.await; // It logs what goes wrong, and a panic was printed.
    }
}

struct Server {
    listener: TcpListener,
    service: S3Service,
    silence: Duration,
    disk: Arc<Disk>,
    stop: CancellationToken,
}

impl Server {
    async fn run(self) {
        let connections = GracefulShutdown::new();
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let tasks = tokio_util::task::TaskTracker::new();
        let mut sweeps = interval(SWEEP_EVERY);
        sweeps.set_missed_tick_behavior(MissedTickBehavior::Delay);
        sweeps.tick().await; // The first was at the start.
        loop {
            let accept = async {
                let permit = permits.clone().acquire_owned().await;
                (permit, self.listener.accept().await)
            };
            tokio::select! {
                () = self.stop.cancelled() => break,
                _ = sweeps.tick() => {
                    let disk = self.disk.clone();
                    tasks.spawn_blocking(move || disk.sweep());
                }
                (permit, accepted) = accept => {
                    let (Ok(permit), Ok((socket, _))) = (permit, accepted) else {
                        // Too many open files pass; the listener stays.
                        tokio::task::yield_now().await;
                        continue;
                    };
                    let _ = socket.set_nodelay(true); // It would only be slower.
                    let socket = TokioIo::new(TimedStream::new(socket, self.silence));
                    let builder = Builder::new(TokioExecutor::new());
                    let served = builder.serve_connection(socket, self.service.clone());
                    let served = connections.watch(served.into_owned());
                    tasks.spawn(async move {
                        if let Err(error) = served.await {
                            tracing::debug!(%error, "a connection to the embedded bucket ended early");
                        }
                        drop(permit);
                    });
                }
            }
        }
        tasks.close();
        let finish = async {
            connections.shutdown().await;
            tasks.wait().await;
        };
        if timeout(GRACE, finish).await.is_err() {
            tracing::warn!("the embedded bucket stops in the middle of requests");
        }
    }
}

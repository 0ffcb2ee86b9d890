//! The fetching side: opens lanes on demand and keeps them for the next range.
//!
//! A fetch never waits long for a lane. Without one the caller uses libp2p, and the device isn't asked for
//! one again for a while. That is logged, as a firewall on the way may be the cause.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::{Duration, Instant},
};

use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::{Multiaddr, multiaddr::Protocol};
use podsync_core::DeviceId;
use tokio::{io::AsyncWriteExt as _, time::timeout};

use super::{
    offer::{self, Family, OFFER_LEN, Offer, Status, parse_answer},
    stream::Lane,
    tls::Identity,
};
use crate::{
    path::Paths,
    peers::{LaneOf, Peers},
    streams::{OpenError, Streams},
};

/// The time from the question to the end of the handshake. By then libp2p would have delivered
/// something.
const OPEN_WITHIN: Duration = Duration::from_secs(5);

/// How long the first packet may stay unanswered.
const CONNECT_WITHIN: Duration = Duration::from_secs(3);

/// How long a device without a lane is not asked again.
const WITHOUT_FOR: Duration = Duration::from_secs(60);

/// A lane that has delivered nothing by then probably never will.
const PROVEN_WITHIN: Duration = Duration::from_secs(3);

/// Lanes of one device that wait for the next range.
const MAX_IDLE: usize = 4;

/// How long an idle lane is kept: less than the provider allows.
const IDLE_FOR: Duration = Duration::from_secs(30);

#[derive(Clone)]
pub(crate) struct Pool {
    identity: Identity,
    streams: Streams,
    peers: Peers,
    paths: Paths,
    devices: Arc<Mutex<BTreeMap<DeviceId, Lanes>>>,
}

/// What is known of a connected device's lanes.
#[derive(Default)]
struct Lanes {
    idle: Vec<(Lane, Instant)>,
    without_until: Option<Instant>,
}

/// A lane for one range. Dropping it cuts the lane; [`Taken::give_back`] keeps it.
pub(crate) struct Taken {
    /// None once it is in use or given back.
    lane: Option<Lane>,
    device: DeviceId,
    pool: Pool,
    was_idle: bool,
    begun: Instant,
    proof: Proof,
}

/// Records that something came over a lane.
#[derive(Clone, Default)]
pub(crate) struct Proof(Arc<AtomicBool>);

impl Proof {
    pub(crate) fn give(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    fn is_given(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Why there is no lane.
#[derive(Debug, thiserror::Error)]
enum NoLane {
    #[error("its podsync is an older one")]
    Older,
    #[error("it offers none")]
    NotOffered,
    #[error("it has as many as it can")]
    Busy,
    #[error("it is not connected")]
    NotConnected,
    #[error("{0}")]
    Failed(#[from] io::Error),
}

impl Pool {
    pub(crate) fn new(identity: Identity, streams: Streams, peers: Peers, paths: Paths) -> Self {
        Self {
            identity,
            streams,
            peers,
            paths,
            devices: Arc::default(),
        }
    }

    /// A lane to a device: an idle one or a new one. None if the range is to go over libp2p.
    pub(crate) async fn take(&self, device: DeviceId) -> Option<Taken> {
        if let Some(lane) = self.take_idle(device) {
            return Some(self.taken(device, lane, true));
        }
        let now = Instant::now();
        let without = |lanes: &Lanes| lanes.without_until.is_some_and(|until| until > now);
        if self.lock().get(&device).is_some_and(without) {
            return None;
        }
        let opened = timeout(OPEN_WITHIN, self.open(device)).await;
        match opened.unwrap_or_else(|_| Err(NoLane::Failed(io::ErrorKind::TimedOut.into()))) {
            Ok(lane) => Some(self.taken(device, lane, false)),
            Err(why) => {
                self.remember(device, &why);
                None
            }
        }
    }

    /// Drops the lanes of a device and its record, after it disconnected or lost trust.
    pub(crate) fn forget(&self, device: DeviceId) {
        self.lock().remove(&device);
    }

    /// Whether there are idle lanes.
    pub(crate) fn has_idle(&self) -> bool {
        self.lock().values().any(|lanes| !lanes.idle.is_empty())
    }

    /// Drops lanes that were idle for too long.
    pub(crate) fn sweep(&self) {
        for lanes in self.lock().values_mut() {
            lanes.idle.retain(|(_, since)| since.elapsed() < IDLE_FOR);
        }
    }

    fn taken(&self, device: DeviceId, lane: Lane, was_idle: bool) -> Taken {
        Taken {
            lane: Some(lane),
            device,
            pool: self.clone(),
            was_idle,
            begun: Instant::now(),
            proof: Proof::default(),
        }
    }

    fn take_idle(&self, device: DeviceId) -> Option<Lane> {
        let mut devices = self.lock();
        let lanes = devices.get_mut(&device)?;
        while let Some((mut lane, _)) = lanes.idle.pop() {
            if lane.is_at_rest() {
                return Some(lane);
            }
        }
        None
    }

    fn keep(&self, device: DeviceId, lane: Lane) {
        let mut devices = self.lock();
        // The token is cancelled before the device is forgotten. Don't keep a lane after that.
        if lane.ends().is_cancelled() {
            return;
        }
        let lanes = devices.entry(device).or_default();
        lanes.without_until = None;
        if lanes.idle.len() < MAX_IDLE {
            lanes.idle.push((lane, Instant::now()));
        }
    }

    fn remember(&self, device: DeviceId, why: &NoLane) {
        let peer = device.short();
        match why {
            NoLane::Busy | NoLane::NotConnected => {
                tracing::debug!(peer, %why, "no lane to it");
                return;
            }
            NoLane::Older | NoLane::NotOffered => {
                tracing::info!(peer, %why, "no lane to it: its bytes come over libp2p, more slowly");
            }
            NoLane::Failed(_) => {
                tracing::warn!(
                    peer, %why,
                    "no lane to it, which something on the way may prevent: its bytes come over libp2p for a minute, more slowly; \
                     open its port for lanes, the one after its port for libp2p"
                );
            }
        }
        let mut devices = self.lock();
        if self.peers.is_connected(device) {
            devices.entry(device).or_default().without_until = Some(Instant::now() + WITHOUT_FOR);
        }
    }

    async fn open(&self, device: DeviceId) -> Result<Lane, NoLane> {
        let of = self.peers.lane_of(device).ok_or(NoLane::NotConnected)?;
        let ip = resolve(&of.addr).await?;
        let offer = self.ask(device, Family::of(ip)).await?;
        let ends = of.ends.clone();
        let opened = ends.run_until_cancelled(self.connect(of, (ip, offer.port).into(), offer));
        opened.await.unwrap_or(Err(NoLane::NotConnected))
    }

    async fn ask(&self, device: DeviceId, family: Family) -> Result<Offer, NoLane> {
        let mut stream = match self.streams.open(device, offer::PROTOCOL).await {
            Ok(stream) => stream,
            Err(OpenError::Unsupported) => return Err(NoLane::Older),
            Err(OpenError::NotConnected) => return Err(NoLane::NotConnected),
            Err(OpenError::TimedOut) => return Err(io::Error::from(io::ErrorKind::TimedOut).into()),
            Err(OpenError::Io(error)) => return Err(error.into()),
        };
        stream.write_all(&[family as u8]).await?;
        stream.flush().await?;
        let mut answer = Vec::with_capacity(1 + OFFER_LEN);
        // Read one byte more, to notice a peer that sends too much.
        let mut bounded = stream.take(2 + OFFER_LEN as u64);
        bounded.read_to_end(&mut answer).await?;
        let answer = parse_answer(&answer);
        match answer.map_err(|what| io::Error::new(io::ErrorKind::InvalidData, what))? {
            Ok(offer) => Ok(offer),
            Err(Status::Busy) => Err(NoLane::Busy),
            Err(_) => Err(NoLane::NotOffered),
        }
    }

    async fn connect(&self, of: LaneOf, addr: SocketAddr, offer: Offer) -> Result<Lane, NoLane> {
        let stream = timeout(CONNECT_WITHIN, self.paths.connect(addr)).await;
        let stream = stream.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let at = |error: io::Error| io::Error::new(error.kind(), format!("{addr}: {error}"));
        let mut stream = stream.map_err(at)?;
        stream.set_nodelay(true)?;
        stream
            .write_all(offer.secret.as_bytes())
            .await
            .map_err(at)?;
        Ok(Lane::connect(&self.identity, of, stream)
            .await
            .map_err(at)?)
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<DeviceId, Lanes>> {
        self.devices.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Taken {
    /// The lane, for the one range that it was taken for.
    pub(crate) fn lane(&mut self) -> Option<Lane> {
        self.lane.take()
    }

    /// A handle to report that something came over it.
    pub(crate) fn proof(&self) -> Proof {
        self.proof.clone()
    }

    /// Keeps the lane for the next range.
    pub(crate) fn give_back(self, lane: Lane) {
        self.proof.give();
        self.pool.keep(self.device, lane);
    }

    /// Handles a lane that ended before an answer began. An idle one may have ended at any time; a new one
    /// indicates a problem.
    pub(crate) fn ended_early(self, error: io::Error) {
        self.proof.give();
        if !self.was_idle {
            self.pool.remember(self.device, &NoLane::Failed(error));
        }
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        let proven = self.was_idle || self.proof.is_given();
        if !proven && self.begun.elapsed() >= PROVEN_WITHIN {
            let nothing = io::Error::new(io::ErrorKind::TimedOut, "nothing came over it");
            self.pool.remember(self.device, &NoLane::Failed(nothing));
        }
    }
}

/// The IP address at which libp2p reaches a device. A name is resolved again and its first address
/// is used.
async fn resolve(addr: &Multiaddr) -> io::Result<IpAddr> {
    let unfit = || io::Error::new(io::ErrorKind::Unsupported, format!("{addr} names no host"));
    let (name, family) = match addr.iter().next().ok_or_else(unfit)? {
        Protocol::Ip4(ip) => return Ok(ip.into()),
        Protocol::Ip6(ip) => return Ok(ip.into()),
        Protocol::Dns(name) => (name, None),
        Protocol::Dns4(name) => (name, Some(Family::V4)),
        Protocol::Dns6(name) => (name, Some(Family::V6)),
        _ => return Err(unfit()),
    };
    let fits = |addr: &SocketAddr| family.is_none_or(|family| family == Family::of(addr.ip()));
    let mut found = tokio::net::lookup_host((name.as_ref(), 0)).await?;
    found.find(fits).map(|addr| addr.ip()).ok_or_else(unfit)
}

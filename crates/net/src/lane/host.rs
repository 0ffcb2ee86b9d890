//! The providing side: offers lanes over libp2p, accepts them at a port of their own, and serves
//! them.
//!
//! A connection there is unknown until it sends a secret that a member was given. Before that this side
//! sends nothing and computes nothing for it.

use std::{
    io,
    net::IpAddr,
    sync::Arc,
    time::{Duration, Instant},
};

use futures::{AsyncReadExt, AsyncWriteExt};
use libp2p::Stream;
use podsync_core::DeviceId;
use tokio::{
    io::AsyncReadExt as _,
    net::{TcpListener, TcpStream},
    time::{sleep, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    newcomers::{Newcomers, Stay},
    offer::{Family, Offer, SECRET_LEN, Secret, Status},
    offers::Offers,
    sockets::Ports,
    stream::Lane,
    tls::Identity,
};
use crate::{
    blobs::provide::{Answered, Provider},
    gate::Gate,
    places::Place,
    served::Served,
};

/// How long an asker may take to name its IP version and read the answer.
const OFFER_TIMEOUT: Duration = Duration::from_secs(5);

/// How long a new connection may take to send its secret, its first bytes.
const SECRET_TIMEOUT: Duration = Duration::from_secs(3);

/// How long the handshake after a valid secret may take.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(5);

/// A lane without requests is closed after this long.
const IDLE_TIMEOUT: Duration = Duration::from_secs(40);

/// The bytes encrypted and written at once: four TLS records.
const FRAME: usize = 64 * 1024;

/// The pause in accepting when the system has no more sockets.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

#[derive(Clone)]
pub(crate) struct Host {
    identity: Identity,
    gate: Arc<dyn Gate>,
    provider: Provider,
    served: Served,
    ports: Ports,
    offers: Offers,
    newcomers: Newcomers,
    tasks: TaskTracker,
    cancel: CancellationToken,
}

/// The parts of a host.
pub(crate) struct HostParts {
    pub(crate) identity: Identity,
    pub(crate) gate: Arc<dyn Gate>,
    pub(crate) provider: Provider,
    pub(crate) served: Served,
    pub(crate) tasks: TaskTracker,
    pub(crate) cancel: CancellationToken,
}

impl Host {
    /// Starts accepting lanes on these sockets.
    pub(crate) fn start(parts: HostParts, (listeners, ports): (Vec<TcpListener>, Ports)) -> Self {
        let host = Self {
            identity: parts.identity,
            gate: parts.gate,
            provider: parts.provider,
            served: parts.served,
            ports,
            offers: Offers::new(),
            newcomers: Newcomers::default(),
            tasks: parts.tasks,
            cancel: parts.cancel,
        };
        for listener in listeners {
            host.track(host.clone().listen(listener));
        }
        host
    }

    /// Offers a lane to a member that asks for one over libp2p.
    pub(crate) async fn offer(&self, device: DeviceId, stream: Stream) {
        match timeout(OFFER_TIMEOUT, self.negotiate(device, stream)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(peer = device.short(), %error, "no lane was agreed on");
            }
            Err(_) => tracing::debug!(peer = device.short(), "no lane was agreed on in time"),
        }
    }

    async fn negotiate(&self, device: DeviceId, mut stream: Stream) -> io::Result<()> {
        let mut family = [0];
        stream.read_exact(&mut family).await?;
        let answer = match self.make_offer(device, Family::from_byte(family[0])) {
            Ok(offer) => [&[Status::Offered as u8][..], &offer.to_bytes()].concat(),
            Err(status) => vec![status as u8],
        };
        stream.write_all(&answer).await?;
        stream.close().await
    }

    fn make_offer(&self, device: DeviceId, family: Option<Family>) -> Result<Offer, Status> {
        let port = family.and_then(|family| self.ports.get(family));
        let port = port.ok_or(Status::NoLane)?;
        let secret = self.identity.fresh_secret().ok_or(Status::NoLane)?;
        let whom = (device, self.gate.is_robot(device));
        match self.offers.make(secret, whom, Instant::now()) {
            true => Ok(Offer { port, secret }),
            false => Err(Status::Busy),
        }
    }

    async fn listen(self, listener: TcpListener) {
        loop {
            match listener.accept().await {
                Ok((stream, from)) => {
                    let stay = self.newcomers.enter(from.ip());
                    self.track(self.clone().welcome(stream, from.ip(), stay));
                }
                Err(error) => {
                    tracing::debug!(%error, "a lane was not let in");
                    sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    async fn welcome(self, stream: TcpStream, ip: IpAddr, stay: Stay) {
        let identified = stay.run(self.identify(stream)).await;
        match identified {
            Some(Ok((device, lane, place))) => {
                drop(stay);
                let ends = lane.ends();
                ends.run_until_cancelled(self.serve(device, lane)).await;
                drop(place);
            }
            Some(Err(error)) => tracing::debug!(%ip, %error, "a newcomer got no lane"),
            None => {}
        }
    }

    async fn identify(&self, mut stream: TcpStream) -> io::Result<(DeviceId, Lane, Place)> {
        let mut secret = [0; SECRET_LEN];
        timeout(SECRET_TIMEOUT, stream.read_exact(&mut secret)).await??;
        let unknown = || io::Error::new(io::ErrorKind::PermissionDenied, "its secret is not known");
        let (device, place) = self
            .offers
            .take(Secret::from_bytes(secret), Instant::now())
            .ok_or_else(unknown)?;
        let of = self.served.peers.lane_of(device);
        let of = of.filter(|_| self.gate.is_member(device));
        let of = of.ok_or_else(|| io::Error::from(io::ErrorKind::NotConnected))?;
        stream.set_nodelay(true)?;
        let lane = Lane::accept(&self.identity, of, stream);
        let lane = timeout(HANDSHAKE_TIMEOUT, lane).await??;
        tracing::debug!(peer = device.short(), "a lane stands");
        Ok((device, lane, place))
    }

    /// Answers one request after the other. The lane is cut when this returns.
    async fn serve(&self, device: DeviceId, mut lane: Lane) {
        while let Ok(Ok(true)) = timeout(IDLE_TIMEOUT, lane.has_more()).await {
            if !self.gate.is_member(device) {
                return;
            }
            let Some(place) = self.provider.place(device) else {
                match self.provider.say_busy(&mut lane).await {
                    Ok(()) => continue,
                    Err(_) => return,
                }
            };
            let answered = self.provider.answer(device, &mut lane, FRAME).await;
            drop(place);
            let (Answered::Whole(sent) | Answered::Broken(sent)) = answered;
            if let Some(sent) = sent {
                self.served.note(device, sent);
            }
            if matches!(answered, Answered::Broken(_)) {
                return;
            }
        }
    }

    fn track(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks
            .spawn(self.cancel.clone().run_until_cancelled_owned(task));
    }
}

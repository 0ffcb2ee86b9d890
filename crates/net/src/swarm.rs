//! The swarm: its transports, and the behaviours that make up a connection.
//!
//! The order of the fields matters: `limits` and `admission` refuse connections, and a behaviour
//! before them would count a connection that never came to be.

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use libp2p::{
    Multiaddr, PeerId, Swarm, Transport, TransportError, connection_limits,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, timeout::TransportTimeout},
        upgrade,
    },
    dns, identify,
    identity::Keypair,
    mdns,
    multiaddr::Protocol,
    noise, ping,
    swarm::{NetworkBehaviour, behaviour::toggle::Toggle},
    yamux,
};
use socket2::{Domain, Socket, Type};

use crate::{
    admission,
    config::{NetConfig, SpawnError},
    gate::Gate,
    gossip,
    path::{self, Paths, Tcp},
};

/// The most connections. Two to one peer exist only while one replaces the other. A robot's runners
/// have one each, as many as [`admission`] allows.
const MAX_CONNECTIONS: u32 = 24;
const MAX_CONNECTIONS_PER_PEER: u32 = admission::MAX_RUNNERS as u32;

/// How often to ask the local network who is there: a lost packet costs no more than this.
const MDNS_QUERY_INTERVAL: Duration = Duration::from_secs(15);

#[derive(NetworkBehaviour)]
pub(crate) struct Behaviour {
    limits: connection_limits::Behaviour,
    pub(crate) admission: admission::Behaviour,
    pub(crate) streams: libp2p_stream::Behaviour,
    pub(crate) gossip: gossip::Behaviour,
    mdns_v4: Toggle<mdns::tokio::Behaviour>,
    mdns_v6: Toggle<mdns::tokio::Behaviour>,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
}

impl Behaviour {
    fn new(key: &Keypair, mdns: bool, gate: Arc<dyn Gate>) -> Result<Self, SpawnError> {
        let local = key.public().to_peer_id();
        let limits = connection_limits::ConnectionLimits::default()
            .with_max_established(Some(MAX_CONNECTIONS))
            .with_max_established_per_peer(Some(MAX_CONNECTIONS_PER_PEER));
        let identify = identify::Config::new("/podsync/1".to_owned(), key.public())
            .with_agent_version(concat!("podsync/", env!("CARGO_PKG_VERSION")).to_owned());
        Ok(Self {
            limits: connection_limits::Behaviour::new(limits),
            admission: admission::Behaviour::new(local, gate),
            streams: libp2p_stream::Behaviour::new(),
            gossip: gossip::Behaviour::new(key)?,
            mdns_v4: discovery(mdns, false, local).into(),
            mdns_v6: discovery(mdns, true, local).into(),
            identify: identify::Behaviour::new(identify),
            ping: ping::Behaviour::new(ping::Config::new().with_interval(path::PING_EVERY)),
        })
    }
}

/// mDNS for one address family. It is optional: without it pinned peers and the hub still work.
fn discovery(wanted: bool, over_v6: bool, local: PeerId) -> Option<mdns::tokio::Behaviour> {
    if !wanted {
        return None;
    }
    let config = mdns::Config {
        query_interval: MDNS_QUERY_INTERVAL,
        enable_ipv6: over_v6,
        ..Default::default()
    };
    mdns::tokio::Behaviour::new(config, local)
        .inspect_err(
            |error| tracing::warn!(%error, "podsync can't discover devices on the local network"),
        )
        .ok()
}

/// TCP with Noise and Yamux, and names where the system can resolve them.
pub(crate) fn build(
    key: &Keypair,
    mdns: bool,
    gate: &Arc<dyn Gate>,
    paths: &Paths,
) -> Result<Swarm<Behaviour>, SpawnError> {
    let local = key.public().to_peer_id();
    let behaviour = Behaviour::new(key, mdns, Arc::clone(gate))?;
    // Connections stay open while both sides live; silence ends dead ones.
    let config = libp2p::swarm::Config::with_tokio_executor()
        .with_idle_connection_timeout(Duration::from_secs(u64::MAX));
    Ok(Swarm::new(transport(key, paths)?, behaviour, local, config))
}

/// Listens at all addresses. A failure to listen on all IPv6 addresses is ignored if IPv4 is configured
/// too.
pub(crate) fn listen(swarm: &mut Swarm<Behaviour>, config: &NetConfig) -> Result<(), SpawnError> {
    let has_v4 = config.listen.iter().any(SocketAddr::is_ipv4);
    for addr in config.listen.iter().copied() {
        let Err(source) = listen_at(swarm, addr) else {
            continue;
        };
        let is_taken = source.kind() == io::ErrorKind::AddrInUse;
        if addr.is_ipv6() && addr.ip().is_unspecified() && has_v4 && !is_taken {
            tracing::info!(%addr, error = %source, "this machine has no IPv6");
            continue;
        }
        if !is_of_this_machine(addr.ip()) {
            return Err(SpawnError::NoSuchAddress { addr });
        }
        return Err(SpawnError::Listen { addr, source });
    }
    Ok(())
}

/// libp2p opens ports for sharing, and would let two daemons listen at one. So the port is taken for itself first.
fn listen_at(swarm: &mut Swarm<Behaviour>, addr: SocketAddr) -> io::Result<()> {
    if addr.port() != 0 {
        let socket = Socket::new(Domain::for_address(addr), Type::STREAM, None)?;
        if addr.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        // A connection of an earlier daemon may still linger at the port.
        socket.set_reuse_address(true)?;
        socket.bind(&addr.into())?;
        socket.listen(1)?;
    }
    let multiaddr = Multiaddr::from(addr.ip()).with(Protocol::Tcp(addr.port()));
    match swarm.listen_on(multiaddr) {
        Ok(_) => Ok(()),
        Err(TransportError::Other(error)) => Err(error),
        Err(error) => Err(io::Error::other(error.to_string())),
    }
}

/// Whether the machine has this address. The transport hides the error that would tell.
pub fn is_of_this_machine(ip: std::net::IpAddr) -> bool {
    let bound = std::net::UdpSocket::bind((ip, 0));
    !bound.is_err_and(|error| error.kind() == io::ErrorKind::AddrNotAvailable)
}

fn transport(key: &Keypair, paths: &Paths) -> Result<Boxed<(PeerId, StreamMuxerBox)>, SpawnError> {
    match dns::tokio::Transport::system(over_tcp(key, paths)?) {
        Ok(transport) => Ok(transport.boxed()),
        Err(error) => {
            tracing::warn!(%error, "no resolver: addresses with host names cannot be dialled");
            over_tcp(key, paths)
        }
    }
}

fn over_tcp(key: &Keypair, paths: &Paths) -> Result<Boxed<(PeerId, StreamMuxerBox)>, SpawnError> {
    let noise = noise::Config::new(key).map_err(|error| SpawnError::Setup(error.to_string()))?;
    let paths = paths.clone();
    let tcp = TransportTimeout::with_outgoing_timeout(Tcp::new(paths.clone()), path::CONNECT)
        .map(move |stream, endpoint| paths.watch(stream, &endpoint))
        .upgrade(upgrade::Version::V1Lazy)
        .authenticate(noise)
        .multiplex(yamux::Config::default())
        .timeout(path::HANDSHAKE)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    Ok(tcp.boxed())
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use futures::StreamExt;
    use libp2p::{
        Multiaddr,
        swarm::{ConnectionId, SwarmEvent, dial_opts::DialOpts},
    };
    use podsync_core::{BlobId, DeviceId};

    use super::*;

    struct Everybody;

    impl Gate for Everybody {
        fn is_member(&self, _: DeviceId) -> bool {
            true
        }

        fn may_fetch(&self, _: DeviceId, _: BlobId) -> bool {
            true
        }
    }

    /// A swarm, and its connections by whether it dialled them.
    struct Side {
        swarm: Swarm<Behaviour>,
        connections: BTreeMap<ConnectionId, bool>,
    }

    impl Side {
        async fn start(seed: u8) -> (Self, Multiaddr) {
            let key = Keypair::ed25519_from_bytes([seed; 32]).unwrap();
            let gate: Arc<dyn Gate> = Arc::new(Everybody);
            let mut swarm = build(&key, false, &gate, &Paths::default()).unwrap();
            let anywhere = "/ip4/127.0.0.1/tcp/0".parse().unwrap();
            swarm.listen_on(anywhere).unwrap();
            let addr = loop {
                if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
                    break address;
                }
            };
            let connections = BTreeMap::new();
            (Self { swarm, connections }, addr)
        }

        fn dial(&mut self, peer: PeerId, addr: Multiaddr) {
            let dial = DialOpts::peer_id(peer).addresses(vec![addr]);
            self.swarm.dial(dial.allocate_new_port().build()).unwrap();
        }

        async fn step(&mut self) {
            match self.swarm.select_next_some().await {
                SwarmEvent::ConnectionEstablished {
                    connection_id,
                    endpoint,
                    ..
                } => {
                    self.connections.insert(connection_id, endpoint.is_dialer());
                }
                SwarmEvent::ConnectionClosed { connection_id, .. } => {
                    self.connections.remove(&connection_id);
                }
                _ => {}
            }
        }

        /// Whether exactly one connection is left, and this side dialled it or not, as given.
        fn is_left_with(&self, dialled_by_us: bool) -> bool {
            let pending = self
                .swarm
                .network_info()
                .connection_counters()
                .num_pending();
            pending == 0 && self.connections.values().eq([&dialled_by_us])
        }
    }

    #[tokio::test]
    async fn dialling_each_other_at_once_ends_with_the_one_that_the_smaller_dialled() {
        crate::install_crypto();
        for seed in (0..20).step_by(2) {
            let (mut a, at_a) = Side::start(seed).await;
            let (mut b, at_b) = Side::start(seed + 1).await;
            let (peer_a, peer_b) = (*a.swarm.local_peer_id(), *b.swarm.local_peer_id());
            a.dial(peer_b, at_b);
            b.dial(peer_a, at_a);
            while !(a.is_left_with(peer_a < peer_b) && b.is_left_with(peer_b < peer_a)) {
                tokio::select! {
                    () = a.step() => {}
                    () = b.step() => {}
                }
            }
        }
    }
}

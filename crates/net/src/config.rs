//! Where to listen.
//!
//! TCP and QUIC share a port number.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
};

use libp2p::{Multiaddr, multiaddr::Protocol};

use crate::limit::Traffic;

/// The port that a daemon listens on unless told otherwise, the same every time so that firewalls
/// and static peers can name it.
pub const DEFAULT_PORT: u16 = 7637;

#[derive(Debug, Clone)]
pub struct NetConfig {
    /// Addresses for both TCP and QUIC. With port 0 the system chooses one port for each.
    pub listen: Vec<SocketAddr>,
    /// Whether to look for peers, and be found, on the local network.
    pub mdns: bool,
    /// The limits for each direction.
    pub traffic: Traffic,
}

impl Default for NetConfig {
    fn default() -> Self {
        Self {
            listen: NetConfig::everywhere(DEFAULT_PORT),
            mdns: true,
            traffic: Traffic::default(),
        }
    }
}

impl NetConfig {
    /// Every address of this machine, in both families.
    pub fn everywhere(port: u16) -> Vec<SocketAddr> {
        vec![
            SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)),
            SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)),
        ]
    }

    /// Reachable from this machine only, on a port that the system chooses, and not announced.
    pub fn loopback() -> Self {
        Self {
            listen: vec![SocketAddr::from((Ipv4Addr::LOCALHOST, 0))],
            mdns: false,
            traffic: Traffic::default(),
        }
    }

    /// QUIC comes first: its socket is exclusive, while libp2p opens TCP ports for sharing and
    /// would let two daemons listen on one.
    pub(crate) fn listen_addrs(&self) -> impl Iterator<Item = (SocketAddr, Multiaddr)> {
        let quic = self.listen.iter().map(|socket| {
            (
                *socket,
                ip(socket)
                    .with(Protocol::Udp(socket.port()))
                    .with(Protocol::QuicV1),
            )
        });
        let tcp = self
            .listen
            .iter()
            .map(|socket| (*socket, ip(socket).with(Protocol::Tcp(socket.port()))));
        quic.chain(tcp)
    }
}

fn ip(socket: &SocketAddr) -> Multiaddr {
    match socket.ip() {
        IpAddr::V4(ip) => Multiaddr::from(ip),
        IpAddr::V6(ip) => Multiaddr::from(ip),
    }
}

/// Why the network could not be started.
#[derive(Debug, thiserror::Error)]
pub enum SpawnError {
    #[error("cannot listen on {addr}: {source}")]
    Listen { addr: SocketAddr, source: io::Error },
    #[error("cannot listen on {addr}: this machine has no address {}", .addr.ip())]
    NoSuchAddress { addr: SocketAddr },
    #[error("cannot set up the network: {0}")]
    Setup(String),
}

impl SpawnError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::Listen { .. } => {
                Some("stop what uses the port, or choose another one with `listen`")
            }
            Self::NoSuchAddress { .. } => Some(
                "name an address of this machine, or 0.0.0.0 for all: with --listen, in PODSYNC_LISTEN, or with \
                 `podsync config set listen IP:PORT`",
            ),
            Self::Setup(..) => None,
        }
    }
}

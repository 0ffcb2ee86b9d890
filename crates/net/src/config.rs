//! Where to listen.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use crate::limit::Traffic;

/// The port that a daemon listens on unless told otherwise, the same every time so that firewalls
/// and static peers can name it.
pub const DEFAULT_PORT: u16 = 7637;

#[derive(Debug, Clone)]
pub struct NetConfig {
    /// Addresses for TCP. With port 0 the system chooses one.
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
                "name an address of this machine, or 0.0.0.0 for all: in PODSYNC_LISTEN, with `podsync daemon --listen \
                 IP:PORT`, or with `podsync config set listen IP:PORT`",
            ),
            Self::Setup(..) => None,
        }
    }
}

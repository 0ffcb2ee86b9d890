//! The sockets for lanes: one port for each IP version.
//!
//! It is the port after libp2p's, so that a firewall rule can name it. If that is taken it is any other: an
//! offer carries the port.

use std::{
    io,
    net::{IpAddr, SocketAddr},
};

use socket2::SockRef;
use tokio::net::{TcpListener, TcpSocket};

use super::offer::Family;

/// Connections that wait to be accepted.
const BACKLOG: u32 = 128;

/// The ports on which lanes can be opened.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Ports {
    v4: Option<u16>,
    v6: Option<u16>,
}

impl Ports {
    pub(crate) fn get(&self, family: Family) -> Option<u16> {
        match family {
            Family::V4 => self.v4,
            Family::V6 => self.v6,
        }
    }

    fn slot(&mut self, family: Family) -> &mut Option<u16> {
        match family {
            Family::V4 => &mut self.v4,
            Family::V6 => &mut self.v6,
        }
    }
}

/// Listens at each of libp2p's addresses. If that fails, blobs go over libp2p.
pub(crate) fn listen(beside: &[SocketAddr]) -> (Vec<TcpListener>, Ports) {
    let (mut listeners, mut ports) = (Vec::new(), Ports::default());
    for addr in beside {
        let slot = ports.slot(Family::of(addr.ip()));
        let bound = match *slot {
            // All listeners of one IP version share a port, since an offer names one.
            Some(port) => bind((addr.ip(), port).into()),
            None => bind(next_port(addr)).or_else(|_| bind((addr.ip(), 0).into())),
        };
        match bound {
            Ok((listener, port)) => {
                *slot = Some(port);
                listeners.push(listener);
            }
            Err(error) => {
                tracing::info!(ip = %addr.ip(), %error, "no lanes are served at this address")
            }
        }
    }
    (listeners, ports)
}

fn next_port(addr: &SocketAddr) -> SocketAddr {
    let port = match addr.port() {
        0 => 0,
        port => port.checked_add(1).unwrap_or(0),
    };
    (addr.ip(), port).into()
}

fn bind(addr: SocketAddr) -> io::Result<(TcpListener, u16)> {
    let socket = match addr.ip() {
        IpAddr::V4(_) => TcpSocket::new_v4()?,
        IpAddr::V6(_) => {
            let socket = TcpSocket::new_v6()?;
            // Otherwise it would take the port of the other version too.
            SockRef::from(&socket).set_only_v6(true)?;
            socket
        }
    };
    // Allow a restart to reuse the port at once.
    #[cfg(unix)]
    socket.set_reuseaddr(true)?;
    socket.bind(addr)?;
    let listener = socket.listen(BACKLOG)?;
    let port = listener.local_addr()?.port();
    Ok((listener, port))
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    #[tokio::test]
    async fn the_next_port_is_taken_or_any_other() {
        let (first, port) = bind((Ipv4Addr::LOCALHOST, 0).into()).unwrap();
        let beside = [SocketAddr::from((Ipv4Addr::LOCALHOST, port - 1))];
        let (listeners, ports) = listen(&beside);
        assert_eq!(listeners.len(), 1);
        let other = ports.get(Family::V4).unwrap();
        assert_ne!(other, port, "it is taken");
        drop((first, listeners));
        let (_listeners, ports) = listen(&beside);
        assert_eq!(ports.get(Family::V4), Some(port));
        assert_eq!(ports.get(Family::V6), None);
    }

    #[tokio::test]
    async fn both_versions_of_ip_have_a_port_each() {
        let everywhere = crate::NetConfig::everywhere(0);
        let (listeners, ports) = listen(&everywhere);
        assert!(ports.get(Family::V4).is_some());
        if ports.get(Family::V6).is_none() {
            eprintln!("NOT RUN: this machine has no IPv6");
            return;
        }
        assert_eq!(listeners.len(), 2);
        let (none, ports) = listen(&[]);
        assert!(none.is_empty() && ports.get(Family::V4).is_none());
    }
}

//! TCP connections as network paths: live, dead, or closed to make room.
//!
//! A broken path looks like a silent connection. So both sides send something at least every [`PING_EVERY`].
//! A path is dead if nothing came for [`SILENCE`], or if this machine no longer has its local address.

mod narrow;
mod stream;
mod transport;

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use futures::task::AtomicWaker;
use libp2p::{Multiaddr, core::ConnectedPoint, multiaddr::Protocol, tcp};
use socket2::SockRef;
use tokio::net::{TcpSocket, TcpStream};

use self::{
    narrow::{Narrow, SMALL_SEGMENT},
    stream::{Ended, Signs},
};
pub(crate) use self::{stream::Path, transport::Tcp};
use crate::peer_id::ip_of;

/// How often a side pings.
pub(crate) const PING_EVERY: Duration = Duration::from_millis(1500);
/// How long nothing may come before a path is dead: two pings of each side and their answers are missing then.
pub(crate) const SILENCE: Duration = Duration::from_millis(4200);
/// The time for a whole handshake. Each of its steps has [`SILENCE`].
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long the first packet of a dialled connection may stay unanswered. The system resends it after
/// one and three seconds; by then a new attempt is as good.
pub(crate) const CONNECT: Duration = Duration::from_secs(3);
/// The most inbound handshakes. Beyond this, the oldest one of the address with the most is closed, so that
/// stalled ones make room for working ones.
const MAX_HANDSHAKES: usize = 128;

/// All paths of a network. Clones share them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Paths(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    last_id: u64,
    open: BTreeMap<u64, Open>,
    narrow: Narrow,
}

#[derive(Debug)]
struct Open {
    local: IpAddr,
    remote: SocketAddr,
    accepted: bool,
    /// When the connection was established. None during the handshake.
    established: Option<Instant>,
    cut: Arc<Cut>,
    beside: Beside,
}

/// Tells a path that its peer sent something on a parallel connection, whose traffic may delay pings on
/// this one.
#[derive(Debug, Clone, Default)]
pub(crate) struct Beside(Arc<Mutex<Option<tokio::time::Instant>>>);

impl Beside {
    pub(crate) fn heard(&self) {
        *self.lock() = Some(tokio::time::Instant::now());
    }

    fn last(&self) -> Option<tokio::time::Instant> {
        *self.lock()
    }

    fn lock(&self) -> MutexGuard<'_, Option<tokio::time::Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Why this side ends a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// The machine no longer has its local address.
    AddressGone = 1,
    /// Other handshakes need the room.
    NoRoom = 2,
    /// The peer has lost it and has another one.
    Replaced = 3,
}

/// Tells a stream that its path was ended.
#[derive(Debug, Default)]
struct Cut {
    why: AtomicU8,
    task: AtomicWaker,
}

impl Cut {
    fn cut(&self, why: Why) {
        self.why.store(why as u8, Ordering::Release);
        self.task.wake();
    }

    fn why(&self) -> Option<Why> {
        match self.why.load(Ordering::Acquire) {
            1 => Some(Why::AddressGone),
            2 => Some(Why::NoRoom),
            3 => Some(Why::Replaced),
            _ => None,
        }
    }
}

impl Paths {
    /// Watches a connection that was accepted or dialled.
    pub(crate) fn watch(&self, stream: tcp::tokio::TcpStream, endpoint: &ConnectedPoint) -> Path {
        let accepted = endpoint.is_listener();
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        // A stream without addresses fails at its first read.
        let remote = stream.0.peer_addr().unwrap_or(unknown);
        let local = stream.0.local_addr().unwrap_or(unknown).ip();
        let mut table = self.lock();
        let (cut, beside) = (Arc::new(Cut::default()), Beside::default());
        if accepted {
            table.make_room();
        }
        table.last_id += 1;
        let id = table.last_id;
        table.open.insert(
            id,
            Open {
                local,
                remote,
                accepted,
                established: None,
                cut: Arc::clone(&cut),
                beside: beside.clone(),
            },
        );
        drop(table);
        Path::new(stream, id, Signs { cut, beside }, self.clone())
    }

    /// Whether full packets to this address seem to be lost.
    fn is_narrow(&self, remote: IpAddr) -> bool {
        self.lock().narrow.is_suspected(remote, Instant::now())
    }

    /// Connects to an address. On a narrow path both sides will send small segments only.
    pub(crate) async fn connect(&self, remote: SocketAddr) -> io::Result<TcpStream> {
        let socket = match remote {
            SocketAddr::V4(_) => TcpSocket::new_v4()?,
            SocketAddr::V6(_) => TcpSocket::new_v6()?,
        };
        if self.is_narrow(remote.ip()) {
            SockRef::from(&socket).set_tcp_mss(SMALL_SEGMENT)?;
        }
        socket.connect(remote).await
    }

    /// Records that the handshake at this address succeeded. Returns the handle for parallel
    /// connections.
    pub(crate) fn established(&self, remote: &Multiaddr) -> Beside {
        let mut beside = Beside::default();
        let Some(remote) = tcp_socket(remote) else {
            return beside;
        };
        let now = Instant::now();
        for open in self.lock().open.values_mut() {
            if open.remote == remote {
                open.established.get_or_insert(now);
                beside = open.beside.clone();
            }
        }
        beside
    }

    /// Ends all paths from an address that this machine no longer has.
    pub(crate) fn address_gone(&self, local: IpAddr) {
        for open in self.lock().open.values() {
            if open.local == local {
                open.cut.cut(Why::AddressGone);
            }
        }
    }

    /// Ends the connection to this address, which the peer has lost and no longer reads.
    pub(crate) fn replaced(&self, remote: &Multiaddr) {
        let remote = tcp_socket(remote);
        for open in self.lock().open.values() {
            if Some(open.remote) == remote {
                open.cut.cut(Why::Replaced);
            }
        }
    }

    fn closed(&self, id: u64, ended: Option<Ended>) {
        let mut table = self.lock();
        let Some(open) = table.open.remove(&id) else {
            return;
        };
        if let (Some(since), Some(Ended::Lost)) = (open.established, ended) {
            table
                .narrow
                .note_lost(open.remote.ip(), since, Instant::now());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// If there are too many handshakes, ends the oldest of the address with the most.
    fn make_room(&mut self) {
        let pending =
            |open: &&Open| open.accepted && open.established.is_none() && open.cut.why().is_none();
        let mut by_address: BTreeMap<IpAddr, usize> = BTreeMap::new();
        let mut count = 0;
        for open in self.open.values().filter(pending) {
            *by_address.entry(open.remote.ip()).or_default() += 1;
            count += 1;
        }
        if count < MAX_HANDSHAKES {
            return;
        }
        let most = by_address.into_iter().max_by_key(|(_, count)| *count);
        // Ids grow, so the first one is the oldest.
        let mut its = self.open.values().filter(pending);
        let oldest = its.find(|open| most.is_some_and(|(ip, _)| open.remote.ip() == ip));
        if let Some(open) = oldest {
            tracing::debug!(addr = %open.remote, "its handshake makes room for another");
            open.cut.cut(Why::NoRoom);
        }
    }
}

/// The socket address of a TCP address.
fn tcp_socket(address: &Multiaddr) -> Option<SocketAddr> {
    let ip = ip_of(address)?;
    match address.iter().nth(1)? {
        Protocol::Tcp(port) => Some((ip, port).into()),
        _ => None,
    }
}

#[cfg(test)]
mod tests;

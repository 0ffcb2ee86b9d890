//! TCP connections as paths through the network: which stand, which are dead, and which had to make room.
//!
//! A connection whose path is gone looks like one where nobody has anything to say. So both sides say
//! something at least every [`PING_EVERY`], and a path on which nothing has come for [`SILENCE`] is dead, as
//! is one that leaves from an address that this machine has no more. QUIC keeps the same times by itself.

mod fragments;
mod stream;

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU8, Ordering},
    },
    time::{Duration, Instant},
};

use futures::task::AtomicWaker;
use libp2p::{Multiaddr, core::ConnectedPoint, multiaddr::Protocol, tcp};

pub(crate) use self::stream::Path;
use self::{
    fragments::Fragments,
    stream::{Ended, Signs},
};
use crate::peer_id::ip_of;

/// How often a side pings.
pub(crate) const PING_EVERY: Duration = Duration::from_millis(1500);
/// How long nothing may come before a path is dead: of two pings of each side and their answers none has come.
pub(crate) const SILENCE: Duration = Duration::from_millis(4200);
/// For a handshake to end, in all. Each of its steps has [`SILENCE`].
pub(crate) const HANDSHAKE: Duration = Duration::from_secs(10);
/// For the first packet of a dialled connection to be answered: the second attempt of the system is sent
/// after a second, the third one after three, and by then a new one is as good.
pub(crate) const CONNECT: Duration = Duration::from_secs(3);
/// Handshakes that others have begun. Beyond this the oldest one goes of whoever has most, so that who stalls
/// makes room for who doesn't.
const MAX_HANDSHAKES: usize = 128;

/// All paths of a network; clones are the same ones.
#[derive(Debug, Clone, Default)]
pub(crate) struct Paths(Arc<Mutex<Table>>);

#[derive(Debug, Default)]
struct Table {
    last_id: u64,
    open: BTreeMap<u64, Open>,
    fragments: Fragments,
}

#[derive(Debug)]
struct Open {
    local: IpAddr,
    remote: SocketAddr,
    accepted: bool,
    /// Since when the connection stands; none during the handshake.
    established: Option<Instant>,
    cut: Arc<Cut>,
    beside: Beside,
}

/// Tells a path that its peer was heard on a connection beside it: what fills the link there may keep pings
/// waiting here.
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

/// Why a path is ended from here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Why {
    /// The machine has no longer the address that it leaves from.
    AddressGone = 1,
    /// Others' handshakes need the room.
    NoRoom = 2,
    /// The peer has lost it, and has another one.
    Replaced = 3,
}

/// Tells a stream that its path is ended.
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
    /// Watches over a connection that was accepted, or whose dialling succeeded.
    pub(crate) fn watch(&self, stream: tcp::tokio::TcpStream, endpoint: &ConnectedPoint) -> Path {
        let accepted = endpoint.is_listener();
        let unknown = SocketAddr::from(([0, 0, 0, 0], 0));
        // A stream that has no addresses any more fails at its first read.
        let remote = stream.0.peer_addr().unwrap_or(unknown);
        let local = stream.0.local_addr().unwrap_or(unknown).ip();
        let mut table = self.lock();
        if table.fragments.wanted(remote.ip(), Instant::now()) {
            fragments::allow(&stream.0);
        }
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

    /// Readies a connection beside those that are watched.
    pub(crate) fn prepare(&self, stream: &tokio::net::TcpStream) {
        let remote = stream.peer_addr().map(|addr| addr.ip());
        let wanted = |ip| self.lock().fragments.wanted(ip, Instant::now());
        if remote.is_ok_and(wanted) {
            fragments::allow(stream);
        }
    }

    /// The handshake at this address succeeded. What comes back is for connections beside it.
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

    /// This machine has no longer this address: what leaves from there is dead.
    pub(crate) fn address_gone(&self, local: IpAddr) {
        for open in self.lock().open.values() {
            if open.local == local {
                open.cut.cut(Why::AddressGone);
            }
        }
    }

    /// Whether full packets over TCP vanish on the way to this address, with no way to have them cut.
    pub(crate) fn swallows(&self, address: &Multiaddr) -> bool {
        tcp_socket(address).is_some_and(|remote| {
            remote.is_ipv6() && self.lock().fragments.wanted(remote.ip(), Instant::now())
        })
    }

    /// The peer at this address has lost the connection: nobody reads it any more.
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
                .fragments
                .note_lost(open.remote.ip(), since, Instant::now());
        }
    }

    fn lock(&self) -> MutexGuard<'_, Table> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Table {
    /// Ends a handshake where there are too many: of the address that has most, the oldest.
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

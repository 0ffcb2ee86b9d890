//! libp2p's TCP, with small segments on narrow paths.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use futures::FutureExt;
use libp2p::{
    Multiaddr, Transport,
    core::transport::{DialOpts, ListenerId, TransportError, TransportEvent},
    tcp,
};

use super::{Paths, tcp_socket};

pub(crate) struct Tcp {
    inner: tcp::tokio::Transport,
    paths: Paths,
}

impl Tcp {
    pub(crate) fn new(paths: Paths) -> Self {
        let inner = tcp::tokio::Transport::new(tcp::Config::default());
        Self { inner, paths }
    }

    async fn connect(paths: Paths, addr: SocketAddr) -> io::Result<tcp::tokio::TcpStream> {
        let stream = paths.connect(addr).await?;
        stream.set_nodelay(true)?;
        Ok(tcp::tokio::TcpStream(stream))
    }
}

impl Transport for Tcp {
    type Output = tcp::tokio::TcpStream;
    type Error = io::Error;
    type ListenerUpgrade = <tcp::tokio::Transport as Transport>::ListenerUpgrade;
    type Dial = <tcp::tokio::Transport as Transport>::Dial;

    fn listen_on(
        &mut self,
        id: ListenerId,
        addr: Multiaddr,
    ) -> Result<(), TransportError<io::Error>> {
        self.inner.listen_on(id, addr)
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        self.inner.remove_listener(id)
    }

    fn dial(
        &mut self,
        addr: Multiaddr,
        opts: DialOpts,
    ) -> Result<Self::Dial, TransportError<io::Error>> {
        match tcp_socket(&addr) {
            Some(socket) if self.paths.is_narrow(socket.ip()) => {
                Ok(Self::connect(self.paths.clone(), socket).boxed())
            }
            _ => self.inner.dial(addr, opts),
        }
    }

    fn poll(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        Pin::new(&mut self.inner).poll(cx)
    }
}

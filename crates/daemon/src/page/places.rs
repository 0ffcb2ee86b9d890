//! Limits the page's open connections. The listener takes a place before it accepts a connection.

use std::{io, net::SocketAddr, sync::Arc};

use axum::serve::Listener;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_util::io::InspectReader;

/// A browser opens six connections to one server, and each tab keeps one open for events.
const MAX_CONNECTIONS: usize = 64;

pub(super) struct Places {
    listener: TcpListener,
    free: Arc<Semaphore>,
}

impl Places {
    pub(super) fn of(listener: TcpListener) -> Self {
        Self {
            listener,
            free: Arc::new(Semaphore::new(MAX_CONNECTIONS)),
        }
    }
}

/// A stream that holds its place until it is dropped.
type Placed = InspectReader<TcpStream, Box<dyn FnMut(&[u8]) + Send>>;

impl Listener for Places {
    type Io = Placed;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Placed, SocketAddr) {
        let place = Arc::clone(&self.free).acquire_owned().await;
        let (stream, from) = Listener::accept(&mut self.listener).await;
        let keep = Box::new(move |_: &[u8]| {
            let _held = &place;
        });
        (InspectReader::new(stream, keep), from)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

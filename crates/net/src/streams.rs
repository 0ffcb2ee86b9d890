//! Opens fresh streams to connected peers without the actor.

use std::{io, time::Duration};

use libp2p::{Stream, StreamProtocol};
use libp2p_stream::{Control, OpenStreamError};
use podsync_core::DeviceId;
use tokio::time::timeout;

use crate::{peer_id::peer_of, peers::Peers};

/// How long a connected peer may take to accept a stream.
const OPEN_TIMEOUT: Duration = Duration::from_secs(10);

#[derive(Clone)]
pub(crate) struct Streams {
    control: Control,
    peers: Peers,
}

/// Why there is no stream.
pub(crate) enum OpenError {
    NotConnected,
    TimedOut,
    Unsupported,
    Io(io::Error),
}

impl Streams {
    pub(crate) fn new(control: Control, peers: Peers) -> Self {
        Self { control, peers }
    }

    /// Opens a stream. Check that the peer is connected first, or libp2p-stream would dial it.
    pub(crate) async fn open(
        &self,
        device: DeviceId,
        protocol: StreamProtocol,
    ) -> Result<Stream, OpenError> {
        if !self.peers.is_connected(device) {
            return Err(OpenError::NotConnected);
        }
        let mut control = self.control.clone();
        match timeout(OPEN_TIMEOUT, control.open_stream(peer_of(device), protocol)).await {
            Err(_) => Err(OpenError::TimedOut),
            Ok(Ok(stream)) => Ok(stream),
            Ok(Err(OpenStreamError::UnsupportedProtocol(_))) => Err(OpenError::Unsupported),
            Ok(Err(OpenStreamError::Io(error))) => Err(OpenError::Io(error)),
            Ok(Err(error)) => Err(OpenError::Io(io::Error::other(error.to_string()))),
        }
    }
}

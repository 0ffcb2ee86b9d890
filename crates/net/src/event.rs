//! Events from the network to the daemon.
//!
//! The channel is bounded. Where the daemon falls behind, gossip, hints and counts are dropped
//! (the exchange of heads makes up for lost gossip); connections and requests never are.

use libp2p::{Multiaddr, PeerId, gossipsub};
use podsync_core::{BlobId, DeviceId, TeamId, wire::Protocol};
use tokio::sync::oneshot;

#[derive(Debug)]
pub enum NetEvent {
    /// Peers can reach us here.
    Listening {
        addr: Multiaddr,
    },
    /// Peers can no longer reach us here.
    ListeningEnded {
        addr: Multiaddr,
    },
    /// This machine's addresses have changed. Connections over removed ones end by themselves.
    NetworkChanged,
    /// This peer is connected, by its first connection. It may be in no team.
    Connected {
        device: DeviceId,
        addr: Multiaddr,
        /// Whether we dialled it, so that it can be dialled again at this address.
        dialled: bool,
    },
    Disconnected {
        device: DeviceId,
    },
    /// Someone on the local network claims to be `device`: a hint, proven only by connecting.
    Discovered {
        device: DeviceId,
        addrs: Vec<Multiaddr>,
    },
    /// A message from the member `from`, with a valid transport signature but not yet trusted. It
    /// is forwarded only after [`report`](crate::Net::report) accepts it.
    Gossip {
        team: TeamId,
        from: DeviceId,
        bytes: Vec<u8>,
        id: GossipId,
    },
    /// A peer's request. On all protocols but `Membership` the peer is a member. It waits for the
    /// responder.
    Request {
        device: DeviceId,
        protocol: Protocol,
        bytes: Vec<u8>,
        responder: Responder,
    },
    /// A range of a blob was sent, or as much of it as the peer took.
    Served {
        device: DeviceId,
        blob: BlobId,
        bytes: u64,
    },
    /// A range of a blob could not be read here: it is damaged, or not here.
    Unreadable {
        blob: BlobId,
    },
}

/// Identifies a gossip message in its verdict.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GossipId {
    pub(crate) message: gossipsub::MessageId,
    pub(crate) from: PeerId,
}

/// The daemon's verdict on a gossip message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Valid: forward it.
    Accept,
    /// Invalid: drop it and lower the sender's score.
    Reject,
    /// Neither: drop it.
    Ignore,
}

impl From<Verdict> for gossipsub::MessageAcceptance {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Accept => Self::Accept,
            Verdict::Reject => Self::Reject,
            Verdict::Ignore => Self::Ignore,
        }
    }
}

/// Takes the answer to one request. Dropping it tells the peer that we failed.
#[derive(Debug)]
pub struct Responder {
    protocol: Protocol,
    reply: oneshot::Sender<Vec<u8>>,
}

/// An answer that its protocol cannot carry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an answer of {len} bytes on {}, more than the {} allowed: answer in parts", .protocol.name(), .protocol.max_len())]
pub struct ResponseTooLarge {
    pub protocol: Protocol,
    pub len: usize,
}

impl Responder {
    pub(crate) fn new(protocol: Protocol) -> (Self, oneshot::Receiver<Vec<u8>>) {
        let (reply, answer) = oneshot::channel();
        (Self { protocol, reply }, answer)
    }

    /// Answers. A peer that has gone meanwhile is not an error.
    pub fn respond(self, bytes: Vec<u8>) -> Result<(), ResponseTooLarge> {
        if bytes.len() > self.protocol.max_len() {
            return Err(ResponseTooLarge {
                protocol: self.protocol,
                len: bytes.len(),
            });
        }
        let _ = self.reply.send(bytes);
        Ok(())
    }
}

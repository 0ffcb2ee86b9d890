//! What the network tells the daemon.
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
    /// Not any more.
    ListeningEnded {
        addr: Multiaddr,
    },
    /// This machine has other addresses than before. Connections over those that are gone end by themselves.
    NetworkChanged,
    /// The first connection to this peer stands. It may be one that no team lists.
    Connected {
        device: DeviceId,
        addr: Multiaddr,
        /// We dialled it: at this address it can be dialled again.
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
    /// A message from the member `from`, signed on its way but not yet believed. Nobody else hears
    /// of it until it is accepted through [`report`](crate::Net::report).
    Gossip {
        team: TeamId,
        from: DeviceId,
        bytes: Vec<u8>,
        id: GossipId,
    },
    /// A peer asks; on all protocols but `Membership` it is a member. It waits for the responder.
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
}

/// Names a gossiped message in the answer about it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct GossipId {
    pub(crate) message: gossipsub::MessageId,
    pub(crate) from: PeerId,
}

/// What the daemon makes of a gossiped message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Valid: pass it on.
    Accept,
    /// Invalid: drop it, and think less of who sent it.
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

/// Takes the answer to one request; dropped, it tells the peer that we failed.
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

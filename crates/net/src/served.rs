//! Counts the blob bytes that peers took, and reports them to the daemon.

use podsync_core::DeviceId;
use tokio::sync::mpsc;

use crate::{blobs::provide::Sent, event::NetEvent, peers::Peers};

#[derive(Clone)]
pub(crate) struct Served {
    pub(crate) peers: Peers,
    pub(crate) events: mpsc::Sender<NetEvent>,
}

impl Served {
    pub(crate) fn note(&self, device: DeviceId, sent: Sent) {
        let Sent { blob, bytes } = sent;
        self.peers.update(device, |peer| peer.served += bytes);
        // Only a count: it may be dropped if the daemon falls behind.
        let _ = self.events.try_send(NetEvent::Served {
            device,
            blob,
            bytes,
        });
    }
}

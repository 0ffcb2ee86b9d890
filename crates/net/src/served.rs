//! Counts the blob bytes that peers took, and reports to the daemon what was sent and what could not be read.

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
        let Sent {
            blob,
            bytes,
            is_unreadable,
        } = sent;
        if is_unreadable {
            // If it is dropped, the next request for the blob reports it again.
            let _ = self.events.try_send(NetEvent::Unreadable { blob });
        }
        self.peers.passed(device, |contact| contact.served += bytes);
        // Only a count: it may be dropped if the daemon falls behind.
        let _ = self.events.try_send(NetEvent::Served {
            device,
            blob,
            bytes,
        });
    }
}

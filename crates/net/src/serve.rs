//! Accepts every stream that a peer opens.
//!
//! A refused peer is told so at once, unread and without a task. An admitted one takes a slot and
//! is served in a task. libp2p-stream queues one stream per protocol, so these loops never wait.

use std::sync::Arc;

use futures::{AsyncWriteExt, FutureExt, StreamExt, stream::SelectAll};
use libp2p::{PeerId, Stream, StreamProtocol};
use libp2p_stream::{Control, IncomingStreams};
use podsync_core::{DeviceId, wire::Protocol};
use tokio::sync::mpsc;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    blobs::{
        self,
        provide::{Answered, Provider, close},
    },
    config::SpawnError,
    exchange::{self, Answerer},
    gate::Gate,
    lane::{host::Host, offer},
    peer_id::device_of,
    places::Places,
    served::Served,
};

/// The size of a yamux frame: writes of this size or more bypass the buffer.
const FRAME: usize = 16 * 1024;

/// The most members that are being offered a lane at once.
const LANE_OFFERS: usize = 32;
const LANE_OFFERS_PER_PEER: usize = 16;

#[derive(Clone)]
pub(crate) struct Door {
    pub(crate) gate: Arc<dyn Gate>,
    pub(crate) provider: Provider,
    pub(crate) answerer: Answerer,
    pub(crate) lanes: Host,
    pub(crate) served: Served,
    /// Gets unlisted peers that have used their exchange.
    pub(crate) had_exchange: mpsc::Sender<DeviceId>,
    pub(crate) tasks: TaskTracker,
    pub(crate) cancel: CancellationToken,
}

impl Door {
    pub(crate) fn open(self, streams: &mut Control) -> Result<(), SpawnError> {
        let taken = |error: libp2p_stream::AlreadyRegistered| SpawnError::Setup(error.to_string());
        let blobs = streams.accept(blobs::PROTOCOL).map_err(taken)?;
        let lanes = streams.accept(offer::PROTOCOL).map_err(taken)?;
        let mut exchanges = SelectAll::new();
        for protocol in Protocol::ALL {
            let incoming = streams
                .accept(StreamProtocol::new(protocol.name()))
                .map_err(taken)?;
            exchanges.push(
                incoming
                    .map(move |(peer, stream)| (protocol, peer, stream))
                    .boxed(),
            );
        }
        self.track(self.clone().take_blobs(blobs));
        self.track(self.clone().take_lanes(lanes));
        self.track(self.clone().take_exchanges(exchanges));
        Ok(())
    }

    async fn take_blobs(self, mut incoming: IncomingStreams) {
        while let Some((peer, stream)) = incoming.next().await {
            let Some(device) = device_of(&peer) else {
                continue;
            };
            if !self.gate.is_member(device) {
                turn_away(stream, blobs::REFUSED);
                continue;
            }
            let Some(place) = self.provider.place(device) else {
                turn_away(stream, blobs::BUSY);
                continue;
            };
            let door = self.clone();
            self.track(async move {
                door.serve_blob(device, stream).await;
                drop(place);
            });
        }
    }

    async fn serve_blob(&self, device: DeviceId, mut stream: Stream) {
        let answered = self.provider.answer(device, &mut stream, FRAME).await;
        let (Answered::Whole(sent) | Answered::Broken(sent)) = answered;
        if matches!(answered, Answered::Whole(_))
            && let Err(error) = close(stream).await
        {
            tracing::debug!(peer = device.short(), %error, "stream cut at its end");
        }
        if let Some(sent) = sent {
            self.served.note(device, sent);
        }
    }

    async fn take_lanes(self, mut incoming: IncomingStreams) {
        let places = Places::new(LANE_OFFERS, LANE_OFFERS_PER_PEER);
        while let Some((peer, stream)) = incoming.next().await {
            let Some(device) = device_of(&peer) else {
                continue;
            };
            if !self.gate.is_member(device) {
                turn_away(stream, offer::REFUSED);
                continue;
            }
            let Some(place) = places.take(device) else {
                turn_away(stream, offer::BUSY);
                continue;
            };
            let lanes = self.lanes.clone();
            self.track(async move {
                lanes.offer(device, stream).await;
                drop(place);
            });
        }
    }

    async fn take_exchanges<S>(self, mut incoming: SelectAll<S>)
    where
        S: futures::Stream<Item = (Protocol, PeerId, Stream)> + Unpin,
    {
        while let Some((protocol, peer, stream)) = incoming.next().await {
            let Some(device) = device_of(&peer) else {
                continue;
            };
            let is_member = self.gate.is_member(device);
            if !is_member && protocol != Protocol::Membership {
                turn_away(stream, exchange::REFUSED);
                continue;
            }
            let Some(place) = self
                .answerer
                .place(device, protocol, self.gate.is_robot(device))
            else {
                turn_away(stream, exchange::BUSY);
                continue;
            };
            let door = self.clone();
            self.track(async move {
                door.answerer.serve(device, protocol, stream).await;
                drop(place);
                if !is_member {
                    let _ = door.had_exchange.send(device).await;
                }
            });
        }
    }

    fn track(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.tasks
            .spawn(self.cancel.clone().run_until_cancelled_owned(task));
    }
}

/// Sends a refusal, as far as possible without waiting.
fn turn_away(mut stream: Stream, status: u8) {
    let say_no = async {
        stream.write_all(&[status]).await?;
        stream.close().await
    };
    if let Some(Err(error)) = say_no.now_or_never() {
        tracing::debug!(%error, "a peer left before it was turned away");
    }
}

//! One question, one answer: the four request protocols, each exchange on a stream of its own.
//!
//! On the wire: the asker sends a length (`u32`, big-endian) and that many bytes; the answerer a
//! status byte and, if it is 0, a length and that many bytes. Lengths and not ends, because yamux
//! shows a broken connection as an end. The asker never closes its side: with that done, dropping
//! the stream would tell the answerer nothing.
//!
//! These run on plain streams and not on libp2p's request-response, which reads the request before
//! it tells who asks. Here a stranger's request is refused unread.

use std::{io, pin::pin, time::Duration};

use futures::{
    AsyncReadExt, AsyncWriteExt,
    future::{Either, select},
};
use libp2p::Stream;
use podsync_core::{DeviceId, wire::Protocol};
use tokio::{sync::mpsc, time::timeout};

use crate::{
    event::{NetEvent, Responder},
    framing::{receive, send},
    places::{Place, Places},
};

/// Exchanges answered at once on the protocols for members; with [`Protocol::max_len`] this bounds
/// the memory that peers can make us use.
const MEMBER_EXCHANGES: usize = 16;
const MEMBER_EXCHANGES_PER_PEER: usize = 6;

/// Membership exchanges answered at once. Anybody may start one.
const MEMBERSHIP_EXCHANGES: usize = 8;
const MEMBERSHIP_EXCHANGES_PER_PEER: usize = 2;

/// From the first byte of the request to the last of the answer.
const fn time_limit(protocol: Protocol) -> Duration {
    match protocol {
        Protocol::Membership => Duration::from_secs(5),
        Protocol::Heads | Protocol::Have => Duration::from_secs(15),
        Protocol::Entries => Duration::from_secs(30),
    }
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub enum RequestError {
    #[error("not connected to {device}: dial it first")]
    NotConnected { device: DeviceId },
    #[error("a request of {len} bytes on {}, more than the {} allowed: ask in parts", .protocol.name(), .protocol.max_len())]
    TooLarge { protocol: Protocol, len: usize },
    #[error(
        "{device} refused {}: it does not list this device as a member; ask for an invite", .protocol.name())]
    Refused {
        device: DeviceId,
        protocol: Protocol,
    },
    #[error("{device} is too busy for {}: ask again later, or another peer", .protocol.name())]
    Busy {
        device: DeviceId,
        protocol: Protocol,
    },
    #[error("{device} could not answer {}: see its log, or ask another peer", .protocol.name())]
    Failed {
        device: DeviceId,
        protocol: Protocol,
    },
    #[error("{device} broke the protocol {}: {what}; update podsync on both sides", .protocol.name())]
    Malformed {
        device: DeviceId,
        protocol: Protocol,
        what: &'static str,
    },
    #[error("{device} did not answer {} in time: ask again, or another peer", .protocol.name())]
    Timeout {
        device: DeviceId,
        protocol: Protocol,
    },
    #[error("the exchange {} with {device} was cut: {source}; ask again", .protocol.name())]
    Cut {
        device: DeviceId,
        protocol: Protocol,
        source: io::Error,
    },
}

/// The first byte of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
enum Status {
    Answered = 0,
    Refused = 1,
    Busy = 2,
    TooLarge = 3,
    Failed = 4,
}

/// The status for a peer that is refused unread.
pub(crate) const REFUSED: u8 = Status::Refused as u8;
pub(crate) const BUSY: u8 = Status::Busy as u8;

impl Status {
    fn from_byte(byte: u8) -> Option<Self> {
        [
            Self::Answered,
            Self::Refused,
            Self::Busy,
            Self::TooLarge,
            Self::Failed,
        ]
        .into_iter()
        .find(|status| *status as u8 == byte)
    }
}

/// Asks over a fresh stream and waits for the answer.
pub(crate) async fn ask(
    device: DeviceId,
    protocol: Protocol,
    stream: Stream,
    request: &[u8],
) -> Result<Vec<u8>, RequestError> {
    let cut = |source| RequestError::Cut {
        device,
        protocol,
        source,
    };
    let (status, answer) =
        match timeout(time_limit(protocol), converse(stream, protocol, request)).await {
            Err(_) => return Err(RequestError::Timeout { device, protocol }),
            Ok(Err(source)) => return Err(cut(source)),
            Ok(Ok(answer)) => answer,
        };
    let malformed = |what| RequestError::Malformed {
        device,
        protocol,
        what,
    };
    match Status::from_byte(status) {
        Some(Status::Answered) => {
            answer.ok_or_else(|| malformed("its answer is longer than allowed"))
        }
        Some(Status::Refused) => Err(RequestError::Refused { device, protocol }),
        Some(Status::Busy) => Err(RequestError::Busy { device, protocol }),
        Some(Status::TooLarge) => Err(malformed("it takes less than the protocol allows")),
        Some(Status::Failed) => Err(RequestError::Failed { device, protocol }),
        None => Err(malformed("its status is not known here")),
    }
}

/// The status byte, and the answer where there is one of an allowed length.
async fn converse(
    stream: Stream,
    protocol: Protocol,
    request: &[u8],
) -> io::Result<(u8, Option<Vec<u8>>)> {
    let (mut reader, mut writer) = stream.split();
    let mut status = [0];
    {
        // A refusing peer answers without reading, so its answer counts even if the request was not
        // fully sent.
        let mut sending = pin!(send(&mut writer, request));
        let mut hearing = pin!(reader.read_exact(&mut status));
        match select(sending.as_mut(), hearing.as_mut()).await {
            Either::Left((sent, hearing)) => {
                hearing.await.map_err(|error| sent.err().unwrap_or(error))?
            }
            Either::Right((heard, _)) => heard?,
        }
    }
    if status[0] != Status::Answered as u8 {
        return Ok((status[0], None));
    }
    Ok((status[0], receive(&mut reader, protocol.max_len()).await?))
}

/// The answering side, shared by the tasks that serve one stream each.
#[derive(Clone)]
pub(crate) struct Answerer {
    events: mpsc::Sender<NetEvent>,
    members: Places,
    membership: Places,
}

impl Answerer {
    pub(crate) fn new(events: mpsc::Sender<NetEvent>) -> Self {
        Self {
            events,
            members: Places::new(MEMBER_EXCHANGES, MEMBER_EXCHANGES_PER_PEER),
            membership: Places::new(MEMBERSHIP_EXCHANGES, MEMBERSHIP_EXCHANGES_PER_PEER),
        }
    }

    /// A place among the exchanges of this protocol. None if all are taken.
    pub(crate) fn place(
        &self,
        device: DeviceId,
        protocol: Protocol,
        is_robot: bool,
    ) -> Option<Place> {
        match protocol {
            _ if is_robot => self.members.take_for_robot(device),
            Protocol::Membership => self.membership.take(device),
            Protocol::Heads | Protocol::Entries | Protocol::Have => self.members.take(device),
        }
    }

    /// Serves one exchange.
    pub(crate) async fn serve(&self, device: DeviceId, protocol: Protocol, stream: Stream) {
        match timeout(time_limit(protocol), self.answer(device, protocol, stream)).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => {
                tracing::debug!(peer = device.short(), protocol = protocol.name(), %error, "exchange cut")
            }
            Err(_) => tracing::debug!(
                peer = device.short(),
                protocol = protocol.name(),
                "exchange took too long"
            ),
        }
    }

    async fn answer(
        &self,
        device: DeviceId,
        protocol: Protocol,
        mut stream: Stream,
    ) -> io::Result<()> {
        let Some(bytes) = receive(&mut stream, protocol.max_len()).await? else {
            return decline(stream, Status::TooLarge).await;
        };
        let (responder, answer) = Responder::new(protocol);
        let asked = NetEvent::Request {
            device,
            protocol,
            bytes,
            responder,
        };
        if self.events.send(asked).await.is_err() {
            return decline(stream, Status::Failed).await;
        }
        let Ok(answer) = answer.await else {
            return decline(stream, Status::Failed).await;
        };
        stream.write_all(&[Status::Answered as u8]).await?;
        send(&mut stream, &answer).await?;
        stream.close().await?;
        // Wait until the peer has read the answer: its connection may be closed right after.
        let _ = stream.read(&mut [0]).await;
        Ok(())
    }
}

async fn decline(mut stream: Stream, status: Status) -> io::Result<()> {
    stream.write_all(&[status as u8]).await?;
    stream.close().await
}

//! The current form of a ticket, `podsync2-`, in at most 200 characters. A robot's token may be longer. It names no
//! device: a device that answers at one of the addresses must show the floor's operations.
//!
//! It names no device: a device that answers must prove by the floor's operations that it knows the team.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{MAX_ADDRESSES, OpPrefix, Ticket, TicketKind, TicketSecret, text};
use crate::{
    codec::{CodecError, Format},
    id::TeamId,
};

#[derive(Serialize, Deserialize)]
pub(super) struct Compact {
    kind: TicketKind,
    secret: TicketSecret,
    team: TeamId,
    floor: OpPrefix,
    hub: Option<PackedUrl>,
    places: Vec<Place>,
}

impl Format for Compact {
    const NAME: &'static str = "ticket";
    const VERSION: u8 = 2;
    const MAX_LEN: usize = text::MAX_TOKEN_BYTES;
}

impl Compact {
    pub(super) fn new(
        kind: TicketKind,
        secret: TicketSecret,
        team: TeamId,
        floor: OpPrefix,
        hub: Option<&str>,
    ) -> Self {
        let has_room = |url: &PackedUrl| kind == TicketKind::Robot || url.is_short();
        Self {
            kind,
            secret,
            team,
            floor,
            hub: hub.and_then(PackedUrl::new).filter(has_room),
            places: Vec::new(),
        }
    }

    /// Adds the first addresses that fit.
    pub(super) fn with(mut self, addresses: &[String]) -> Self {
        let len = Zeroizing::new(self.encode()).len();
        let mut room = text::MAX_TICKET_BYTES.saturating_sub(len);
        for place in Place::of_all(addresses) {
            let len = place.len();
            if len <= room && self.places.len() < MAX_PLACES {
                room -= len;
                self.places.push(place);
            }
        }
        self
    }

    pub(super) fn open(self, bytes: &[u8]) -> Result<Ticket, CodecError> {
        let malformed = CodecError::Malformed { format: Self::NAME };
        let hub = match &self.hub {
            Some(url) => Some(url.unpack().ok_or(malformed.clone())?),
            None => None,
        };
        if self.places.len() > MAX_PLACES {
            return Err(malformed);
        }
        Ok(self.ticket(hub, Zeroizing::new(bytes.to_vec())))
    }

    fn ticket(self, hub: Option<String>, bytes: Zeroizing<Vec<u8>>) -> Ticket {
        Ticket {
            kind: self.kind,
            seed: self.secret.seed(&self.team),
            team: self.team,
            floor: vec![self.floor],
            addresses: hub
                .into_iter()
                .chain(self.places.iter().flat_map(Place::addresses))
                .collect(),
            issuer: None,
            bytes,
        }
    }
}

impl From<Compact> for Ticket {
    fn from(compact: Compact) -> Self {
        let bytes = Zeroizing::new(compact.encode());
        let hub = compact.hub.as_ref().and_then(PackedUrl::unpack);
        compact.ticket(hub, bytes)
    }
}

/// Each may stand for two addresses.
const MAX_PLACES: usize = MAX_ADDRESSES / 2;

/// Where a device listens.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
enum Place {
    Tcp(SocketAddr),
    Quic(SocketAddr),
    Both(SocketAddr),
    /// A multiaddress of any other kind.
    Other(String),
}

impl Place {
    /// The places of these addresses, in order.
    fn of_all(addresses: &[String]) -> Vec<Self> {
        let mut places: Vec<Self> = Vec::new();
        for address in addresses {
            let place = Self::of(address);
            let twin = match place {
                Self::Tcp(at) => Some((Self::Quic(at), at)),
                Self::Quic(at) => Some((Self::Tcp(at), at)),
                Self::Both(_) | Self::Other(_) => None,
            };
            let twin = twin.and_then(|(twin, at)| {
                let index = places.iter().position(|there| *there == twin)?;
                Some((index, at))
            });
            match twin {
                Some((index, at)) => places[index] = Self::Both(at),
                None if places.contains(&place) => {}
                None => places.push(place),
            }
        }
        places
    }

    fn of(address: &str) -> Self {
        let parts: Vec<_> = address.split('/').collect();
        let at = |ip: &str, port: &str| {
            let (ip, port) = (ip.parse::<IpAddr>().ok()?, port.parse().ok()?);
            Some(SocketAddr::new(ip, port))
        };
        let place = match parts[..] {
            ["", "ip4" | "ip6", ip, "tcp", port] => at(ip, port).map(Self::Tcp),
            ["", "ip4" | "ip6", ip, "udp", port, "quic-v1"] => at(ip, port).map(Self::Quic),
            _ => None,
        };
        // An address in another spelling than ours is kept unchanged.
        place
            .filter(|place| place.addresses().eq([address]))
            .unwrap_or_else(|| Self::Other(address.to_owned()))
    }

    fn addresses(&self) -> impl Iterator<Item = String> + use<> {
        let (tcp, quic, other) = match self {
            Self::Tcp(at) => (Some(at), None, None),
            Self::Quic(at) => (None, Some(at), None),
            Self::Both(at) => (Some(at), Some(at), None),
            Self::Other(address) => (None, None, Some(address.clone())),
        };
        let ip = |at: &SocketAddr| {
            let family = if at.is_ipv4() { "ip4" } else { "ip6" };
            format!("/{family}/{}", at.ip())
        };
        let tcp = tcp.map(|at| format!("{}/tcp/{}", ip(at), at.port()));
        let quic = quic.map(|at| format!("{}/udp/{}/quic-v1", ip(at), at.port()));
        tcp.into_iter().chain(quic).chain(other)
    }

    fn len(&self) -> usize {
        postcard::to_extend(self, Vec::new()).map_or(usize::MAX, |bytes| bytes.len())
    }
}

/// A URL. If it has only the characters of host names and ports, it packs three into two bytes; otherwise it is
/// stored as it is. The first byte holds the packing and the scheme.
///
/// The first byte says which, and the scheme.
#[derive(Serialize, Deserialize)]
pub(super) struct PackedUrl(#[serde(with = "serde_bytes")] Vec<u8>);

/// The packable characters. `0` marks the end.
const LETTERS: &[u8; 39] = b"abcdefghijklmnopqrstuvwxyz0123456789.-:";
const RADIX: u16 = LETTERS.len() as u16 + 1;

const IS_HTTP: u8 = 1;
const IS_RAW: u8 = 2;

/// The bytes left in a ticket for the URL, its length byte and the count of places after it.
const MAX_PACKED_LEN: usize = 46;
/// The most characters of a hub's URL.
const MAX_URL_LEN: usize = 512;

impl PackedUrl {
    /// None if it is no hub URL.
    pub(super) fn new(url: &str) -> Option<Self> {
        if url.len() > MAX_URL_LEN {
            return None;
        }
        let (scheme, rest) = match url.split_once("://")? {
            ("https", rest) => (0, rest),
            ("http", rest) => (IS_HTTP, rest),
            _ => return None,
        };
        let bytes = match pack(rest) {
            Some(packed) => [&[scheme][..], &packed].concat(),
            None => [&[scheme | IS_RAW][..], rest.as_bytes()].concat(),
        };
        Some(Self(bytes))
    }

    /// Whether it fits into a person's ticket.
    pub(super) fn is_short(&self) -> bool {
        self.0.len() <= MAX_PACKED_LEN
    }

    pub(super) fn unpack(&self) -> Option<String> {
        let (&how, body) = self.0.split_first()?;
        let scheme = if how & IS_HTTP == 0 { "https" } else { "http" };
        let rest = match how & !IS_HTTP {
            0 => unpack(body)?,
            IS_RAW => String::from_utf8(body.to_vec()).ok()?,
            _ => return None,
        };
        Some(format!("{scheme}://{rest}"))
    }
}

fn pack(text: &str) -> Option<Vec<u8>> {
    let mut packed = Vec::new();
    for three in text.as_bytes().chunks(3) {
        let mut word = 0;
        for at in 0..3 {
            let digit = match three.get(at) {
                Some(letter) => LETTERS.iter().position(|known| known == letter)? + 1,
                None => 0,
            };
            word = word * RADIX + u16::try_from(digit).ok()?;
        }
        packed.extend_from_slice(&word.to_be_bytes());
    }
    Some(packed)
}

fn unpack(packed: &[u8]) -> Option<String> {
    let mut text = String::new();
    let (words, []) = packed.as_chunks::<2>() else {
        return None;
    };
    for word in words {
        let word = u16::from_be_bytes(*word);
        for digit in [word / RADIX / RADIX, word / RADIX % RADIX, word % RADIX] {
            if digit > 0 {
                text.push(char::from(*LETTERS.get(usize::from(digit) - 1)?));
            }
        }
    }
    Some(text)
}

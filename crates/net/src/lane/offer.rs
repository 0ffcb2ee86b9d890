//! The messages over libp2p to agree on a lane: `/podsync/lane/2`.
//!
//! The asker sends one byte: the IP version by which it reaches the provider. The provider answers with a
//! status byte and, if it is 0, the port of its listener and a secret. The secret works for one connection
//! and proves no identity; the handshake does.

use std::{fmt, net::IpAddr};

use libp2p::StreamProtocol;

pub(crate) const PROTOCOL: StreamProtocol = StreamProtocol::new("/podsync/lane/2");

/// Bytes of a one-time secret: too many to guess.
pub(crate) const SECRET_LEN: usize = 16;

/// Bytes of an offer behind its status.
pub(crate) const OFFER_LEN: usize = 2 + SECRET_LEN;

/// A secret that identifies an offered lane to its provider.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Secret([u8; SECRET_LEN]);

impl Secret {
    pub(crate) fn from_bytes(bytes: [u8; SECRET_LEN]) -> Self {
        Self(bytes)
    }

    pub(crate) fn as_bytes(&self) -> &[u8; SECRET_LEN] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

/// The version of IP by which a provider is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Family {
    V4 = 4,
    V6 = 6,
}

impl Family {
    pub(crate) fn of(ip: IpAddr) -> Self {
        match ip {
            IpAddr::V4(_) => Self::V4,
            IpAddr::V6(_) => Self::V6,
        }
    }

    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        [Self::V4, Self::V6]
            .into_iter()
            .find(|family| *family as u8 == byte)
    }
}

/// Where a lane can be opened, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Offer {
    pub(crate) port: u16,
    pub(crate) secret: Secret,
}

impl Offer {
    pub(crate) fn to_bytes(self) -> [u8; OFFER_LEN] {
        let mut bytes = [0; OFFER_LEN];
        bytes[..2].copy_from_slice(&self.port.to_be_bytes());
        bytes[2..].copy_from_slice(self.secret.as_bytes());
        bytes
    }

    /// None if the port is 0.
    pub(crate) fn from_bytes(bytes: [u8; OFFER_LEN]) -> Option<Self> {
        let ([high, low], secret) = bytes.split_first_chunk()?;
        let port = u16::from_be_bytes([*high, *low]);
        let secret = Secret(secret.try_into().ok()?);
        (port != 0).then_some(Self { port, secret })
    }
}

/// The first byte of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Status {
    Offered = 0,
    Refused = 1,
    /// All lane places are taken.
    Busy = 2,
    /// The provider does not listen for lanes there.
    NoLane = 3,
}

/// The status for a peer that is refused unread.
pub(crate) const REFUSED: u8 = Status::Refused as u8;
pub(crate) const BUSY: u8 = Status::Busy as u8;

impl Status {
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Offered, Self::Refused, Self::Busy, Self::NoLane]
            .into_iter()
            .find(|status| *status as u8 == byte)
    }
}

/// Parses an answer: an offer, or the status why there is none. Errors describe malformed bytes.
pub(crate) fn parse_answer(bytes: &[u8]) -> Result<Result<Offer, Status>, &'static str> {
    let (status, rest) = bytes.split_first().ok_or("it is empty")?;
    match Status::from_byte(*status).ok_or("its status is not known here")? {
        Status::Offered => {
            let offer = rest.try_into().map_err(|_| "it has another length")?;
            let offer = Offer::from_bytes(offer).ok_or("it names no port")?;
            Ok(Ok(offer))
        }
        status if rest.is_empty() => Ok(Err(status)),
        _ => Err("it says more than no"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_offer_has_these_bytes() {
        let offer = Offer {
            port: 7638,
            secret: Secret::from_bytes([0xab; SECRET_LEN]),
        };
        let bytes = [&[0x00, 0x1d, 0xd6][..], &[0xab; 16]].concat();
        assert_eq!([&[0][..], &offer.to_bytes()].concat(), bytes);
        assert_eq!(parse_answer(&bytes), Ok(Ok(offer)));
        assert_eq!(parse_answer(&[1]), Ok(Err(Status::Refused)));
        assert_eq!(parse_answer(&[2]), Ok(Err(Status::Busy)));
        assert_eq!(parse_answer(&[3]), Ok(Err(Status::NoLane)));
        assert_eq!(format!("{:?}", offer.secret), "Secret(..)");
    }

    #[test]
    fn what_is_no_offer_is_refused() {
        let whole = [&[0x00, 0x1d, 0xd6][..], &[0xab; 16]].concat();
        for len in 0..whole.len() {
            assert!(parse_answer(&whole[..len]).is_err(), "{len} bytes");
        }
        let longer = [&whole[..], &[0]].concat();
        let no_port = [&[0; 3][..], &[0xab; 16]].concat();
        for wrong in [longer, no_port, vec![4], vec![1, 0]] {
            assert!(parse_answer(&wrong).is_err(), "{wrong:02x?}");
        }
    }

    #[test]
    fn a_family_is_the_number_of_its_version() {
        let of = |ip: &str| Family::of(ip.parse().unwrap());
        assert_eq!((of("10.0.0.1") as u8, of("fe80::1") as u8), (4, 6));
        for byte in 0..=u8::MAX {
            let family = Family::from_byte(byte);
            assert_eq!(
                family.map(|family| family as u8),
                [4, 6].contains(&byte).then_some(byte)
            );
        }
    }
}

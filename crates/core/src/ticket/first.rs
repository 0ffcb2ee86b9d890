//! The first form of a ticket, `podsync1-`: up to some 1,800 characters. It is only read.

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{MAX_ADDRESS_LEN, MAX_ADDRESSES, OpPrefix, Ticket, TicketKind};
use crate::{
    codec::{CodecError, Format},
    id::{DeviceId, OpId, TeamId},
    seal::SecretKey,
};

/// The most heads in a ticket.
const MAX_HEADS: usize = 8;

#[derive(Serialize, Deserialize)]
pub(super) struct First {
    pub(super) kind: TicketKind,
    pub(super) secret: SecretKey,
    pub(super) team: TeamId,
    pub(super) heads: Vec<OpId>,
    pub(super) addresses: Vec<String>,
    pub(super) issuer: DeviceId,
}

impl Format for First {
    const NAME: &'static str = "ticket";
    const VERSION: u8 = 1;
    const MAX_LEN: usize = 2048;
}

impl First {
    pub(super) fn open(self, bytes: &[u8]) -> Result<Ticket, CodecError> {
        let fits = self.heads.len() <= MAX_HEADS
            && self.addresses.len() <= MAX_ADDRESSES
            && self
                .addresses
                .iter()
                .all(|address| address.len() <= MAX_ADDRESS_LEN);
        if !fits {
            return Err(CodecError::Malformed { format: Self::NAME });
        }
        Ok(Ticket {
            kind: self.kind,
            seed: self.secret,
            team: self.team,
            floor: self.heads.iter().map(OpPrefix::of).collect(),
            addresses: self.addresses,
            issuer: Some(self.issuer),
            bytes: Zeroizing::new(bytes.to_vec()),
        })
    }
}

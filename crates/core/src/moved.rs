//! A hub's word that it serves a team no more, and where the team's hub is now.
//!
//! That a key signed it is proved where the envelope is opened. Whether that key is the hub's is the roster's to
//! say: an address that somebody else took over signs with another.

use serde::{Deserialize, Serialize};

use crate::{
    codec::Format,
    id::{DeviceId, TeamId},
    signed::{Domain, SignatureError, SignedPayload},
};

/// The most bytes of a hub's address.
pub const MAX_HUB_URL_LEN: usize = 512;

/// Where a team's hub is now, signed by the key with which the hub witnesses joins.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HubMoved {
    /// `https://HOST[:PORT]`, of at most [`MAX_HUB_URL_LEN`] bytes.
    pub to: String,
    /// That of the request which this answers: an answer of long ago is no answer.
    pub nonce: [u8; 16],
}

impl Format for HubMoved {
    const NAME: &'static str = "hub's new address";
    const VERSION: u8 = 1;
    const MAX_LEN: usize = 1 + 2 + MAX_HUB_URL_LEN + 16;
}

impl SignedPayload for HubMoved {
    const DOMAIN: Domain = Domain::HubMoved;

    fn check(&self, _: &TeamId, signer: &DeviceId) -> Result<(), SignatureError> {
        if !self.to.is_empty() && self.to.len() <= MAX_HUB_URL_LEN {
            return Ok(());
        }
        Err(SignatureError::OutOfRules {
            format: Self::NAME,
            what: "its address is empty or too long",
            signer: *signer,
        })
    }
}

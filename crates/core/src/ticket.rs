//! Tickets and recovery keys in their text form: one line with a secret in it.
//!
//! A ticket holds only what a newcomer cannot fetch: everything else can be verified once a member answers.
//! Neither type has a `Display`, so code that shows one must call a method that says so.

mod compact;
mod first;
mod text;

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

pub use self::text::TicketError;
use self::{
    compact::Compact,
    first::First,
    text::{RECOVERY, TICKET},
};
use crate::{
    codec::{CodecError, Format},
    id::{DeviceId, OpId, TeamId},
    keys::{DeviceSecret, Seed},
    seal::SecretKey,
};

/// The most characters of a ticket's text, where it is for people.
pub const MAX_TEXT_LEN: usize = 200;
/// The most addresses in a ticket.
pub const MAX_ADDRESSES: usize = 8;
/// The most bytes of an address.
pub const MAX_ADDRESS_LEN: usize = 128;

const SECRET_LEN: usize = 16;
const PREFIX_LEN: usize = 16;
const KEY_CONTEXT: &str = "podsync 2026 ticket key 2";

/// What a ticket lets its bearer do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TicketKind {
    /// Join the team: the secret is the invite's key.
    Invite,
    /// Be the robot: the secret is the device's own key.
    Robot,
}

/// The seed of an invite's or robot's key: 128 bits, as hard to guess as an ed25519 key.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
pub struct TicketSecret([u8; SECRET_LEN]);

impl TicketSecret {
    /// The first half of a fresh seed.
    pub fn from_seed(seed: &Seed) -> Self {
        let mut secret = Self([0; SECRET_LEN]);
        secret.0.copy_from_slice(&seed[..SECRET_LEN]);
        secret
    }

    /// The key for `team`. It differs by team, so an attacker has to guess anew for each team.
    pub fn key(&self, team: &TeamId) -> DeviceSecret {
        DeviceSecret::from_seed(*self.seed(team).expose())
    }

    fn seed(&self, team: &TeamId) -> SecretKey {
        let mut hasher = blake3::Hasher::new_derive_key(KEY_CONTEXT);
        hasher.update(&self.0).update(team.as_bytes());
        SecretKey::from_bytes(*hasher.finalize().as_bytes())
    }
}

impl fmt::Debug for TicketSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("TicketSecret(hidden)")
    }
}

/// The first 16 bytes of an operation's id: too long for anybody to make a second operation with
/// the same.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OpPrefix([u8; PREFIX_LEN]);

impl OpPrefix {
    pub fn of(id: &OpId) -> Self {
        let mut prefix = [0; PREFIX_LEN];
        prefix.copy_from_slice(&id.as_bytes()[..PREFIX_LEN]);
        Self(prefix)
    }

    /// The smallest id with this prefix.
    pub(crate) fn first(&self) -> OpId {
        let mut id = [0; 32];
        id[..PREFIX_LEN].copy_from_slice(&self.0);
        OpId::from_bytes(id)
    }
}

/// All that a newcomer needs: a secret, the team, and addresses of members or the hub.
#[derive(Clone, PartialEq, Eq)]
pub struct Ticket {
    pub kind: TicketKind,
    seed: SecretKey,
    pub team: TeamId,
    /// Operations that the newcomer must be shown, so that nobody can show it an older state of the team.
    pub floor: Vec<OpPrefix>,
    /// Addresses to try: the `https://` URL of a hub, and multiaddresses of the issuer.
    pub addresses: Vec<String>,
    /// The device that issued it; only tickets of the first form name it.
    pub issuer: Option<DeviceId>,
    bytes: Zeroizing<Vec<u8>>,
}

impl Ticket {
    /// A ticket made valid by the operation `made_by`. It holds the hub if [`has_room_for`] it (a robot's token
    /// always does), and the first addresses that fit.
    pub fn new(
        kind: TicketKind,
        secret: TicketSecret,
        team: TeamId,
        made_by: &OpId,
        hub: Option<&str>,
        addresses: &[String],
    ) -> Self {
        let compact = Compact::new(kind, secret, team, OpPrefix::of(made_by), hub);
        compact.with(addresses).into()
    }

    /// The same ticket with a hub that its bearer was given separately.
    pub fn with_hub(mut self, hub: String) -> Self {
        if !self.addresses.contains(&hub) {
            self.addresses.insert(0, hub);
        }
        self
    }

    /// The invite's key, or the robot's.
    pub fn secret(&self) -> DeviceSecret {
        DeviceSecret::from_seed(*self.seed.expose())
    }

    /// The seed of that key.
    pub fn seed(&self) -> &SecretKey {
        &self.seed
    }

    /// The addresses that are hubs' URLs.
    pub fn hubs(&self) -> impl Iterator<Item = &str> {
        self.addresses
            .iter()
            .map(String::as_str)
            .filter(|address| is_hub(address))
    }

    /// The addresses at which the issuer may be dialled.
    pub fn dialled(&self) -> impl Iterator<Item = &str> {
        self.addresses
            .iter()
            .map(String::as_str)
            .filter(|address| !is_hub(address))
    }

    /// The text to pass on, at most [`MAX_TEXT_LEN`] characters for a person's ticket. It is a secret.
    pub fn expose_text(&self) -> Zeroizing<String> {
        TICKET.write(&self.bytes)
    }

    /// Finds the ticket in pasted text: in quotes, broken into lines, after a label, in capitals, or among words.
    pub fn parse(text: &str) -> Result<Self, TicketError> {
        Self::decode(&TICKET.find(text)?).map_err(|_| TICKET.damaged())
    }

    /// The bytes in the text: a version byte, then the fields. They are a secret.
    pub fn encode(&self) -> Zeroizing<Vec<u8>> {
        self.bytes.clone()
    }

    /// Reads the current form and the longer first form.
    pub fn decode(bytes: &[u8]) -> Result<Self, CodecError> {
        match bytes.first() {
            Some(&First::VERSION) => First::decode(bytes)?.open(bytes),
            _ => Compact::decode(bytes)?.open(bytes),
        }
    }
}

/// Whether a ticket has room for the URL of a hub. Without it, the newcomer learns the URL from a member or gets it
/// beside the ticket.
pub fn has_room_for(hub: &str) -> bool {
    compact::PackedUrl::new(hub).is_some_and(|url| url.is_short())
}

/// A multiaddress begins with a slash, a URL never does.
fn is_hub(address: &str) -> bool {
    address.starts_with("https://") || address.starts_with("http://")
}

impl fmt::Debug for Ticket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket")
            .field("kind", &self.kind)
            .field("secret", &"hidden")
            .field("team", &self.team)
            .field("floor", &self.floor)
            .field("addresses", &self.addresses)
            .field("issuer", &self.issuer)
            .finish_non_exhaustive()
    }
}

/// A team's recovery key on paper.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecoveryKey {
    secret: SecretKey,
}

impl Format for RecoveryKey {
    const NAME: &'static str = "recovery key";
    const VERSION: u8 = 1;
    const MAX_LEN: usize = 33;
}

impl RecoveryKey {
    pub fn from_seed(seed: Seed) -> Self {
        Self {
            secret: SecretKey::from_bytes(seed),
        }
    }

    pub fn secret(&self) -> DeviceSecret {
        DeviceSecret::from_seed(*self.secret.expose())
    }

    /// The text to write down. It is a secret.
    pub fn expose_text(&self) -> Zeroizing<String> {
        RECOVERY.write(&Zeroizing::new(Format::encode(self)))
    }

    /// As forgiving as [`Ticket::parse`].
    pub fn parse(text: &str) -> Result<Self, TicketError> {
        <Self as Format>::decode(&RECOVERY.find(text)?).map_err(|_| RECOVERY.damaged())
    }
}

impl fmt::Debug for RecoveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryKey(hidden)")
    }
}

#[cfg(test)]
mod tests;

//! Tickets and recovery keys as people pass them on: one line of text with a secret in it.
//!
//! The text carries a version and check bytes, so that a slip of the hand, a newer podsync and
//! something else altogether each get their own answer. Neither type has a `Display`: showing one
//! is a decision, made by name.

use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use crate::{
    codec::Format,
    id::{DeviceId, OpId, TeamId},
    keys::{DeviceSecret, Seed},
    seal::SecretKey,
};

/// The most heads in a ticket.
pub const MAX_HEADS: usize = 8;
/// The most addresses in a ticket.
pub const MAX_ADDRESSES: usize = 8;
/// The most bytes of an address.
pub const MAX_ADDRESS_LEN: usize = 128;

const TICKET: Text = Text {
    what: "ticket",
    family: "podsync",
    prefix: "podsync1-",
    max_len: 4096,
};
const RECOVERY: Text = Text {
    what: "recovery key",
    family: "podsync-recovery",
    prefix: "podsync-recovery1-",
    max_len: 128,
};
const CHECK_LEN: usize = 4;

/// What a ticket lets its bearer do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum TicketKind {
    /// Join the team: the secret is the invite's key.
    Invite,
    /// Be the robot: the secret is the device's own key.
    Robot,
}

/// All that a newcomer needs: a secret, the team, and where to find someone of it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ticket {
    pub kind: TicketKind,
    secret: SecretKey,
    pub team: TeamId,
    /// The membership's heads at issue: nobody can show the newcomer an older team than this.
    pub heads: Vec<OpId>,
    /// Where someone may be found: multiaddresses of the issuer, and the `https://` URL of a hub.
    pub addresses: Vec<String>,
    /// The device that issued it.
    pub issuer: DeviceId,
}

impl Format for Ticket {
    const NAME: &'static str = "ticket";
    const VERSION: u8 = 1;
    const MAX_LEN: usize = 2048;
}

impl Ticket {
    /// Keeps as many heads and addresses as fit, the first ones.
    pub fn new(
        kind: TicketKind,
        secret: Seed,
        team: TeamId,
        mut heads: Vec<OpId>,
        mut addresses: Vec<String>,
        issuer: DeviceId,
    ) -> Self {
        heads.truncate(MAX_HEADS);
        addresses.retain(|address| address.len() <= MAX_ADDRESS_LEN);
        addresses.truncate(MAX_ADDRESSES);
        Self {
            kind,
            secret: SecretKey::from_bytes(secret),
            team,
            heads,
            addresses,
            issuer,
        }
    }

    /// The invite's key, or the robot's.
    pub fn secret(&self) -> DeviceSecret {
        DeviceSecret::from_seed(*self.secret.expose())
    }

    /// What that key is made from.
    pub fn seed(&self) -> &SecretKey {
        &self.secret
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

    /// The text to pass on. It is a secret.
    pub fn expose_text(&self) -> Zeroizing<String> {
        TICKET.write(&Zeroizing::new(self.encode()))
    }

    pub fn parse(text: &str) -> Result<Self, TicketError> {
        let bytes = TICKET.read(text)?;
        let ticket = Self::decode(&bytes).map_err(|_| TICKET.damaged())?;
        let fits = ticket.heads.len() <= MAX_HEADS
            && ticket.addresses.len() <= MAX_ADDRESSES
            && ticket
                .addresses
                .iter()
                .all(|address| address.len() <= MAX_ADDRESS_LEN);
        if fits {
            Ok(ticket)
        } else {
            Err(TICKET.damaged())
        }
    }
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
            .field("heads", &self.heads)
            .field("addresses", &self.addresses)
            .field("issuer", &self.issuer)
            .finish()
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
        RECOVERY.write(&Zeroizing::new(self.encode()))
    }

    pub fn parse(text: &str) -> Result<Self, TicketError> {
        Self::decode(&RECOVERY.read(text)?).map_err(|_| RECOVERY.damaged())
    }
}

impl fmt::Debug for RecoveryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RecoveryKey(hidden)")
    }
}

/// Why a text is no ticket (or recovery key). It never repeats the text: that may be a secret.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TicketError {
    #[error("this is not a podsync {what}: one begins with `{prefix}`")]
    NotOne {
        what: &'static str,
        prefix: &'static str,
    },
    #[error("this {what} was made by a newer podsync")]
    Newer { what: &'static str },
    #[error("this {what} has a mistyped, missing or extra character")]
    Typo { what: &'static str },
    #[error("this is a recovery key, not a ticket")]
    RecoveryKey,
}

impl TicketError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NotOne { .. } => "copy the whole line",
            Self::Newer { .. } => "update this one, then try again",
            Self::Typo { .. } => "copy the whole line again",
            Self::RecoveryKey => "keep it offline, and ask an admin for a ticket",
        })
    }
}

/// How one kind of secret is written: prefix, then base32 of the bytes and their check.
struct Text {
    what: &'static str,
    family: &'static str,
    prefix: &'static str,
    max_len: usize,
}

impl Text {
    fn write(&self, bytes: &[u8]) -> Zeroizing<String> {
        let checked = Zeroizing::new([bytes, &self.check(bytes)].concat());
        let mut text = Zeroizing::new(String::from(self.prefix));
        let letters = Zeroizing::new(
            data_encoding::BASE32_NOPAD
                .encode(&checked)
                .to_ascii_lowercase(),
        );
        text.push_str(&letters);
        text
    }

    fn read(&self, text: &str) -> Result<Zeroizing<Vec<u8>>, TicketError> {
        let text = text.trim();
        let Some(letters) = text.strip_prefix(self.prefix) else {
            return Err(self.refusal(text));
        };
        if letters.len() > self.max_len || letters.bytes().any(|byte| byte.is_ascii_uppercase()) {
            return Err(self.damaged());
        }
        let letters = Zeroizing::new(letters.to_ascii_uppercase());
        let bytes = data_encoding::BASE32_NOPAD
            .decode(letters.as_bytes())
            .map(Zeroizing::new)
            .map_err(|_| self.damaged())?;
        let (body, check) = bytes
            .split_at_checked(bytes.len().saturating_sub(CHECK_LEN))
            .ok_or_else(|| self.damaged())?;
        if check != self.check(body) {
            return Err(self.damaged());
        }
        match body.first() {
            Some(1) => Ok(Zeroizing::new(body.to_vec())),
            Some(version) if *version > 1 => Err(TicketError::Newer { what: self.what }),
            _ => Err(self.damaged()),
        }
    }

    /// What is wrong with a text that has another prefix.
    fn refusal(&self, text: &str) -> TicketError {
        if self.what == TICKET.what && text.starts_with(RECOVERY.family) {
            return TicketError::RecoveryKey;
        }
        let version = text
            .strip_prefix(self.family)
            .and_then(|rest| rest.split_once('-'));
        match version.and_then(|(number, _)| number.parse::<u32>().ok()) {
            Some(number) if number > 1 => TicketError::Newer { what: self.what },
            _ => TicketError::NotOne {
                what: self.what,
                prefix: self.prefix,
            },
        }
    }

    fn damaged(&self) -> TicketError {
        TicketError::Typo { what: self.what }
    }

    fn check(&self, bytes: &[u8]) -> [u8; CHECK_LEN] {
        let mut hasher = blake3::Hasher::new();
        hasher.update(self.prefix.as_bytes()).update(bytes);
        let mut check = [0; CHECK_LEN];
        check.copy_from_slice(&hasher.finalize().as_bytes()[..CHECK_LEN]);
        check
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn ticket() -> Ticket {
        Ticket::new(
            TicketKind::Invite,
            [7; 32],
            TeamId::of(b"team"),
            vec![OpId::of(b"head")],
            vec!["/ip4/192.168.1.5/tcp/4747".into()],
            DeviceId::from_bytes([9; 32]),
        )
    }

    fn not_one() -> TicketError {
        TicketError::NotOne {
            what: "ticket",
            prefix: "podsync1-",
        }
    }

    #[test]
    fn a_ticket_reads_back() {
        let text = ticket().expose_text();
        assert_eq!(Ticket::parse(&text), Ok(ticket()));
        assert_eq!(Ticket::parse(&format!("  {}\n", *text)), Ok(ticket()));
        assert_eq!(
            ticket().secret().id(),
            DeviceSecret::from_seed([7; 32]).id()
        );
        assert!(
            text.len() < 320,
            "{} characters are long to paste",
            text.len()
        );
    }

    /// Made once by this code from the values in `ticket()` and the recovery seed 0x07 x 32.
    #[test]
    fn texts_keep_their_form() {
        assert_eq!(&*ticket().expose_text(), TICKET_TEXT);
        assert_eq!(
            &*RecoveryKey::from_seed([7; 32]).expose_text(),
            RECOVERY_TEXT
        );
    }

    const TICKET_TEXT: &str = "podsync1-aeaaobyha4dqobyha4dqobyha4dqobyha4dqobyha4dqobyha4dqob4snyviiybec3hbn63\
        d2rdoavuu3s2n5pyz5gixl5pabqqnzazjfiatl4pkaav7wagbewee4zipqzaennuh4csiu3w4djmryrm\
        7rq2b3jibdexws4buf4ytsmroge3dqlrrfy2s65ddoaxtinzug4eqscijbeeqscijbeeqscijbeeqsci\
        jbeeqscijbeeqscijbeeqsok6xr6q";
    const RECOVERY_TEXT: &str =
        "podsync-recovery1-aedqobyha4dqobyha4dqobyha4dqobyha4dqobyha4dqobyha4dqp2ra7csa";

    #[test]
    fn each_mistake_has_its_answer() {
        let text = ticket().expose_text();
        let typo = TicketError::Typo { what: "ticket" };
        assert_eq!(Ticket::parse("hunter2"), Err(not_one()));
        assert_eq!(Ticket::parse(""), Err(not_one()));
        assert_eq!(Ticket::parse(&text.to_ascii_uppercase()), Err(not_one()));
        assert_eq!(Ticket::parse(&text[..text.len() - 1]), Err(typo.clone()));
        assert_eq!(Ticket::parse(&format!("{}a", *text)), Err(typo.clone()));
        assert_eq!(Ticket::parse("podsync1-"), Err(typo));
        let newer = Err(TicketError::Newer { what: "ticket" });
        assert_eq!(
            Ticket::parse(&text.replacen("podsync1-", "podsync2-", 1)),
            newer
        );
        let mut bytes = ticket().encode();
        bytes[0] = 2;
        assert_eq!(Ticket::parse(&TICKET.write(&bytes)), newer);
        let recovery = RecoveryKey::from_seed([7; 32]).expose_text();
        assert_eq!(Ticket::parse(&recovery), Err(TicketError::RecoveryKey));
        assert!(matches!(
            RecoveryKey::parse(&text),
            Err(TicketError::NotOne { .. })
        ));
        assert_eq!(
            RecoveryKey::parse(&recovery.replace("recovery1", "recovery9")),
            Err(TicketError::Newer {
                what: "recovery key"
            })
        );
    }

    #[test]
    fn every_mistyped_character_is_noticed() {
        let text = ticket().expose_text();
        for at in TICKET.prefix.len()..text.len() {
            let other = if &text[at..=at] == "a" { "b" } else { "a" };
            let typed = format!("{}{other}{}", &text[..at], &text[at + 1..]);
            assert_eq!(
                Ticket::parse(&typed),
                Err(TicketError::Typo { what: "ticket" }),
                "at {at}"
            );
        }
    }

    #[test]
    fn bounds_hold_both_ways() {
        let too_long = vec!["x".repeat(MAX_ADDRESS_LEN + 1)];
        let full = Ticket::new(
            TicketKind::Robot,
            [1; 32],
            TeamId::of(b"team"),
            vec![OpId::of(b"head"); 20],
            [too_long, vec!["y".repeat(MAX_ADDRESS_LEN); 20]].concat(),
            DeviceId::from_bytes([9; 32]),
        );
        assert_eq!(
            (full.heads.len(), full.addresses.len()),
            (MAX_HEADS, MAX_ADDRESSES)
        );
        assert!(full.addresses[0].starts_with('y'));
        assert_eq!(Ticket::parse(&full.expose_text()), Ok(full.clone()));
        let mut over = full;
        over.heads.push(OpId::of(b"one more"));
        assert!(Ticket::parse(&TICKET.write(&over.encode())).is_err());
    }

    #[test]
    fn hubs_and_addresses_are_told_apart() {
        let mut ticket = ticket();
        let hub = "https://hub.example.com:8443/podsync".to_owned();
        ticket.addresses.insert(0, hub.clone());
        let read = Ticket::parse(&ticket.expose_text()).unwrap();
        assert_eq!(read.hubs().collect::<Vec<_>>(), [hub.as_str()]);
        assert_eq!(
            read.dialled().collect::<Vec<_>>(),
            ["/ip4/192.168.1.5/tcp/4747"]
        );
    }

    #[test]
    fn secrets_are_hidden() {
        let shown = format!("{:?}", ticket());
        assert!(shown.contains("hidden") && !shown.contains("7, 7"));
        assert_eq!(
            format!("{:?}", RecoveryKey::from_seed([7; 32])),
            "RecoveryKey(hidden)"
        );
    }

    #[test]
    fn a_recovery_key_reads_back() {
        let key = RecoveryKey::from_seed([3; 32]);
        assert_eq!(RecoveryKey::parse(&key.expose_text()), Ok(key));
    }

    proptest! {
        #[test]
        fn any_text_is_parsed_without_a_panic(text in "(podsync(-recovery)?[12]-)?[a-z2-7é]{0,200}") {
            prop_assert!(Ticket::parse(&text).is_err());
            prop_assert!(RecoveryKey::parse(&text).is_err());
        }
    }
}

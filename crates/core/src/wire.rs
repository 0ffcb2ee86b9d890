//! The messages between daemons, and the only place where received bytes are decoded and verified.
//!
//! Decoding and signature checks are expensive and pure. The daemon runs [`open_gossip`],
//! [`open_request`] and [`open_response`] on a thread pool and hands only the results to the engine.
//! Opened doesn't mean allowed: the engine judges who may send what.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;

use crate::{
    bounded::Bounded,
    codec::{CodecError, Format},
    feed::{Entry, EntryError, Head},
    id::{BlobId, DeviceId, OpId, TeamId},
    membership::{
        Operation,
        operation::InviteProof,
        wire::{MembershipRequest, MembershipResponse, RefusedReason},
    },
    signed::{Domain, SignatureError, SignedPayload, Verified, verify},
    ticket::MAX_ADDRESS_LEN,
    units::Units,
};

/// The most bytes of a gossip message: what the mesh carries, with room for its own framing.
pub const MAX_GOSSIP_LEN: usize = 60 << 10;
/// The most operations in one gossip message.
pub const MAX_GOSSIP_OPERATIONS: usize = 32;
/// The most bytes of an answer with entries.
pub const MAX_ENTRIES_LEN: usize = 4 << 20;
/// The most entries in one answer.
pub const MAX_ENTRIES: usize = 4096;
/// The most ranges in one request for entries.
pub const MAX_ENTRY_RANGES: usize = 64;
/// The most blobs in one question or answer about who has what.
pub const MAX_HAVE_BLOBS: usize = 4096;
/// Heads are compared in this many groups of devices, by the first bits of the device id.
pub const BUCKETS: usize = 64;
/// The most heads in one answer: two for each device, for those whose feed is forked.
pub const MAX_HEADS: usize = 2048;
/// The most membership heads in one answer.
pub const MAX_MEMBERSHIP_HEADS: usize = 64;
/// The most address records in one answer: the answerer's own, and those of devices connected to
/// it.
pub const MAX_ADDRESS_RECORDS: usize = 32;
/// The most addresses in an address record: a laptop has a handful.
pub const MAX_ADDRESSES: usize = 4;
const MAX_SMALL_LEN: usize = 1 << 20;

/// The request protocols between daemons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Protocol {
    Heads,
    Entries,
    Have,
    /// The only one that an unlisted key may use, once.
    Membership,
}

impl Protocol {
    pub const ALL: [Self; 4] = [Self::Heads, Self::Entries, Self::Have, Self::Membership];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Heads => "/podsync/heads/1",
            Self::Entries => "/podsync/entries/1",
            Self::Have => "/podsync/have/1",
            Self::Membership => "/podsync/membership/1",
        }
    }

    /// The most bytes of a request or an answer.
    pub const fn max_len(self) -> usize {
        match self {
            Self::Entries => MAX_ENTRIES_LEN,
            Self::Heads | Self::Have | Self::Membership => MAX_SMALL_LEN,
        }
    }
}

/// A gossip message of a team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Gossip {
    /// A device's signed [`Head`], and its newest entry unless that is too long for gossip.
    Announcement {
        head: ByteBuf,
        entry: Option<ByteBuf>,
    },
    /// New membership operations, causes before effects.
    Operations(Bounded<ByteBuf, MAX_GOSSIP_OPERATIONS>),
    /// A signed [`Liveness`].
    Liveness(ByteBuf),
    /// A signed [`AddressRecord`].
    Addresses(ByteBuf),
}

impl Format for Gossip {
    const NAME: &'static str = "gossip";
    const VERSION: u8 = 1;
    const MAX_LEN: usize = MAX_GOSSIP_LEN;
}

/// A device's signed statement, once an hour, that it was online at this time and knew these heads.
/// "Last heard" and `--max-age` refer to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Liveness {
    /// Unix milliseconds.
    pub time_ms: u64,
    /// BLAKE3 over all heads that its signer knows.
    pub heads: [u8; 32],
}

impl Format for Liveness {
    const NAME: &'static str = "liveness statement";
    const VERSION: u8 = 1;
    const MAX_LEN: usize = 64;
}

impl SignedPayload for Liveness {
    const DOMAIN: Domain = Domain::Liveness;
}

/// The addresses that a device claims. Dialling them proves whether it is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AddressRecord {
    /// Unix milliseconds. The newest record of a device wins.
    pub time_ms: u64,
    /// Multiaddresses without the final `/p2p/` part, at most 128 bytes each.
    pub addresses: Bounded<String, MAX_ADDRESSES>,
}

impl Format for AddressRecord {
    const NAME: &'static str = "address record";
    const VERSION: u8 = 1;
    const MAX_LEN: usize = 16 + MAX_ADDRESSES * (MAX_ADDRESS_LEN + 2);
}

impl SignedPayload for AddressRecord {
    const DOMAIN: Domain = Domain::AddressRecord;

    fn check(&self, _: &TeamId, signer: &DeviceId) -> Result<(), SignatureError> {
        let fits = |address: &String| address.len() <= MAX_ADDRESS_LEN;
        if self.addresses.iter().all(fits) {
            return Ok(());
        }
        Err(SignatureError::OutOfRules {
            format: Self::NAME,
            what: "an address of more than 128 bytes",
            signer: *signer,
        })
    }
}

/// Digests of what the asker knows. The answer holds only what differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HeadsRequest {
    pub team: TeamId,
    /// Digest of the membership heads.
    pub membership: [u8; 32],
    /// A digest of the feed heads of each group of devices.
    pub buckets: Bounded<u64, BUCKETS>,
}

impl Format for HeadsRequest {
    const NAME: &'static str = "heads request";
    const VERSION: u8 = 1;
    const MAX_LEN: usize = 1024;
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HeadsResponse {
    Heads {
        /// The membership heads; none where the digests agree.
        membership: Bounded<OpId, MAX_MEMBERSHIP_HEADS>,
        /// Signed heads of the groups that differ.
        heads: Bounded<ByteBuf, MAX_HEADS>,
        /// The answering device's own newest statement.
        liveness: Option<ByteBuf>,
        /// The answerer's own address record, and those of members connected to it.
        addresses: Bounded<ByteBuf, MAX_ADDRESS_RECORDS>,
    },
    Refused(Refusal),
}

impl Format for HeadsResponse {
    const NAME: &'static str = "heads response";
    const VERSION: u8 = 1;
    const MAX_LEN: usize = MAX_SMALL_LEN;
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntriesRequest {
    pub team: TeamId,
    pub ranges: Bounded<EntryRange, MAX_ENTRY_RANGES>,
}

/// Entries `from..=to` of a device's feed, on all its branches.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryRange {
    pub device: DeviceId,
    pub from: u64,
    pub to: u64,
}

impl Format for EntriesRequest {
    const NAME: &'static str = "entries request";
    const VERSION: u8 = 1;
    const MAX_LEN: usize = 8 << 10;
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum EntriesResponse {
    Entries {
        /// Newest first in each range, so that each entry is proved by the one before it.
        entries: Bounded<ByteBuf, MAX_ENTRIES>,
        /// The answer was full: ask again for what is still missing.
        more: bool,
    },
    Refused(Refusal),
}

impl Format for EntriesResponse {
    const NAME: &'static str = "entries response";
    const VERSION: u8 = 1;
    const MAX_LEN: usize = MAX_ENTRIES_LEN;
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HaveRequest {
    /// Asks what the peer has. Until [`HaveRequest::Enough`], the peer also sends updates.
    Ask {
        team: TeamId,
        blobs: Bounded<BlobId, MAX_HAVE_BLOBS>,
    },
    /// Updates for a device that asked.
    Delta {
        team: TeamId,
        news: Bounded<(BlobId, Have), MAX_HAVE_BLOBS>,
    },
    /// The asker pulls no more.
    Enough { team: TeamId },
}

impl Format for HaveRequest {
    const NAME: &'static str = "have request";
    const VERSION: u8 = 1;
    const MAX_LEN: usize = MAX_SMALL_LEN;
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HaveResponse {
    /// One for each blob asked about, in the same order.
    Haves(Bounded<Have, MAX_HAVE_BLOBS>),
    Noted,
    Refused(Refusal),
}

impl Format for HaveResponse {
    const NAME: &'static str = "have response";
    const VERSION: u8 = 1;
    const MAX_LEN: usize = MAX_SMALL_LEN;
}

/// What a device has of a blob.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Have {
    None,
    All,
    Parts(Units),
}

impl Have {
    /// The units present, of a blob of `len` bytes.
    pub fn units(self, len: u64) -> Units {
        match self {
            Self::None => Units::NONE,
            Self::All => Units::whole(len),
            Self::Parts(units) => units & Units::whole(len),
        }
    }

    pub fn of(units: Units, len: u64) -> Self {
        match units {
            Units::NONE => Self::None,
            units if units.contains(Units::whole(len)) => Self::All,
            units => Self::Parts(units),
        }
    }
}

/// Why a request got no answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Refusal {
    /// The asker is no member as far as the answering device knows. It may not know of a fresh join
    /// yet.
    NotAMember,
}

/// Bytes that don't decode. Their sender is at fault, or newer than we are.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Rejected {
    #[error(transparent)]
    Codec(#[from] CodecError),
    #[error(transparent)]
    Signature(#[from] SignatureError),
    #[error(transparent)]
    Entry(#[from] EntryError),
}

/// A gossip message whose signatures hold.
#[derive(Debug, Clone)]
pub enum GossipIn {
    Announcement {
        head: Verified<Head>,
        entry: Option<Arc<Entry>>,
    },
    Operations(Vec<Arc<Verified<Operation>>>),
    Liveness(Verified<Liveness>),
    Addresses(Verified<AddressRecord>),
}

/// A request that is well formed. Requests are not signed: the connection says who asks.
#[derive(Debug, Clone)]
pub enum RequestIn {
    Heads(HeadsRequest),
    Entries(EntriesRequest),
    Have(HaveRequest),
    /// Operations that `known` and what these saw lack.
    Operations {
        team: TeamId,
        known: Vec<OpId>,
    },
    /// A newcomer asks to be witnessed; the signature is the invite's.
    Join {
        team: TeamId,
        proof: Box<Verified<InviteProof>>,
    },
}

/// An answer whose signatures hold.
#[derive(Debug, Clone)]
pub enum ResponseIn {
    Heads {
        membership: Vec<OpId>,
        heads: Vec<Verified<Head>>,
        liveness: Option<Verified<Liveness>>,
        addresses: Vec<Verified<AddressRecord>>,
    },
    Entries {
        entries: Vec<Arc<Entry>>,
        more: bool,
    },
    Haves(Vec<Have>),
    Noted,
    Operations {
        operations: Vec<Arc<Verified<Operation>>>,
        joined: bool,
    },
    Refused(Refusal),
    MembershipRefused(RefusedReason),
}

/// Decodes and verifies a gossip message.
pub fn open_gossip(bytes: &[u8]) -> Result<GossipIn, Rejected> {
    Ok(match Gossip::decode(bytes)? {
        Gossip::Announcement { head, entry } => {
            let entry = entry
                .map(|bytes| Entry::decode(&bytes))
                .transpose()?
                .map(Arc::new);
            GossipIn::Announcement {
                head: verify(&head)?,
                entry,
            }
        }
        Gossip::Operations(operations) => GossipIn::Operations(verify_operations(&operations)?),
        Gossip::Liveness(bytes) => GossipIn::Liveness(verify(&bytes)?),
        Gossip::Addresses(bytes) => GossipIn::Addresses(verify(&bytes)?),
    })
}

/// Decodes a request that came in on `protocol`.
pub fn open_request(protocol: Protocol, bytes: &[u8]) -> Result<RequestIn, Rejected> {
    Ok(match protocol {
        Protocol::Heads => RequestIn::Heads(HeadsRequest::decode(bytes)?),
        Protocol::Entries => RequestIn::Entries(EntriesRequest::decode(bytes)?),
        Protocol::Have => RequestIn::Have(HaveRequest::decode(bytes)?),
        Protocol::Membership => {
            let request = MembershipRequest::decode(bytes)?;
            if !request.is_in_bounds() {
                return Err(CodecError::Malformed {
                    format: MembershipRequest::NAME,
                }
                .into());
            }
            match request {
                MembershipRequest::Fetch { team, known } => RequestIn::Operations { team, known },
                MembershipRequest::Join { team, request } => RequestIn::Join {
                    team,
                    proof: Box::new(verify(&request)?),
                },
            }
        }
    })
}

/// Decodes and verifies the answer to a request that was made on `protocol`.
pub fn open_response(protocol: Protocol, bytes: &[u8]) -> Result<ResponseIn, Rejected> {
    Ok(match protocol {
        Protocol::Heads => match HeadsResponse::decode(bytes)? {
            HeadsResponse::Heads {
                membership,
                heads,
                liveness,
                addresses,
            } => ResponseIn::Heads {
                membership: membership.into_vec(),
                heads: verify_all(&heads)?,
                liveness: liveness.map(|bytes| verify(&bytes)).transpose()?,
                addresses: verify_all(&addresses)?,
            },
            HeadsResponse::Refused(refusal) => ResponseIn::Refused(refusal),
        },
        Protocol::Entries => match EntriesResponse::decode(bytes)? {
            EntriesResponse::Entries { entries, more } => {
                let entries = entries
                    .iter()
                    .map(|bytes| Entry::decode(bytes).map(Arc::new));
                ResponseIn::Entries {
                    entries: entries.collect::<Result<_, _>>()?,
                    more,
                }
            }
            EntriesResponse::Refused(refusal) => ResponseIn::Refused(refusal),
        },
        Protocol::Have => match HaveResponse::decode(bytes)? {
            HaveResponse::Haves(haves) => ResponseIn::Haves(haves.into_vec()),
            HaveResponse::Noted => ResponseIn::Noted,
            HaveResponse::Refused(refusal) => ResponseIn::Refused(refusal),
        },
        Protocol::Membership => match MembershipResponse::decode(bytes)? {
            MembershipResponse::Ops(operations) => ResponseIn::Operations {
                operations: verify_operations(&operations)?,
                joined: false,
            },
            MembershipResponse::Joined { ops } => ResponseIn::Operations {
                operations: verify_operations(&ops)?,
                joined: true,
            },
            MembershipResponse::Refused(reason) => ResponseIn::MembershipRefused(reason),
        },
    })
}

fn verify_operations(items: &[ByteBuf]) -> Result<Vec<Arc<Verified<Operation>>>, Rejected> {
    Ok(verify_all(items)?.into_iter().map(Arc::new).collect())
}

fn verify_all<T: SignedPayload>(items: &[ByteBuf]) -> Result<Vec<Verified<T>>, Rejected> {
    items.iter().map(|bytes| Ok(verify(bytes)?)).collect()
}

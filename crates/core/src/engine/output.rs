//! What comes out of the engine: effects for the daemon to carry out, in the order given.
//!
//! An effect that waits for another is not put out before it: what depends on [`Output::Persist`]
//! follows its [`super::Input::Persisted`], so a daemon that does as it is told cannot announce what
//! a crash would forget.

use std::{ops::Range, sync::Arc};

use crate::{
    catalog::PrivateVersion,
    engine::{
        error::EngineError,
        gate::GateChange,
        input::{CommandId, FetchId, GossipId, PersistId, RequestId, ResponderId, TransferId},
        provider::Provider,
    },
    id::{BlobId, DeviceId, EntryHash, OpId, TeamId, VersionId},
    membership::Role,
    name::{MemberName, PodName, TagName},
    seal::SecretKey,
    ticket::{RecoveryKey, Ticket},
    wire::Protocol,
};

/// Something to be done.
#[derive(Debug)]
pub enum Output {
    /// Write these in one transaction, then report it. Of two, the first is to be written first.
    Persist {
        id: PersistId,
        records: Vec<Record>,
    },
    /// Gossip to the team. That nobody is there is no error.
    Gossip {
        team: TeamId,
        bytes: Vec<u8>,
    },
    /// The judgement on a gossip message: whether it is passed on, and whether its sender errs.
    Validate {
        id: GossipId,
        verdict: Verdict,
    },
    /// Ask a peer; the answer comes as [`super::Input::Response`], whatever happens.
    Request {
        id: RequestId,
        device: DeviceId,
        protocol: Protocol,
        bytes: Vec<u8>,
    },
    /// Ask a hub to let this device into a team, at the first of these URLs that answers. What comes of it
    /// is [`super::Input::Hub`]: operations, or that it failed.
    JoinAtHub {
        team: TeamId,
        urls: Vec<String>,
        request: HubJoin,
    },
    /// Answer a peer's request.
    Respond {
        id: ResponderId,
        bytes: Vec<u8>,
    },
    /// Fetch `range` of a blob of `total_len` bytes into the store.
    Fetch {
        fetch: FetchId,
        /// Whose bucket it is, where that is the provider.
        team: TeamId,
        provider: Provider,
        blob: BlobId,
        range: Range<u64>,
        total_len: u64,
    },
    /// Its result is of no interest any more; nothing is reported back.
    CancelFetch {
        fetch: FetchId,
    },
    /// Close the connection.
    Disconnect {
        device: DeviceId,
        why: Farewell,
    },
    /// Who is a member, or what may be served, has changed: apply it to the [`super::Gate`].
    GateChanged(GateChange),
    Reply {
        command: CommandId,
        result: Result<Answer, EngineError>,
    },
    Event(Event),
}

/// What a newcomer asks of a hub.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HubJoin {
    /// Please witness: the join request in its envelope, signed by the invite's key.
    Witness(Vec<u8>),
    /// Operations that `known` and what these saw lack: it is a member already, as a robot is.
    Fetch { known: Vec<OpId> },
}

/// What lasts. The same comes back, through [`Record::open`] and [`super::Engine::restore`], at the
/// next start; the order doesn't matter, but operations of a team restore fastest parents first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Record {
    /// A membership operation; kept for ever.
    Operation {
        team: TeamId,
        id: OpId,
        bytes: Arc<[u8]>,
    },
    /// A feed entry. A forked feed has several of one number.
    Entry {
        team: TeamId,
        device: DeviceId,
        seq: u64,
        hash: EntryHash,
        bytes: Arc<[u8]>,
    },
    /// The newest head seen of a device: the floor below which it is never shown. Replaces the one
    /// before it.
    Head {
        team: TeamId,
        device: DeviceId,
        bytes: Arc<[u8]>,
    },
    /// A signed head that the one of [`Record::Head`] does not extend: the proof of a fork. There is
    /// at most one for a device.
    Fork {
        team: TeamId,
        device: DeviceId,
        bytes: Arc<[u8]>,
    },
    /// A version that isn't shared. Replaces one of the same id.
    Private {
        team: TeamId,
        version: Box<PrivateVersion>,
    },
    /// What the key of the invite that this device joined by is made from. Whom no member witnessed has the
    /// team key by the invite's wraps alone, until the next one is wrapped to the device itself.
    InviteKey { team: TeamId, seed: SecretKey },
    /// Delete the private version of this id. Never restored.
    PrivateGone { team: TeamId, version: VersionId },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Valid and new: pass it on.
    Accept,
    /// Valid but known, or not to be judged yet: don't pass it on.
    Ignore,
    /// No honest member sends this.
    Reject,
}

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farewell {
    /// It belongs to none of our teams and had its one exchange.
    Stranger,
    /// It was removed from the last team that we shared.
    Removed,
    /// It answers with garbage.
    Misbehaves,
}

/// What a command came to.
#[derive(Debug, Clone)]
pub enum Answer {
    TeamCreated {
        team: TeamId,
        recovery: RecoveryKey,
    },
    Invited {
        ticket: Box<Ticket>,
    },
    Joined {
        team: TeamId,
    },
    /// Removed, changed, tagged, dropped, forgotten: nothing more to say.
    Done,
    /// `already` where it had been shared before and nothing was announced.
    Published {
        number: u64,
        version: VersionId,
        already: bool,
    },
    /// So many connected members have told all that they know.
    Refreshed {
        members: usize,
    },
    /// The number among the private ones: `+number`.
    Saved {
        number: u64,
        version: VersionId,
    },
}

/// Something that people may want to hear of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A version by a teammate; it is on the disk.
    VersionHeard {
        team: TeamId,
        pod: PodName,
        number: u64,
        version: VersionId,
        author: DeviceId,
    },
    /// A version by this device; it is on the disk and on its way.
    VersionShared {
        team: TeamId,
        pod: PodName,
        number: u64,
        version: VersionId,
    },
    /// A shared version is gone, for a device dropped it; it is on the disk.
    VersionDropped {
        team: TeamId,
        pod: PodName,
        version: VersionId,
        /// What it was called.
        reference: String,
        by: DeviceId,
    },
    /// A device moved a tag, or took it away; it is on the disk.
    TagMoved {
        team: TeamId,
        pod: PodName,
        tag: TagName,
        version: Option<VersionId>,
        by: DeviceId,
    },
    MemberJoined {
        team: TeamId,
        device: DeviceId,
        member: MemberName,
        role: Role,
    },
    MemberRemoved {
        team: TeamId,
        device: DeviceId,
    },
    /// This device was removed: the team takes nothing from it any more.
    Expelled {
        team: TeamId,
    },
    KeyRotated {
        team: TeamId,
    },
    /// A device signed two feeds. It counts for nothing until an admin picks a branch.
    ForkProof {
        team: TeamId,
        device: DeviceId,
        seq: u64,
    },
    /// Others hold entries of this device that are not in its own log: the home was copied, or
    /// restored from an older state. It publishes no more; a new device must be made.
    DeviceMustBeMinted {
        team: TeamId,
    },
    /// A restored home got back what it had published.
    OwnFeedAdopted {
        team: TeamId,
        seq: u64,
    },
    /// What is known of the team is all that some connected member knows; told after every exchange
    /// that ends so.
    CaughtUp {
        team: TeamId,
    },
    /// Everybody who is connected was asked to let this device in, and nobody does so far.
    NotLetIn {
        team: TeamId,
    },
    /// A member's device says where it can be reached.
    AddressesHeard {
        device: DeviceId,
        addresses: Vec<String>,
    },
    /// Records could not be written; they are tried again.
    PersistFailed {
        why: String,
    },
    TransferProgress {
        transfer: TransferId,
        bytes: u64,
        of: u64,
        providers: usize,
    },
    /// Nobody connected has what is missing; the transfer waits a while.
    TransferStarved {
        transfer: TransferId,
        missing: u64,
    },
    /// All is in the store. Who sent how much, most first.
    TransferDone {
        transfer: TransferId,
        from: Vec<(Provider, u64)>,
    },
    /// It ended before all was there; what came stays, and `from` says whose it is.
    TransferFailed {
        transfer: TransferId,
        why: EngineError,
        from: Vec<(Provider, u64)>,
    },
    /// A device sent bytes that are not what they should be, or an object of the bucket isn't.
    LiarFound {
        provider: Provider,
        blob: BlobId,
    },
}

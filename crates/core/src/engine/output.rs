//! The engine's outputs: effects that the daemon carries out in the order given.
//!
//! An effect that depends on an [`Output::Persist`] is emitted only after its
//! [`super::Input::Persisted`]. So a daemon that follows the order never announces something that a
//! crash would lose.

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

/// An action for the daemon.
#[derive(Debug)]
pub enum Output {
    /// Write these records in one transaction, then report the result. Several writes must be done
    /// in order.
    Persist {
        id: PersistId,
        records: Vec<Record>,
    },
    /// Gossip to the team. It is no error if no member is connected.
    Gossip {
        team: TeamId,
        bytes: Vec<u8>,
    },
    /// The verdict on a gossip message: whether to forward it, and whether its sender misbehaves.
    Validate {
        id: GossipId,
        verdict: Verdict,
    },
    /// Send a request to a peer. [`super::Input::Response`] must follow in every case.
    Request {
        id: RequestId,
        device: DeviceId,
        protocol: Protocol,
        bytes: Vec<u8>,
    },
    /// Ask a hub to let this device into a team: the first of these URLs that answers. The result is an
    /// [`super::Input::Hub`]: operations or the failure.
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
        /// The team whose bucket it is, if the provider is a bucket.
        team: TeamId,
        provider: Provider,
        blob: BlobId,
        range: Range<u64>,
        total_len: u64,
    },
    /// Cancel a fetch. Report nothing back.
    CancelFetch {
        fetch: FetchId,
    },
    /// Close the connection.
    Disconnect {
        device: DeviceId,
        why: Farewell,
    },
    /// Members or shared blobs have changed: apply this to the [`super::Gate`].
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
    /// Witness this join: the request in its envelope, signed by the invite's key.
    Witness(Vec<u8>),
    /// Send operations beyond `known` and their ancestors. A robot asks so, since it is a member
    /// already.
    Fetch { known: Vec<OpId> },
}

/// A record of the log. It comes back at the next start through [`Record::open`] and
/// [`super::Engine::restore`], in any order. Operations of a team restore fastest with parents
/// first.
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
    /// The newest head seen of a device. The device is never shown with an older one. Replaces the
    /// last.
    Head {
        team: TeamId,
        device: DeviceId,
        bytes: Arc<[u8]>,
    },
    /// A signed head that the one in [`Record::Head`] does not extend: the proof of a fork. At most
    /// one per device.
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
    /// The seed of the invite key by which this device joined. If a hub witnessed the join, only the
    /// invite's wraps hold the team key until the next one is wrapped to the device itself.
    InviteKey { team: TeamId, seed: SecretKey },
    /// Delete the private version of this id. Never restored.
    PrivateGone { team: TeamId, version: VersionId },
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Valid and new: pass it on.
    Accept,
    /// Valid but already known, or not decidable yet: don't forward it.
    Ignore,
    /// No honest member sends this.
    Reject,
}

/// Why a connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Farewell {
    /// It is in none of our teams and has used its one exchange.
    Stranger,
    /// It was removed from the last team that we shared.
    Removed,
    /// It answers with garbage.
    Misbehaves,
}

/// The result of a command.
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
    /// `already`: it had been shared before, so nothing was announced.
    Published {
        number: u64,
        version: VersionId,
        already: bool,
    },
    /// The number of connected members that have sent all that they know.
    Refreshed {
        members: usize,
    },
    /// The private version's number: `+number`.
    Saved {
        number: u64,
        version: VersionId,
    },
}

/// News for users.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A teammate shared a version; it is on disk.
    VersionHeard {
        team: TeamId,
        pod: PodName,
        number: u64,
        version: VersionId,
        author: DeviceId,
    },
    /// This device shared a version; it is on disk and being announced.
    VersionShared {
        team: TeamId,
        pod: PodName,
        number: u64,
        version: VersionId,
    },
    /// A device dropped a shared version; the drop is on disk.
    VersionDropped {
        team: TeamId,
        pod: PodName,
        version: VersionId,
        /// Its reference before the drop.
        reference: String,
        by: DeviceId,
    },
    /// A device moved or removed a tag; the change is on disk.
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
    /// This device was removed. The team accepts nothing from it any more.
    Expelled {
        team: TeamId,
    },
    KeyRotated {
        team: TeamId,
    },
    /// A device signed two feeds. None of its entries counts until an admin picks a branch.
    ForkProof {
        team: TeamId,
        device: DeviceId,
        seq: u64,
    },
    /// Others hold entries of this device that its own log lacks: the home was copied, or restored
    /// from an older state. It can't publish any more; make a new device.
    DeviceMustBeMinted {
        team: TeamId,
    },
    /// A restored home has recovered the entries that it had published.
    OwnFeedAdopted {
        team: TeamId,
        seq: u64,
    },
    /// This device knows all that some connected member knows of the team. Emitted after every
    /// exchange that ends so.
    CaughtUp {
        team: TeamId,
    },
    /// Every connected device was asked to let this device in, and none has so far.
    NotLetIn {
        team: TeamId,
    },
    /// A member's device sent its addresses.
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
    /// No connected device has what is missing. The transfer waits for a while.
    TransferStarved {
        transfer: TransferId,
        missing: u64,
    },
    /// Everything is in the store. Bytes by provider, most first.
    TransferDone {
        transfer: TransferId,
        from: Vec<(Provider, u64)>,
    },
    /// It ended early. What arrived stays; `from` lists bytes by provider.
    TransferFailed {
        transfer: TransferId,
        why: EngineError,
        from: Vec<(Provider, u64)>,
    },
    /// A device sent bytes that fail their hash, or an object in the bucket is damaged.
    LiarFound {
        provider: Provider,
        blob: BlobId,
    },
}

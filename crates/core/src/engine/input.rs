//! What goes into the engine: things that happened, and commands of the people it works for.
//!
//! Nothing here is raw bytes from a peer: messages come out of [`crate::wire`], which runs on the
//! daemon's own threads. Identifiers minted by the daemon ([`CommandId`], [`ResponderId`],
//! [`GossipId`]) come back in the output that answers; those in [`super::output`] go the other way.

use std::{fmt, ops::Range, sync::Arc, time::Duration};

use super::provider::Sources;
use crate::{
    feed::{BlobRef, Entry, Head},
    id::{BlobId, DeviceId, EpochId, TeamId, VersionId},
    manifest::Emulator,
    membership::{Operation, Role},
    name::{DeviceLabel, MemberName, PodName, TagName, TeamName},
    signed::Verified,
    ticket::{RecoveryKey, Ticket},
    units::Units,
    wire::{GossipIn, Liveness, RequestIn, ResponseIn},
};

/// The time as the daemon sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Now {
    /// Monotonic, since any fixed moment of this process. All timers run on it.
    pub mono: Duration,
    /// Unix milliseconds: for expiry and for people.
    pub wall_ms: u64,
}

macro_rules! number_id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub u64);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }
    };
}

number_id!(
    /// The daemon's: a command, answered by one [`super::Output::Reply`].
    CommandId
);
number_id!(
    /// The daemon's: a peer's request, answered by one [`super::Output::Respond`].
    ResponderId
);
number_id!(
    /// The daemon's: a gossip message, judged by one [`super::Output::Validate`].
    GossipId
);
number_id!(
    /// The daemon's: a transfer. Never used twice in a process.
    TransferId
);
number_id!(
    /// The engine's: records to write, answered by [`Input::Persisted`] or [`Input::PersistFailed`].
    PersistId
);
number_id!(
    /// The engine's: a request to a peer, answered by one [`Input::Response`].
    RequestId
);
number_id!(
    /// The engine's: a range to fetch, ended by [`Input::FetchDone`] or [`Input::FetchFailed`].
    FetchId
);

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// A connection stands. One for each device, however many there are underneath.
    Connected {
        device: DeviceId,
    },
    Disconnected {
        device: DeviceId,
    },
    /// All addresses at which this device can be reached now, the best first.
    Listening {
        addresses: Vec<String>,
    },
    /// A gossip message on the topic of `team`, handed over by the neighbour `from`.
    Gossip {
        id: GossipId,
        team: TeamId,
        from: DeviceId,
        message: GossipIn,
    },
    /// A peer asks. Bytes that don't open are the daemon's to drop, with the connection.
    Request {
        id: ResponderId,
        device: DeviceId,
        request: RequestIn,
    },
    /// The answer to an [`super::Output::Request`], or why there is none.
    Response {
        id: RequestId,
        result: Result<ResponseIn, RequestFailed>,
    },
    /// The records are on the disk and will be there after a crash.
    Persisted {
        id: PersistId,
    },
    /// None of the records is on the disk, nor will be.
    PersistFailed {
        id: PersistId,
        why: String,
    },
    /// Bytes of a blob that the store now holds, verified and synced. At start, one for each blob.
    Held {
        blob: BlobId,
        len: u64,
        bytes: Range<u64>,
    },
    /// The store gave up a blob or found it damaged.
    Evicted {
        blob: BlobId,
    },
    /// What the hub of a team says, opened and verified.
    Hub {
        team: TeamId,
        news: HubNews,
    },
    Command {
        id: CommandId,
        command: Command,
    },
    /// Fetch these blobs, from whoever has them.
    Want(Want),
    /// Blobs that a team's bucket holds, beside those told before. At start, all that are known.
    BucketHas {
        team: TeamId,
        blobs: Vec<BlobId>,
    },
    /// Blobs that it doesn't hold, or not any more.
    BucketLacks {
        team: TeamId,
        blobs: Vec<BlobId>,
    },
    /// The transfer's fetches are called off; what has arrived stays in the store.
    CancelWant {
        transfer: TransferId,
    },
    /// `bytes` of the fetch's range have arrived, from its beginning on and in all.
    FetchProgress {
        fetch: FetchId,
        bytes: u64,
    },
    /// All of the range is in the store, verified.
    FetchDone {
        fetch: FetchId,
    },
    FetchFailed {
        fetch: FetchId,
        why: FetchFailed,
    },
    /// Time passed: due when [`super::Engine::poll_timeout`] said so. Harmless at any time.
    Tick,
}

/// Why a hub did not let this device in, in its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HubJoinFailure {
    /// It was not reached, or could not answer: that says nothing about the ticket.
    NotReached(String),
    /// It answered, and may say something else later: it may lack operations.
    NotYet(String),
    /// It refuses the invite: asking again wouldn't help.
    Refused(String),
}

/// What a hub says.
#[derive(Debug, Clone)]
pub enum HubNews {
    /// Operations, parents first: of a team that this home is in, or the answer to
    /// [`super::Output::JoinAtHub`].
    Operations(Vec<Arc<Verified<Operation>>>),
    /// Why that has no answer.
    JoinFailed(HubJoinFailure),
    /// All its feed heads, at most [`crate::wire::MAX_HEADS`], and everybody's newest statement.
    Heads {
        heads: Vec<Verified<Head>>,
        liveness: Vec<Verified<Liveness>>,
    },
    /// A page of a feed, newest first, so that each entry is proved by the one before it.
    Entries {
        device: DeviceId,
        entries: Vec<Arc<Entry>>,
    },
}

/// Why a request got no answer that can be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestFailed {
    NotConnected,
    /// It lists this device in no team.
    Refused,
    TimedOut,
    /// It answered with bytes that don't open.
    Garbage,
}

/// Why a range didn't arrive.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchFailed {
    /// The provider doesn't serve it to us, or doesn't have it any more.
    Refused,
    /// The stream ended early.
    Cut,
    /// It sent bytes that are not the blob.
    Liar,
    /// It sent nothing for long.
    Stalled,
    NotConnected,
    /// Our own disk: no provider's fault, and the end of the transfer.
    Local,
}

/// Blobs to fetch.
#[derive(Debug, Clone)]
pub struct Want {
    pub transfer: TransferId,
    pub team: TeamId,
    /// At most [`super::transfer::MAX_BLOBS`].
    pub blobs: Vec<WantedBlob>,
    /// Asked first where it has the same as others: whoever announced the version, say.
    pub prefer: Option<DeviceId>,
    pub sources: Sources,
    /// How long to wait while nobody connected has what is missing.
    pub patience: Duration,
}

/// A blob of which something is missing. Resuming is listing only that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WantedBlob {
    pub blob: BlobId,
    /// Bytes of the whole blob.
    pub len: u64,
    pub missing: Units,
}

impl WantedBlob {
    /// All of a blob.
    pub fn whole(blob: BlobRef) -> Self {
        Self {
            blob: blob.id,
            len: blob.len,
            missing: Units::whole(blob.len),
        }
    }
}

/// What people ask for. Each is answered by one reply, after what it changed is on the disk.
#[derive(Debug, Clone)]
pub enum Command {
    /// Found a team with this device as its first admin.
    CreateTeam {
        name: TeamName,
        member: MemberName,
        label: DeviceLabel,
    },
    Invite(InviteOptions),
    /// Join by a ticket: asks every connected device that isn't known to be a stranger until one
    /// witnesses it, or until `patience` is over. The daemon dials the ticket's addresses.
    Join {
        ticket: Box<Ticket>,
        member: MemberName,
        label: DeviceLabel,
        patience: Duration,
    },
    /// Remove a device or withdraw an invite by its key. The team key is changed after it.
    Remove {
        team: TeamId,
        device: DeviceId,
    },
    SetRole {
        team: TeamId,
        device: DeviceId,
        role: Role,
    },
    /// Make this device an admin by the team's recovery key.
    Recover {
        team: TeamId,
        key: RecoveryKey,
    },
    /// Change the team key now.
    Rotate {
        team: TeamId,
    },
    /// Set or, with none, unset one of the team's settings.
    SetSetting {
        team: TeamId,
        name: String,
        value: Option<String>,
    },
    Publish(Box<Publish>),
    /// Move a tag, or with no version take it away.
    Tag {
        team: TeamId,
        pod: PodName,
        tag: TagName,
        version: Option<VersionId>,
    },
    /// Take a shared version out of everybody's sight; its author or an admin may.
    Drop {
        team: TeamId,
        pod: PodName,
        version: VersionId,
    },
    /// Remember a version that was saved here and isn't shared.
    SavePrivate(Box<SavePrivate>),
    /// Ask every connected member what it knows of the team, and answer when each has told all of it, or
    /// can't be asked.
    Refresh {
        team: TeamId,
    },
    /// Forget a private version.
    ForgetPrivate {
        team: TeamId,
        version: VersionId,
    },
}

#[derive(Debug, Clone)]
pub struct InviteOptions {
    pub team: TeamId,
    pub role: Role,
    /// Whom it is for; none lets newcomers choose a free name.
    pub member: Option<MemberName>,
    pub expires_ms: u64,
    pub uses: u32,
    /// Enrol a robot on the spot instead: the ticket is then the robot's own key.
    pub robot: Option<Robot>,
    /// Where this device can be reached, as multiaddresses.
    pub addresses: Vec<String>,
}

/// What a robot is called.
#[derive(Debug, Clone)]
pub struct Robot {
    pub member: MemberName,
    pub label: DeviceLabel,
}

/// Share a version. Number and parents are the engine's to give.
#[derive(Debug, Clone)]
pub struct Publish {
    pub team: TeamId,
    pub pod: PodName,
    pub version: VersionId,
    /// The epoch whose key sealed the manifest: [`super::Engine::current_key`] as it was then.
    pub epoch: EpochId,
    pub manifest: BlobRef,
    pub packs: Vec<BlobRef>,
    pub message: String,
    pub services: Vec<String>,
    pub emulator: Option<Emulator>,
    pub created_ms: u64,
    pub state_len: u64,
    pub entry_count: u64,
    pub tags: Vec<TagName>,
    /// Whether it is shared on purpose although versions that were saved later are the team's already. It is made
    /// of none of those.
    pub is_older: bool,
    /// The private version that this one is made of: forgotten in the same write.
    pub replaces: Option<VersionId>,
}

/// A version that only this home knows of. Its number among the private ones is the engine's to give.
#[derive(Debug, Clone)]
pub struct SavePrivate {
    pub team: TeamId,
    pub pod: PodName,
    pub version: VersionId,
    pub manifest: BlobRef,
    pub message: String,
    pub services: Vec<String>,
    pub emulator: Option<Emulator>,
    pub created_ms: u64,
    pub state_len: u64,
    pub entry_count: u64,
}

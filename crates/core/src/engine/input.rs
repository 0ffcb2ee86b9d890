//! The engine's inputs: events, and commands from users.
//!
//! No input holds raw bytes from a peer: messages come out of [`crate::wire`], which runs on the
//! daemon's own threads. The daemon mints [`CommandId`], [`ResponderId`] and [`GossipId`], and the
//! engine returns each in the output that answers it. The ids in [`super::output`] go the other
//! way.

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
    /// Minted by the daemon for a command. One [`super::Output::Reply`] answers it.
    CommandId
);
number_id!(
    /// Minted by the daemon for a peer's request. One [`super::Output::Respond`] answers it.
    ResponderId
);
number_id!(
    /// Minted by the daemon for a gossip message. One [`super::Output::Validate`] answers it.
    GossipId
);
number_id!(
    /// Minted by the daemon for a transfer. Never reused in a process.
    TransferId
);
number_id!(
    /// Minted by the engine for records to write. [`Input::Persisted`] or [`Input::PersistFailed`]
    /// answers it.
    PersistId
);
number_id!(
    /// Minted by the engine for a request to a peer. One [`Input::Response`] answers it.
    RequestId
);
number_id!(
    /// Minted by the engine for a range to fetch. [`Input::FetchDone`] or [`Input::FetchFailed`]
    /// ends it.
    FetchId
);

/// Something that happened.
#[derive(Debug)]
pub enum Input {
    /// A device is connected. Sent once per device, however many connections lie underneath.
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
    /// A gossip message on the topic of `team`, received from the neighbour `from`.
    Gossip {
        id: GossipId,
        team: TeamId,
        from: DeviceId,
        message: GossipIn,
    },
    /// A request of a peer. If its bytes don't decode, the daemon drops them and the connection.
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
    /// The write failed: none of the records is on disk, now or later.
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
    /// A message of the team's hub, opened and verified.
    Hub {
        team: TeamId,
        news: HubNews,
    },
    Command {
        id: CommandId,
        command: Command,
    },
    /// Fetch these blobs from any provider.
    Want(Want),
    /// More blobs that a team's bucket holds. At start, all that are known.
    BucketHas {
        team: TeamId,
        blobs: Vec<BlobId>,
    },
    /// Blobs that the bucket doesn't hold, or no longer holds.
    BucketLacks {
        team: TeamId,
        blobs: Vec<BlobId>,
    },
    /// Cancel the transfer's fetches. What has arrived stays in the store.
    CancelWant {
        transfer: TransferId,
    },
    /// The first `bytes` of the fetch's range have arrived, in total.
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
    /// Time passed. Due at [`super::Engine::poll_timeout`]; harmless at any other time.
    Tick,
}

/// Why a hub did not let this device in, in its words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum HubJoinFailure {
    /// No connection to it came about, so it was not asked.
    NotConnected(String),
    /// It may have been asked, and has not answered. That says nothing about the ticket.
    NotReached(String),
    /// It can't let this device in yet: it may lack operations. Asking again later may work.
    NotYet(String),
    /// It refuses the invite. Asking again would not help.
    Refused(String),
}

/// What a hub says.
#[derive(Debug, Clone)]
pub enum HubNews {
    /// Operations, parents first: of a team of this home, or the answer to
    /// [`super::Output::JoinAtHub`].
    Operations(Vec<Arc<Verified<Operation>>>),
    /// Why [`super::Output::JoinAtHub`] failed.
    JoinFailed(HubJoinFailure),
    /// All feed heads of the hub, at most [`crate::wire::MAX_HEADS`], and each device's newest
    /// liveness statement.
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

/// Why a request got no usable answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequestFailed {
    NotConnected,
    /// The peer knows this device in no team.
    Refused,
    TimedOut,
    /// It answered with bytes that don't open.
    Garbage,
}

/// Why a fetch failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FetchFailed {
    /// The provider doesn't serve it to us, or no longer has it.
    Refused,
    /// The stream ended early.
    Cut,
    /// It sent bytes that fail the blob's hash.
    Liar,
    /// It sent nothing for too long.
    Stalled,
    /// It says that its own copy is damaged.
    Damaged,
    NotConnected,
    /// Our own disk failed. No provider is at fault, and the transfer ends.
    Local,
}

/// Blobs to fetch.
#[derive(Debug, Clone)]
pub struct Want {
    pub transfer: TransferId,
    pub team: TeamId,
    /// At most [`super::transfer::MAX_BLOBS`].
    pub blobs: Vec<WantedBlob>,
    /// The device to ask first among equal providers, such as the version's author.
    pub prefer: Option<DeviceId>,
    pub sources: Sources,
    /// How long to wait while no connected device has what is missing.
    pub patience: Duration,
}

/// A blob to fetch, in full or in part. To resume a transfer, list only the missing parts.
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

/// Users' commands. Each gets one reply, once its changes are on disk.
#[derive(Debug, Clone)]
pub enum Command {
    /// Found a team with this device as its first admin.
    CreateTeam {
        name: TeamName,
        member: MemberName,
        label: DeviceLabel,
    },
    Invite(InviteOptions),
    /// Join by a ticket. Asks every connected device that may be a member until one witnesses the
    /// join, or until `patience` is over. The daemon dials the ticket's addresses.
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
    /// Set a team setting, or unset it with none.
    SetSetting {
        team: TeamId,
        name: String,
        value: Option<String>,
    },
    Publish(Box<Publish>),
    /// Move a tag, or remove it if no version is given.
    Tag {
        team: TeamId,
        pod: PodName,
        tag: TagName,
        version: Option<VersionId>,
    },
    /// Drop a shared version for the whole team. Its author and admins may do it.
    Drop {
        team: TeamId,
        pod: PodName,
        version: VersionId,
    },
    /// Remember a version that was saved here and isn't shared.
    SavePrivate(Box<SavePrivate>),
    /// Ask every connected member for all that it knows of the team. The reply comes when each has
    /// answered or is gone.
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
    /// The member it is for. With none, the newcomer chooses a free name.
    pub member: Option<MemberName>,
    pub expires_ms: u64,
    pub uses: u32,
    /// Enrol a robot at once instead. The ticket is then the robot's own key.
    pub robot: Option<Robot>,
    /// Where this device can be reached, as multiaddresses.
    pub addresses: Vec<String>,
}

/// The names of a robot.
#[derive(Debug, Clone)]
pub struct Robot {
    pub member: MemberName,
    pub label: DeviceLabel,
}

/// Share a version. The engine chooses its number and parents.
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
    /// Share it although the team has versions that were saved later. None of those becomes its parent.
    pub is_older: bool,
    /// The private version that this one replaces. It is removed in the same write.
    pub replaces: Option<VersionId>,
}

/// A version to keep private to this home. The engine chooses its number among the private ones.
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

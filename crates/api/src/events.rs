//! Events, as clients of `GET /v1/events` get them.
//!
//! An event says that something changed, not the whole new state. After `missed` a client has to read the state
//! again.

mod about;

use podsync_core::{DeviceId, MemberName, PodName, TagName, TeamName, VersionId};
use serde::{Deserialize, Serialize};

pub use self::about::{Kind, VARIABLES};
use crate::{ErrorCode, team::Role};

/// The path, after the API's version.
pub const PATH: &str = "events";
/// The request header with the id of the last event that the client has.
pub const LAST_EVENT_ID: &str = "last-event-id";

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Event {
    /// The event's id within one run of the daemon. Null for a transfer: a client can't come back to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// Unix milliseconds.
    pub time_ms: u64,
    /// What, by its `kind`.
    #[serde(flatten)]
    pub what: Happened,
}

/// What happened.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Happened {
    Shared(VersionShared),
    Pulled(VersionPulled),
    Saved(VersionSaved),
    Loaded(VersionLoaded),
    Dropped(VersionDropped),
    Tagged(TagMoved),
    Joined(MemberJoined),
    Removed(MemberRemoved),
    Fork(FeedForked),
    Trouble(Trouble),
    Eviction(VersionEvicted),
    Transfer(TransferMoved),
    Peer(PeerChanged),
    Missed(Missed),
    /// A kind that only newer daemons send.
    #[serde(other)]
    Unknown,
}

/// A version was shared, by a teammate or by this device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VersionShared {
    pub team: TeamName,
    pub pod: PodName,
    pub reference: String,
    pub version: VersionId,
    pub number: u64,
    /// The member.
    pub author: String,
    pub device: DeviceId,
    pub this_device: bool,
    pub message: String,
    pub state_len: u64,
}

/// A version was pulled to this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VersionPulled {
    pub team: TeamName,
    pub pod: PodName,
    pub reference: String,
    pub version: VersionId,
    pub author: String,
    /// Bytes that were transferred.
    pub fetched: u64,
}

/// A state was saved as a private version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VersionSaved {
    pub team: TeamName,
    pub pod: PodName,
    pub reference: String,
    pub version: VersionId,
    pub message: String,
    pub state_len: u64,
    /// Sealed bytes that were new.
    pub new_len: u64,
}

/// A version was loaded into an instance, or a checkpoint was put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VersionLoaded {
    pub team: TeamName,
    pub pod: PodName,
    pub reference: String,
    pub version: VersionId,
    pub author: String,
    pub endpoint: String,
    /// Services that were loaded.
    pub applied: Vec<String>,
    /// Services that were not, each with the reason.
    pub failed: Vec<(String, String)>,
    /// The checkpoint of the state before the load.
    pub checkpoint: Option<String>,
}

/// A version was dropped: for the team where it was shared, here where it was private.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VersionDropped {
    pub team: TeamName,
    pub pod: PodName,
    pub reference: String,
    pub version: VersionId,
    /// Who dropped it, by name.
    pub by: String,
    pub this_device: bool,
    pub shared: bool,
}

/// A tag was moved to another version, or removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TagMoved {
    pub team: TeamName,
    pub pod: PodName,
    pub tag: TagName,
    pub reference: Option<String>,
    pub version: Option<VersionId>,
    /// Who moved it, by name.
    pub by: String,
    pub this_device: bool,
}

/// A device joined the team.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MemberJoined {
    pub team: TeamName,
    pub member: MemberName,
    pub device: DeviceId,
    /// `bob/laptop`.
    pub name: String,
    pub role: Role,
    pub this_device: bool,
}

/// A device left the team or was removed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct MemberRemoved {
    pub team: TeamName,
    pub device: DeviceId,
    pub name: String,
    pub this_device: bool,
}

/// A device's feed has forked. Its shares are ignored until an admin removes the device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct FeedForked {
    pub team: TeamName,
    pub device: DeviceId,
    pub name: String,
    pub this_device: bool,
    /// The number of which the feed has two entries.
    pub seq: u64,
}

/// Background work of the daemon failed, or needs a user's attention. The same failure is sent once an hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Trouble {
    pub team: Option<TeamName>,
    pub pod: Option<PodName>,
    pub reference: Option<String>,
    pub code: ErrorCode,
    pub message: String,
    /// What to do next.
    pub hint: Option<String>,
}

/// A version left this machine to keep within the disk budget.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VersionEvicted {
    pub team: TeamName,
    pub pod: PodName,
    pub reference: String,
    pub version: VersionId,
    /// Bytes that only this version needed.
    pub bytes: u64,
    /// Who has it, by name.
    pub elsewhere: Vec<String>,
}

/// The progress of a pull or an upload. Sent at most a few times a second; only the newest event counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TransferMoved {
    /// The same number as long as it runs.
    pub transfer: u64,
    pub direction: Direction,
    pub state: TransferState,
    pub team: TeamName,
    pub pod: PodName,
    pub reference: String,
    /// Bytes done.
    pub bytes: u64,
    /// Bytes in all, as far as that is known: a pull learns of more while it runs.
    pub of: u64,
    /// How many peers send or receive right now.
    pub providers: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Direction {
    /// To this machine.
    Pull,
    /// Into the team's bucket.
    Upload,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TransferState {
    Running,
    Done,
    Failed,
}

/// A teammate's device is connected, or is gone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PeerChanged {
    pub device: DeviceId,
    pub name: String,
    pub connected: bool,
    pub address: Option<String>,
}

/// This client has missed events, so it should read the state again. Later events follow.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Missed {}

#[cfg(test)]
mod tests {
    use super::*;

    /// Clients of other versions and other makers read these names.
    #[test]
    fn an_event_is_one_flat_object() {
        let event = Event {
            id: Some("1f3a9c00-7".to_owned()),
            time_ms: 1_700_000_000_000,
            what: Happened::Shared(VersionShared {
                team: "payments".parse().unwrap(),
                pod: "orders".parse().unwrap(),
                reference: "orders:3".to_owned(),
                version: VersionId::from_bytes([7; 32]),
                number: 3,
                author: "alice".to_owned(),
                device: DeviceId::from_bytes([1; 32]),
                this_device: false,
                message: "dead letters pile up".to_owned(),
                state_len: u64::MAX,
            }),
        };
        let json = serde_json::to_value(&event).unwrap();
        assert_eq!(json["kind"], "shared");
        assert_eq!(json["id"], "1f3a9c00-7");
        assert_eq!(json["pod"], "orders");
        assert_eq!(json["state_len"], u64::MAX);
        assert_eq!(serde_json::from_value::<Event>(json).unwrap(), event);
    }

    #[test]
    fn a_kind_of_tomorrow_is_read_and_is_nothing() {
        let text = r#"{"id":"a-1","time_ms":5,"kind":"teleported","pod":"orders"}"#;
        let event: Event = serde_json::from_str(text).unwrap();
        assert_eq!(event.what, Happened::Unknown);
    }

    #[test]
    fn kinds_are_called_as_they_are_written() {
        let missed = Happened::Missed(Missed {});
        let json = serde_json::to_value(&missed).unwrap();
        assert_eq!(json["kind"], missed.kind().as_str());
    }
}

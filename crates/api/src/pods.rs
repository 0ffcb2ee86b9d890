//! Calls about pods and versions: save, share, pull, load and what can be seen of them.
//!
//! References travel as text (`orders:3@alice`) and are resolved by the daemon.

use std::{collections::BTreeSet, path::PathBuf};

use podsync_core::{DeviceId, PodName, TagName, TeamId, VersionId};
use serde::{Deserialize, Serialize};

use crate::{
    AuthToken, Consent,
    call::call,
    contents::{EntryLine, Resource},
};

/// Where the state to save is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StateSource {
    /// A folder, a `.snapshot` or `.zip`, or any file; absolute.
    Path(PathBuf),
    /// A running emulator.
    Endpoint(String),
}

/// The same for a schema, which knows no paths.
#[cfg(feature = "openapi")]
#[derive(Serialize, utoipa::ToSchema)]
#[serde(rename_all = "snake_case")]
#[schema(as = StateSource)]
#[expect(dead_code, reason = "only its form is looked at")]
enum StateSourceSchema {
    /// A folder, a `.snapshot` or `.zip`, or any file; absolute.
    Path(String),
    /// A running emulator.
    Endpoint(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Save {
    pub pod: PodName,
    pub message: String,
    #[cfg_attr(feature = "openapi", schema(value_type = StateSourceSchema))]
    pub from: StateSource,
    /// The caller's auth token for the emulator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<AuthToken>,
    /// Only these services. Empty means all.
    pub services: Vec<String>,
    /// Share at once what was saved.
    pub share: bool,
    /// Answer only once the shared version is in the team's bucket.
    #[serde(default)]
    pub durable: bool,
    /// Consents that the user gave beforehand.
    #[serde(default)]
    pub consents: BTreeSet<Consent>,
    /// Save the state even if it contains a ticket, a token or a recovery key of podsync.
    #[serde(default)]
    pub allow_secrets: bool,
}
call!(Save => Saved, Team, "save");

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Saved {
    /// The exact reference of the version that holds the state.
    pub reference: String,
    pub version: VersionId,
    /// The version already held this state, so no new one was made.
    pub unchanged: bool,
    /// Bytes of the state.
    pub state_len: u64,
    pub entries: u64,
    /// Sealed bytes that were new.
    pub new_len: u64,
    /// Services that could not be saved, with the reason.
    pub failed: Vec<(String, String)>,
    /// Work that the emulator had in progress. It doesn't go on where the state is loaded.
    #[serde(default)]
    pub under_way: Vec<UnderWay>,
    pub shared: Option<Shared>,
    /// Warnings for the user.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Work in progress of one kind, such as two executions of Step Functions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct UnderWay {
    pub service: String,
    /// The service's own word for one unit of the work.
    pub kind: String,
    pub count: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Share {
    pub reference: String,
    /// Answer only once the version is in the team's bucket.
    #[serde(default)]
    pub durable: bool,
    /// Consents that the user gave beforehand.
    #[serde(default)]
    pub consents: BTreeSet<Consent>,
}
call!(Share => Shared, Team, "share", names reference);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Shared {
    pub reference: String,
    pub version: VersionId,
    pub number: u64,
    /// The version was shared before, so nothing was announced.
    pub already: bool,
    /// Connected teammates at the time of the announcement.
    pub peers: usize,
    /// Whether the version is in the team's bucket now. Null if the team has no hub.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub durable: Option<bool>,
    /// Warnings for the user.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// Where bytes may come from.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Sources {
    /// Teammates first; the bucket for what they lack or don't send.
    #[default]
    Any,
    Peers,
    Bucket,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Pull {
    pub reference: String,
    /// Seconds to wait for news of the version and for a device that holds it.
    pub wait_s: u64,
    /// Wait until the version is shared, even if no reachable device knows of it.
    #[serde(default)]
    pub until_shared: bool,
    #[serde(default)]
    pub sources: Sources,
}
call!(Pull => Pulled, Team, "pull", names reference);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Pulled {
    pub reference: String,
    pub version: VersionId,
    pub author: String,
    pub state_len: u64,
    /// Bytes that were transferred.
    pub fetched: u64,
    /// The providers of these bytes, largest share first.
    pub sources: Vec<PulledFrom>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PulledFrom {
    pub name: String,
    /// Null for the bucket.
    pub device: Option<DeviceId>,
    pub bytes: u64,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Load {
    pub reference: String,
    pub endpoint: String,
    /// The caller's auth token for the emulator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<AuthToken>,
    /// LocalStack's merge strategy.
    pub merge: String,
    pub wait_s: u64,
    /// Wait until the version is shared, even if no reachable device knows of it.
    #[serde(default)]
    pub until_shared: bool,
    /// Only these services. Empty means all.
    #[serde(default)]
    pub services: Vec<String>,
    /// Consents that the user gave beforehand.
    #[serde(default)]
    pub consents: BTreeSet<Consent>,
    /// Do nothing if this run of the instance got the version by its last load, or by such loads in a row.
    #[serde(default)]
    pub once: bool,
    #[serde(default)]
    pub sources: Sources,
}
call!(Load => Loaded, Team, "load", names reference);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Loaded {
    pub reference: String,
    pub version: VersionId,
    pub pulled: Pulled,
    /// The version was loaded before, and the call said `once`, so nothing was loaded.
    pub already: bool,
    pub applied: Vec<String>,
    pub failed: Vec<(String, String)>,
    /// The checkpoint of the state before the load, which `undo` brings back.
    pub checkpoint: Option<String>,
    /// The longest time for which requests to a service waited while other services were loaded. None if
    /// the emulator doesn't say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub longest_wait_ms: Option<u64>,
}

/// Puts back what was in the emulator before the last load.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Undo {
    pub endpoint: String,
    /// The caller's auth token for the emulator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<AuthToken>,
}
call!(Undo => Undone, Team, "undo");

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Undone {
    pub checkpoint: String,
    pub applied: Vec<String>,
    pub failed: Vec<(String, String)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Export {
    pub reference: String,
    /// Absolute; must not exist. A name with `.zip` or `.snapshot` becomes a file, else what the
    /// version was saved from.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub to: PathBuf,
    pub wait_s: u64,
    /// Wait until the version is shared, even if no reachable device knows of it.
    #[serde(default)]
    pub until_shared: bool,
    #[serde(default)]
    pub sources: Sources,
}
call!(Export => Exported, Team, "export", names reference);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Exported {
    pub reference: String,
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub path: PathBuf,
    pub pulled: Pulled,
}

/// The shared version that a reference means now, without its bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Resolve {
    pub reference: String,
    /// Seconds to wait for it to be heard of.
    pub wait_s: u64,
    /// Wait until the version is shared, even if no reachable device knows of it.
    #[serde(default)]
    pub until_shared: bool,
}
call!(Resolve => Resolved, Team, "resolve", names reference);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Resolved {
    pub team: TeamId,
    pub version: Version,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ListPods {}
call!(ListPods => Vec<Pod>, Team, "pods");

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Pod {
    pub name: PodName,
    /// The newest versions. There are several if people made versions in parallel.
    pub tips: Vec<Version>,
    pub versions: usize,
    /// Versions saved here and not shared.
    pub private: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ListVersions {
    pub pod: PodName,
}
call!(ListVersions => Vec<Version>, Team, "versions");

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Version {
    /// The shortest reference that means exactly this version.
    pub reference: String,
    pub id: VersionId,
    /// The versions that this one was made from. They may have been dropped since.
    pub parents: Vec<VersionId>,
    /// None while private.
    pub number: Option<u64>,
    pub author: String,
    pub message: String,
    pub created_ms: u64,
    pub state_len: u64,
    pub services: Vec<String>,
    pub emulator: Option<String>,
    pub tags: Vec<TagName>,
    pub tip: bool,
    /// Whether the version is complete on this machine.
    pub held: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Show {
    pub reference: String,
    /// List what is inside; the version must be on this machine.
    pub contents: bool,
}
call!(Show => Shown, Team, "show", names reference);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Shown {
    pub version: Version,
    pub parents: Vec<VersionId>,
    /// Sealed bytes of its packs.
    pub packed_len: u64,
    pub packs: usize,
    /// Only with `contents`, if the state has an index of resources.
    pub resources: Option<Vec<Resource>>,
    /// Only with `contents`, if the state has no index of resources.
    pub entries: Option<Vec<EntryLine>>,
    /// How many more resources or entries there are than are listed.
    pub left_out: u64,
    pub whereabouts: Whereabouts,
}

/// Where a version's bytes are stored, according to everyone who could be asked now.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Whereabouts {
    /// Bytes of packs and manifest that make up the version.
    pub needed: u64,
    /// Whether `needed` is exactly what the version needs. Otherwise it counts whole packs, for the version
    /// isn't on this machine: a device that holds less may still have all of it.
    pub exact: bool,
    /// Devices that hold part of the version, largest part first. Includes this device.
    pub devices: Vec<Holder>,
    /// Names of devices that answered and hold nothing of it.
    pub without: Vec<String>,
    /// Names of devices that aren't connected or didn't answer. What they hold is unknown.
    pub unknown: Vec<String>,
    /// Null if the team has no hub, or the version is private.
    pub bucket: Option<InBucket>,
    /// Why the version may be lost, and what to do.
    pub warning: Option<String>,
}

/// A device that holds something of a version.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Holder {
    pub device: DeviceId,
    pub name: String,
    pub this_device: bool,
    /// All of it.
    pub whole: bool,
    /// Bytes of [`Whereabouts::needed`].
    pub held: u64,
    /// Packs of which it holds all that is needed.
    pub packs: usize,
}

/// Whether the team's bucket has a version, as its hub says now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum InBucket {
    /// The version's entry is committed, and the bucket has everything that it names.
    Whole,
    /// The entry is committed, but this many of its objects are missing.
    Missing(usize),
    /// The entry isn't committed yet.
    NotYet,
    /// Why the hub can't be asked.
    Unknown(String),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Tag {
    pub reference: String,
    pub tag: TagName,
}
call!(Tag => Version, Team, "tag", names reference);

/// Drops a version: on this machine if it is private, for the team if it is shared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DropVersion {
    pub reference: String,
    /// Consents that the user gave beforehand.
    #[serde(default)]
    pub consents: BTreeSet<Consent>,
}
call!(DropVersion => Dropped, Team, "drop", names reference);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Dropped {
    pub reference: String,
    pub version: VersionId,
    /// Whether the version was shared, so that the drop is announced to the team.
    pub shared: bool,
}

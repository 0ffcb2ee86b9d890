//! Calls about the daemon itself and the peers it sees.

use std::path::PathBuf;

use podsync_core::{DeviceId, TeamId, TeamName};
use serde::{Deserialize, Serialize};

use crate::{
    ApiError, AuthToken, ErrorCode,
    call::call,
    follow::{Autosaved, Followed},
};

/// The state of the daemon.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GetStatus {}
call!(GetStatus => Status, Home, "status");

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Status {
    /// podsync's version.
    pub version: String,
    pub pid: u32,
    /// The program file that the daemon was started from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "openapi", schema(value_type = Option<String>))]
    pub program: Option<PathBuf>,
    /// Whether that file was replaced since, so that the daemon still runs an older version.
    #[serde(default)]
    pub replaced: bool,
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub home: PathBuf,
    pub device: DeviceId,
    /// Whether this process only lives for one command.
    pub transient: bool,
    /// Multiaddresses that peers can dial.
    pub listening: Vec<String>,
    pub teams: Vec<TeamStatus>,
    pub peers_connected: usize,
    /// The current pause, if any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Paused>,
    /// Bytes a second that may be sent and received; 0 for no limit.
    #[serde(default)]
    pub limit_up: u64,
    #[serde(default)]
    pub limit_down: u64,
    /// Whether this machine's connection is metered. If so, the daemon fetches nothing in the background.
    #[serde(default)]
    pub metered: bool,
    /// Bytes of packs and manifests held.
    pub bytes_held: u64,
    /// Pods that are followed.
    #[serde(default)]
    pub follows: Vec<Followed>,
    /// Pods with autosaves.
    #[serde(default)]
    pub autosaves: Vec<Autosaved>,
    /// Warnings, each with what to do.
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TeamStatus {
    pub id: TeamId,
    pub name: TeamName,
    /// This device's role. Null after its removal.
    pub role: Option<crate::team::Role>,
    /// This device took itself out of the team.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub left: bool,
    pub members: usize,
    pub admins: usize,
    pub pods: usize,
    /// Devices of teammates that are connected now.
    #[serde(default)]
    pub connected: usize,
    /// Unix milliseconds of the last contact with another device: something that it sent, or the newest
    /// statement that it signed. What is known here may be that old.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_ms: Option<u64>,
    /// Forked feeds. They are ignored until an admin removes their device.
    pub quarantined: Vec<DeviceId>,
    /// The clocks of other devices, as far as they can be compared with this machine's.
    #[serde(default)]
    pub clocks: Vec<Clock>,
    /// The state of the team's hub. Null if the team has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<HubStatus>,
}

/// The clock of another device, by the time that the device signed last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Clock {
    pub device: DeviceId,
    /// `alice/laptop`.
    pub name: String,
    /// Seconds by which it is ahead of this machine's clock; negative if it is behind. A device signs the
    /// time every hour, so it may be less far behind.
    pub ahead_s: i64,
}

/// A team's hub, as this device sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HubStatus {
    pub url: String,
    /// Unix milliseconds of its last answer to this process. Null before the first answer.
    pub heard_ms: Option<u64>,
    /// Why this device can't use the hub, if so.
    pub trouble: Option<String>,
    /// Entries of this device's feed that aren't in the bucket yet. Null while that is unknown.
    pub waiting: Option<u64>,
    /// Bytes sent and total bytes of the current upload.
    pub uploading: Option<(u64, u64)>,
}

/// Connected and known peers.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GetPeers {}
call!(GetPeers => Vec<Peer>, Home, "peers");

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Peer {
    pub device: DeviceId,
    /// `alice/laptop`, where a team names the device.
    pub name: Option<String>,
    pub connected: bool,
    /// Unix milliseconds of the last sign of it since this daemon started: something that it sent, or
    /// the newest statement that it signed, whichever is later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_ms: Option<u64>,
    pub address: Option<String>,
    /// Microseconds of the last ping's round trip.
    pub round_trip_us: Option<u64>,
    /// Bytes served to and fetched from it since the daemon started, over all connections.
    pub sent: u64,
    pub received: u64,
    /// How many of these bytes came over a separate connection.
    #[serde(default)]
    pub received_over_lane: u64,
}

/// Pauses serving, fetching and uploading. A restart doesn't end the pause.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Pause {
    /// Seconds of the pause. Null: until it is ended by a call.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_s: Option<u64>,
}
call!(Pause => Paused, Home, "pause");

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Paused {
    /// Unix milliseconds at which the pause ends. Null: when a call ends it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until_ms: Option<u64>,
}

/// Ends a pause.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Resume {}
call!(Resume => Resumed, Home, "resume");

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Resumed {
    pub was_paused: bool,
}

/// Asks the daemon to finish: it stops taking calls, drains and exits.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Stop {}
call!(Stop => Stopping, Home, "stop");

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Stopping {
    pub pid: u32,
}

/// Checks what keeps podsync from working on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Examine {
    /// The emulator to look at.
    pub endpoint: String,
    /// The caller's auth token for the emulator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<AuthToken>,
}
call!(Examine => Vec<Finding>, Home, "doctor");

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    Ok,
    Warning,
    Failure,
}

/// What one check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Finding {
    pub check: String,
    pub verdict: Verdict,
    pub found: String,
    /// What to do about it.
    pub fix: Option<String>,
    /// For a failure: the error code with which commands fail because of it.
    pub code: Option<ErrorCode>,
}

impl Finding {
    pub fn ok(check: &str, found: impl Into<String>) -> Self {
        Self {
            check: check.to_owned(),
            verdict: Verdict::Ok,
            found: found.into(),
            fix: None,
            code: None,
        }
    }

    pub fn warning(check: &str, found: impl Into<String>, fix: impl Into<String>) -> Self {
        Self {
            verdict: Verdict::Warning,
            fix: Some(fix.into()),
            ..Self::ok(check, found)
        }
    }

    pub fn failure(check: &str, error: ApiError) -> Self {
        Self {
            verdict: Verdict::Failure,
            fix: error.hint,
            code: Some(error.code),
            ..Self::ok(check, error.message)
        }
    }
}

/// The settings that the daemon runs with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ReadSettings {}
call!(ReadSettings => SettingsInForce, Home, "settings");

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SettingsInForce {
    /// The file that they can be changed in.
    #[cfg_attr(feature = "openapi", schema(value_type = String))]
    pub file: PathBuf,
    /// All of them with their values, as TOML.
    pub toml: String,
}

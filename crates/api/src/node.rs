//! Calls about the daemon itself and the peers it sees.

use std::path::PathBuf;

use podsync_core::{DeviceId, TeamId, TeamName};
use serde::{Deserialize, Serialize};

use crate::{
    ApiError, AuthToken, ErrorCode,
    call::call,
    follow::{Autosaved, Followed},
};

/// How the daemon is.
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
    /// Whether another program lies there since: an upgrade that this daemon doesn't run yet.
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
    /// A pause, while there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub paused: Option<Paused>,
    /// Bytes a second that may be sent and received; 0 for no limit.
    #[serde(default)]
    pub limit_up: u64,
    #[serde(default)]
    pub limit_down: u64,
    /// Whether this machine says that its link to the network costs by the byte; then nothing is fetched unasked.
    #[serde(default)]
    pub metered: bool,
    /// Bytes of packs and manifests held.
    pub bytes_held: u64,
    /// Pods that are followed.
    #[serde(default)]
    pub follows: Vec<Followed>,
    /// Pods that an instance is saved to by itself.
    #[serde(default)]
    pub autosaves: Vec<Autosaved>,
    /// What deserves attention, each with what to do.
    pub warnings: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TeamStatus {
    pub id: TeamId,
    pub name: TeamName,
    /// This device's role; none after its removal.
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
    /// Unix milliseconds of the newest statement of another device: how old what is known here may be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_ms: Option<u64>,
    /// Feeds that contradict themselves and are left out until their device is dealt with.
    pub quarantined: Vec<DeviceId>,
    /// How things are with the team's hub; none where it has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<HubStatus>,
}

/// A team's hub, as this device sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct HubStatus {
    pub url: String,
    /// Unix milliseconds of its last answer to this process; none before the first.
    pub heard_ms: Option<u64>,
    /// What keeps this device from it.
    pub trouble: Option<String>,
    /// Entries of this device's feed that aren't in the bucket yet; none while that isn't known.
    pub waiting: Option<u64>,
    /// Bytes sent and bytes to send of what is being uploaded.
    pub uploading: Option<(u64, u64)>,
}

/// Who is connected, and who could be.
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
    /// Unix milliseconds of the newest statement that it signed, as far as this daemon has heard since
    /// it started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heard_ms: Option<u64>,
    pub address: Option<String>,
    /// Microseconds of the last ping's round trip.
    pub round_trip_us: Option<u64>,
    /// Bytes served to and fetched from it since the daemon started.
    pub sent: u64,
    pub received: u64,
    /// Those of them that came over a connection of their own.
    #[serde(default)]
    pub received_over_lane: u64,
}

/// Serves, fetches and uploads nothing for a while; a restart doesn't end it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Pause {
    /// Seconds; none for until it is ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub for_s: Option<u64>,
}
call!(Pause => Paused, Home, "pause");

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Paused {
    /// Unix milliseconds at which the pause ends; none for until it is ended.
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

/// Looks for what keeps podsync from working on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Examine {
    /// The emulator to look at.
    pub endpoint: String,
    /// What the emulator wants to hear of the caller.
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
    /// Of a failure: what a command that meets it ends with.
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

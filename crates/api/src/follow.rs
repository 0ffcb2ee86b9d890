//! Calls about automatic work for a pod: following what teammates share, and autosaves of an instance.

use std::collections::BTreeSet;

use podsync_core::{PodName, TeamName, VersionId};
use serde::{Deserialize, Serialize};

use crate::{AuthToken, Consent, call::call, pods};

/// Follows a pod: from now on the daemon pulls what teammates share of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Follow {
    pub pod: PodName,
    /// Also load each pulled version into this instance.
    #[serde(default)]
    pub load: Option<LoadInto>,
}
call!(Follow => Followed, Team, "follow");

/// An instance on this machine into which the daemon loads shared versions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LoadInto {
    pub endpoint: String,
    /// How the version is merged with the instance's state.
    pub merge: String,
}

/// A pod that is followed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Followed {
    pub team: TeamName,
    pub pod: PodName,
    #[serde(default)]
    pub load: Option<LoadInto>,
    /// Whether the team has this pod now.
    pub known: bool,
}

/// Stops following a pod. Pulled versions stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Unfollow {
    pub pod: PodName,
}
call!(Unfollow => Unfollowed, Team, "unfollow");

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Unfollowed {
    pub team: TeamName,
    pub pod: PodName,
}

/// Starts autosaves: the daemon saves an instance as private versions of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Autosave {
    pub pod: PodName,
    pub endpoint: String,
    /// Seconds between two saves. Null: save only when the instance is about to stop.
    #[serde(default)]
    pub every_s: Option<u64>,
    /// Also when the instance is about to stop.
    #[serde(default)]
    pub on_stop: bool,
    /// How many autosaves to keep.
    #[serde(default)]
    pub keep: Option<usize>,
}
call!(Autosave => Autosaved, Team, "autosave");

/// A pod that an instance is saved to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Autosaved {
    pub team: TeamName,
    pub pod: PodName,
    pub endpoint: String,
    #[serde(default)]
    pub every_s: Option<u64>,
    pub on_stop: bool,
    pub keep: usize,
    /// How many autosaves there are now.
    pub versions: usize,
    /// Unix milliseconds of the newest autosave.
    #[serde(default)]
    pub newest_ms: Option<u64>,
}

/// Stops autosaves of a pod. Saved versions stay.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct StopAutosave {
    pub pod: PodName,
}
call!(StopAutosave => AutosaveStopped, Team, "autosave/off");

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct AutosaveStopped {
    pub team: TeamName,
    pub pod: PodName,
    /// How many saved versions stay.
    pub versions: usize,
}

/// Saves this instance, which is about to stop, to all pods whose autosaves are set for that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SaveBeforeStop {
    pub endpoint: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<AuthToken>,
}
call!(SaveBeforeStop => SavedBeforeStop, Home, "autosave/now");

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SavedBeforeStop {
    /// The versions that hold the instance's state now.
    pub references: Vec<String>,
}

/// Loads the newest autosave that an earlier run of the instance left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Restore {
    /// Null: the pod that the setting `auto_restore` names, if any.
    #[serde(default)]
    pub pod: Option<PodName>,
    pub endpoint: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<AuthToken>,
    pub merge: String,
    #[serde(default)]
    pub consents: BTreeSet<Consent>,
    /// Do nothing if this autosave was the last version loaded into this run.
    #[serde(default)]
    pub once: bool,
}
call!(Restore => Restored, Team, "restore");

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Restored {
    /// When the state was saved, Unix milliseconds; none where no pod is set to be restored, or there is no autosave
    /// of it yet.
    #[serde(default)]
    pub saved_ms: Option<u64>,
    #[serde(default)]
    pub version: Option<VersionId>,
    #[serde(default)]
    pub loaded: Option<pods::Loaded>,
}

//! Calls about what the daemon does by itself for a pod: it follows what teammates share, and saves what an
//! instance holds.

use std::collections::BTreeSet;

use podsync_core::{PodName, TeamName, VersionId};
use serde::{Deserialize, Serialize};

use crate::{AuthToken, Consent, call::call, pods};

/// Pulls what teammates share of a pod, from now on and by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Follow {
    pub pod: PodName,
    /// Also load it.
    #[serde(default)]
    pub load: Option<LoadInto>,
}
call!(Follow => Followed, Team, "follow");

/// An instance on this machine that what is shared is loaded into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct LoadInto {
    pub endpoint: String,
    /// How it is combined with what is there.
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
    /// Whether the team has the pod by now.
    pub known: bool,
}

/// Ends that. What was pulled stays.
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

/// Saves what an instance holds as private versions of a pod, by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Autosave {
    pub pod: PodName,
    pub endpoint: String,
    /// Seconds between two looks; none: only when the instance is about to stop.
    #[serde(default)]
    pub every_s: Option<u64>,
    /// Also when the instance is about to stop.
    #[serde(default)]
    pub on_stop: bool,
    /// How many to keep.
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
    /// How many there are.
    pub versions: usize,
    /// Unix milliseconds of the newest one.
    #[serde(default)]
    pub newest_ms: Option<u64>,
}

/// Ends that. What was saved stays.
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
    /// How many autosaves stay.
    pub versions: usize,
}

/// Saves at once what is set to be saved when this instance stops: it is about to.
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
    /// The versions that hold the state now.
    pub references: Vec<String>,
}

/// Loads the newest autosave that an earlier run of the instance left.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Restore {
    /// None: the pod that the setting `auto_restore` names, if it names one.
    #[serde(default)]
    pub pod: Option<PodName>,
    pub endpoint: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<AuthToken>,
    pub merge: String,
    #[serde(default)]
    pub consents: BTreeSet<Consent>,
    /// Do nothing where this run of the instance got it last.
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

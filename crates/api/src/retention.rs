//! Calls about retention: which versions a team keeps, as a setting that its admins sign.

use std::collections::BTreeSet;

use podsync_core::{PodName, VersionId};
use serde::{Deserialize, Serialize};

use crate::{Consent, call::call};

/// Which versions of a pod are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    Policy {
        /// This many of the newest versions.
        last: Option<u32>,
        /// The newest version of each of this many days.
        daily: Option<u32>,
        /// Versions with a tag.
        tagged: bool,
        /// Versions younger than this.
        grace_s: u64,
    },
    /// Everything.
    KeepAll,
    /// Nothing is said: a pod then goes by the team's rule, and a team keeps everything.
    Unset,
}

/// Sets the retention rule of one pod, or of all pods without their own rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SetRetention {
    pub pod: Option<PodName>,
    pub rule: Rule,
    /// Only report which versions the rule would drop.
    #[serde(default)]
    pub dry_run: bool,
    /// Consents that the user gave beforehand.
    #[serde(default)]
    pub consents: BTreeSet<Consent>,
}
call!(SetRetention => Retention, Team, "retention/set");

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GetRetention {}
call!(GetRetention => Retention, Team, "retention");

/// Drops the versions that may go and that this device may drop. A daemon also does this every hour.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApplyRetention {
    /// Only report what would be removed.
    #[serde(default)]
    pub dry_run: bool,
}
call!(ApplyRetention => Applied, Team, "retention/apply");

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Retention {
    /// The team's retention settings, the team-wide rule first.
    pub rules: Vec<Said>,
    /// The versions that these rules let go now.
    pub due: Vec<Due>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Said {
    /// Null for the team-wide rule.
    pub pod: Option<String>,
    pub policy: String,
    /// Why this podsync can't apply the rule. If set, nothing is dropped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unreadable: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Due {
    pub reference: String,
    pub version: VersionId,
    pub author: String,
    pub created_ms: u64,
    /// Whether this device may drop it: it is its member's own, or the member is an admin.
    pub ours: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Applied {
    pub dropped: Vec<Due>,
    /// Further versions that may go, but that only their author or an admin may drop.
    pub left: Vec<Due>,
}

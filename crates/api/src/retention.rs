//! Calls about retention: which versions a team keeps, as a setting that its admins sign.

use std::collections::BTreeSet;

use podsync_core::{PodName, VersionId};
use serde::{Deserialize, Serialize};

use crate::{Consent, call::call};

/// What is kept of a pod.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Rule {
    Policy {
        /// The newest so many versions.
        last: Option<u32>,
        /// The newest version of each of so many days.
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

/// Sets the rule of one pod, or of all that have none of their own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct SetRetention {
    pub pod: Option<PodName>,
    pub rule: Rule,
    /// Only say what the rule would let go of.
    #[serde(default)]
    pub dry_run: bool,
    /// What was said yes to beforehand.
    #[serde(default)]
    pub consents: BTreeSet<Consent>,
}
call!(SetRetention => Retention, Team, "retention/set");

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GetRetention {}
call!(GetRetention => Retention, Team, "retention");

/// Drops what may go and what this device may drop; a daemon does so by itself every hour.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ApplyRetention {
    /// Only say what would go.
    #[serde(default)]
    pub dry_run: bool,
}
call!(ApplyRetention => Applied, Team, "retention/apply");

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Retention {
    /// What the team's settings say, as they say it, the team's own first.
    pub rules: Vec<Said>,
    /// What may go by them now.
    pub due: Vec<Due>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Said {
    /// None for the team's own.
    pub pod: Option<String>,
    pub policy: String,
    /// Why this podsync can't go by it: nothing is dropped then.
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
    /// What may go too, and is for its author or an admin to drop.
    pub left: Vec<Due>,
}

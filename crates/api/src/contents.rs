//! Calls that look inside a state: what differs between two, and what a load would change.
//!
//! Names come from states that others made and hold every odd character: whoever prints one makes it
//! printable.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{AuthToken, call::call};

/// One resource of a state, or, without a name, the number of those of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Resource {
    pub service: String,
    /// None for what all accounts share.
    pub account: Option<String>,
    /// None where the service has no regions.
    pub region: Option<String>,
    /// `queue`, `bucket`, ...: `type` in docs/state-index.md.
    pub kind: String,
    pub name: Option<String>,
    /// What people call it where the name is an id.
    pub label: Option<String>,
    pub counts: BTreeMap<String, u64>,
}

/// A file of the state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct EntryLine {
    pub name: String,
    pub len: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Difference {
    Added,
    Changed,
    Removed,
}

/// What a change is about: a resource, or a file where a state has no index of resources.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Subject {
    Resource(Resource),
    Entry(EntryLine),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Change {
    pub difference: Difference,
    pub subject: Subject,
}

/// Changes with their numbers; the list may be cut, the numbers are of all.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Changes {
    pub added: u64,
    pub changed: u64,
    pub removed: u64,
    pub list: Vec<Change>,
}

/// What differs between two versions, both of which are on this machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Diff {
    pub before: String,
    pub after: String,
}
call!(Diff => Differences, Team, "diff", names before after);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Differences {
    pub before: String,
    pub after: String,
    pub changes: Changes,
}

/// What a load would change, without changing it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ForecastLoad {
    pub reference: String,
    pub endpoint: String,
    /// What the emulator wants to hear of the caller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<AuthToken>,
    /// LocalStack's merge strategy.
    pub merge: String,
    /// Only these; all where empty.
    pub services: Vec<String>,
    pub wait_s: u64,
    /// Wait for it to be shared, even where everybody who is there knows of no such version.
    #[serde(default)]
    pub until_shared: bool,
}
call!(ForecastLoad => Forecast, Team, "forecast", names reference);

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Forecast {
    pub reference: String,
    pub endpoint: String,
    /// The emulator that answers there.
    pub emulator: String,
    pub merge: String,
    /// The services that would be loaded; empty where the version doesn't tell.
    pub services: Vec<String>,
    /// Whether the instance made this plan, from the objects that it would place. If not, two lists of
    /// resources were compared.
    #[serde(default)]
    pub planned: bool,
    /// Services that can't be loaded and would stay as they are, and why.
    #[serde(default)]
    pub failed: Vec<(String, String)>,
    /// Per resource; none where the version or the instance has no index of its resources.
    pub changes: Option<Changes>,
}

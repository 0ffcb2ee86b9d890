//! Calls that look inside a state: what differs between two, and what a load would change.
//!
//! Names come from states of others and may hold any character. Code that prints a name has to escape it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{AuthToken, call::call};

/// One resource of a state, or, without a name, the number of those of a kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Resource {
    pub service: String,
    /// Null for resources that all accounts share.
    pub account: Option<String>,
    /// Null if the service has no regions.
    pub region: Option<String>,
    /// `queue`, `bucket`, ...: `type` in docs/state-index.md.
    pub kind: String,
    pub name: Option<String>,
    /// A readable name, if the name is an id.
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

/// What changed: a resource, or a file if a state has no index of resources.
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

/// Changes with their totals. The list may be cut; the totals count all changes.
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

/// Computes what a load would change. Changes nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ForecastLoad {
    pub reference: String,
    pub endpoint: String,
    /// The caller's auth token for the emulator.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub token: Option<AuthToken>,
    /// LocalStack's merge strategy.
    pub merge: String,
    /// Only these services. Empty means all.
    pub services: Vec<String>,
    pub wait_s: u64,
    /// Wait until the version is shared, even if no reachable device knows of it.
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
    /// The services that would be loaded. Empty if the version doesn't list them.
    pub services: Vec<String>,
    /// Whether the instance made this plan, from the objects that it would place. If not, two lists of
    /// resources were compared.
    #[serde(default)]
    pub planned: bool,
    /// Services that can't be loaded and would stay as they are, and why.
    #[serde(default)]
    pub failed: Vec<(String, String)>,
    /// The changes per resource. Null if the version or the instance has no index of resources.
    pub changes: Option<Changes>,
}

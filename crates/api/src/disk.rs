//! Calls about this machine's disk: pins, eviction, usage and verification.

use std::collections::BTreeSet;

use podsync_core::{PodName, TeamName};
use serde::{Deserialize, Serialize};

use crate::{Consent, call::call, pods::Version};

/// Pins a version, so that it stays on this machine regardless of the disk budget; or unpins it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Pin {
    pub reference: String,
    pub pinned: bool,
    /// Seconds to wait for a version that isn't here yet.
    #[serde(default)]
    pub wait_s: u64,
    /// Wait until the version is shared, even if no reachable device knows of it.
    #[serde(default)]
    pub until_shared: bool,
}
call!(Pin => Version, Team, "pin", names reference);

/// Frees disk space: deletes what nothing needs. If the budget is exceeded, also evicts the longest unused
/// versions that others have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Collect {
    /// Bytes to hold at most, in place of the settings'.
    #[serde(default)]
    pub budget: Option<u64>,
    /// Only report what would be removed.
    #[serde(default)]
    pub dry_run: bool,
    #[serde(default)]
    pub consents: BTreeSet<Consent>,
}
call!(Collect => Collected, Home, "gc");

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Collected {
    /// Versions that were removed from this machine (or would be, in a dry run), longest unused first.
    pub evicted: Vec<Evicted>,
    /// Bytes of packs and manifests held before and after.
    pub before: u64,
    pub after: u64,
    /// Bytes that were deleted, or would be.
    pub freed: u64,
    /// The budget in force. Null without a budget.
    pub budget: Option<u64>,
    /// Versions that stayed despite the budget because no other copy is known.
    pub only_copies: Vec<Evicted>,
    /// Versions that stayed because they are pinned.
    pub pinned: usize,
    /// Bytes above the budget that are still here.
    pub over: u64,
    /// Why the bucket could not be asked for the only copies. Null if it was asked, or there was no need to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket_unknown: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Evicted {
    pub reference: String,
    /// Bytes that only this version needs.
    pub bytes: u64,
    /// Unix milliseconds.
    pub last_used_ms: u64,
    /// Names of those who say they have part or all of it. Among devices with the same bytes, the one with the
    /// lowest id keeps them and counts them as an only copy. The bucket is named only if it has all of it, and
    /// it is asked only if no device keeps it.
    pub elsewhere: Vec<String>,
}

/// What each pod and version takes of this machine's disk, of all teams.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct GetUsage {
    /// Only this pod.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pod: Option<PodName>,
}
call!(GetUsage => Usage, Home, "du");

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Usage {
    /// Largest pod first.
    pub pods: Vec<PodUsage>,
    /// Bytes of packs and manifests held, of all pods.
    pub held: u64,
    /// How many of these bytes could be evicted now because others have them.
    pub evictable: u64,
    /// Free bytes on the disk.
    pub free: u64,
    /// The budget of the settings. Null without a budget.
    pub budget: Option<u64>,
    /// Why the bucket could not be asked what it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket_unknown: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PodUsage {
    /// Null for a team that this device has left.
    pub team: Option<TeamName>,
    pub pod: PodName,
    /// Bytes that no other pod here needs.
    pub own: u64,
    /// Bytes that another pod here needs too.
    pub shared: u64,
    /// How many of its own bytes could be evicted now.
    pub evictable: u64,
    pub versions: Vec<VersionUsage>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct VersionUsage {
    pub reference: String,
    /// Bytes that no other version here needs.
    pub own: u64,
    /// Bytes that another version here needs too.
    pub shared: u64,
    /// Whether it could be evicted now: it isn't pinned, and others have it.
    pub evictable: bool,
    pub pinned: bool,
    /// Unix milliseconds.
    pub last_used_ms: u64,
    /// Names of devices that say they have part or all of it.
    pub elsewhere: Vec<String>,
}

/// Reads and checks every byte that is held on this machine, or in the team's bucket.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Verify {
    /// The version to check. Null: all versions on this machine, or with `bucket` all that the team shares.
    #[serde(default)]
    pub reference: Option<String>,
    /// Fetch damaged or missing bytes from devices that have them. With `bucket`, upload them again.
    #[serde(default)]
    pub repair: bool,
    /// Check the team's bucket instead of this machine. This downloads everything.
    #[serde(default)]
    pub bucket: bool,
    /// Seconds to wait for someone who has it.
    #[serde(default)]
    pub wait_s: u64,
}
call!(Verify => Verified, Team, "verify");

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Verified {
    pub versions: usize,
    pub blobs: usize,
    /// Bytes that were read and checked.
    pub bytes: u64,
    /// Versions that are damaged or incomplete, or were before their repair.
    pub broken: Vec<Broken>,
    /// With `bucket`: the number of versions that aren't in the bucket yet. They aren't damaged.
    #[serde(default)]
    pub not_yet: usize,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Broken {
    pub reference: String,
    /// Short ids of blobs whose bytes are not what they were; in the bucket an outboards object is named by
    /// its SHA-256.
    pub damaged: Vec<String>,
    /// Short ids of blobs that are missing, in full or in part.
    pub missing: Vec<String>,
    /// With `bucket`: what its server doesn't give, though it isn't known to be missing.
    #[serde(default)]
    pub unreadable: Vec<Unreadable>,
    /// The version is complete again.
    pub repaired: bool,
    /// Why the repair failed, if it was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
    /// With `bucket`: what to do about that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Unreadable {
    /// Its short id, as in `damaged`.
    pub blob: String,
    /// What the server or the hub said.
    pub why: String,
}

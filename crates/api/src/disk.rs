//! Calls about this machine's disk: what stays on it, what goes, and whether what is there is whole.

use std::collections::BTreeSet;

use podsync_core::{PodName, TeamName};
use serde::{Deserialize, Serialize};

use crate::{Consent, call::call, pods::Version};

/// Keeps a version on this machine, whatever the disk budget; or ends that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Pin {
    pub reference: String,
    pub pinned: bool,
    /// Seconds to wait for a version that isn't here yet.
    #[serde(default)]
    pub wait_s: u64,
    /// Wait for it to be shared, even where everybody who is there knows of no such version.
    #[serde(default)]
    pub until_shared: bool,
}
call!(Pin => Version, Team, "pin", names reference);

/// Gives back disk space: what nothing needs, and beyond the budget the versions that were used longest
/// ago and that others have.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Collect {
    /// Bytes to hold at most, in place of the settings'.
    #[serde(default)]
    pub budget: Option<u64>,
    /// Only say what would go.
    #[serde(default)]
    pub dry_run: bool,
    #[serde(default)]
    pub consents: BTreeSet<Consent>,
}
call!(Collect => Collected, Home, "gc");

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Collected {
    /// Versions that are on this machine no more (would be, in a dry run), the longest unused first.
    pub evicted: Vec<Evicted>,
    /// Bytes of packs and manifests held before and after.
    pub before: u64,
    pub after: u64,
    /// Bytes that were deleted, or would be.
    pub freed: u64,
    /// The budget in force; none where there is none.
    pub budget: Option<u64>,
    /// What had to stay although the budget is exceeded, for nobody else is known to have it.
    pub only_copies: Vec<Evicted>,
    /// What had to stay since it is pinned.
    pub pinned: usize,
    /// Bytes above the budget that are still here.
    pub over: u64,
    /// Why the bucket could not be asked whether it has the only copies too; none where it was, or there
    /// was nothing to ask about.
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
    /// Who says that it has some of it, or all, by name. Of the devices that have the same bytes the one
    /// with the lowest id keeps them: for that one they are an only copy too. The bucket is named only
    /// where it has all of it, and was asked because nobody else keeps it.
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
    /// The largest first.
    pub pods: Vec<PodUsage>,
    /// Bytes of packs and manifests held, of all pods.
    pub held: u64,
    /// Of them those that could be given up now: others have them.
    pub evictable: u64,
    /// Bytes that are left on the disk.
    pub free: u64,
    /// The budget of the settings; none where there is none.
    pub budget: Option<u64>,
    /// Why the bucket could not be asked what it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bucket_unknown: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct PodUsage {
    /// None of one that this device is in no more.
    pub team: Option<TeamName>,
    pub pod: PodName,
    /// Bytes that no other pod here needs.
    pub own: u64,
    /// Bytes that another pod here needs too.
    pub shared: u64,
    /// Of its own bytes those that could be given up now.
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
    /// Whether it could be given up now: it isn't pinned, and others have it.
    pub evictable: bool,
    pub pinned: bool,
    /// Unix milliseconds.
    pub last_used_ms: u64,
    /// Who says that it has some of it, or all.
    pub elsewhere: Vec<String>,
}

/// Reads what is held again and checks every byte of it; or what the team's bucket has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Verify {
    /// All versions on this machine where there is none; with `bucket` all that the team shares.
    #[serde(default)]
    pub reference: Option<String>,
    /// Fetch what is damaged or missing from whoever has it; with `bucket` put it back there.
    #[serde(default)]
    pub repair: bool,
    /// Look at the team's bucket instead of this machine: everything is downloaded.
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
    /// Versions that are not whole, or were not before they were repaired.
    pub broken: Vec<Broken>,
    /// Versions that aren't in the bucket yet, where that was looked at: nothing is wrong with them.
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
    /// Short ids of blobs that aren't there, or not all that is needed of them.
    pub missing: Vec<String>,
    /// It is whole again.
    pub repaired: bool,
    /// Why it isn't, where that was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

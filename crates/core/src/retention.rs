//! Retention: which versions of a pod a team's policy releases for dropping.
//!
//! It depends only on the catalog, the team's settings and the time. So members with the same data
//! get the same result, and a released version stays released while catalog and policy stay the
//! same. A policy that can't be read releases nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    num::NonZeroU32,
    str::FromStr,
    time::Duration,
};

use crate::{
    catalog::{Catalog, VersionRecord},
    id::VersionId,
    membership::Roster,
    name::PodName,
};

/// The team's setting for every pod that has none of its own.
pub const SETTING: &str = "retention";
/// The value of a pod's setting that keeps all its versions.
pub const KEEP_ALL: &str = "keep-all";
/// The default minimum age of a version before a policy may release it.
pub const DEFAULT_GRACE: Duration = Duration::from_secs(24 * 60 * 60);
/// The most versions or days in a policy. More is a mistake.
pub const MAX_KEPT: u32 = 100_000;
/// The longest grace: ten years.
pub const MAX_GRACE: Duration = Duration::from_secs(10 * 365 * 24 * 60 * 60);

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// Which versions of a pod are kept. All others are released once they are old enough. A tip is
/// always kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Policy {
    /// The number of newest versions to keep, by version number.
    pub last: Option<NonZeroU32>,
    /// How many of the newest days (UTC) that have versions keep their newest version.
    pub daily: Option<NonZeroU32>,
    /// Whether to keep tagged versions.
    pub tagged: bool,
    /// Younger versions are kept.
    pub grace: Duration,
}

/// Why something is no policy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PolicyError {
    #[error("a policy has to keep at least one version")]
    KeepsNothing,
    #[error("`{0}` is not a number of versions or days from 1 to {MAX_KEPT}")]
    Number(String),
    #[error("`{0}` is not a time of at most ten years in seconds")]
    Grace(String),
    #[error("`{0}` is not a part of a policy")]
    Word(String),
    #[error("a policy has `{0}` twice")]
    Twice(String),
}

impl PolicyError {
    /// What to do about it.
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::KeepsNothing => "say how many to keep, or `keep-all`",
            Self::Number(..) => "write it as last=10 or daily=7",
            Self::Grace(..) => "write it as grace=86400",
            Self::Word(..) => "there are last=N, daily=N, tagged and grace=SECONDS",
            Self::Twice(..) => "say it once",
        })
    }
}

impl Policy {
    /// Makes a policy. Refuses one that keeps nothing by number or day, as that is a mistake.
    pub fn new(
        last: Option<u32>,
        daily: Option<u32>,
        tagged: bool,
        grace: Duration,
    ) -> Result<Self, PolicyError> {
        let kept = |count: Option<u32>| match count {
            None => Ok(None),
            Some(count) => match NonZeroU32::new(count).filter(|count| count.get() <= MAX_KEPT) {
                Some(count) => Ok(Some(count)),
                None => Err(PolicyError::Number(count.to_string())),
            },
        };
        let policy = Self {
            last: kept(last)?,
            daily: kept(daily)?,
            tagged,
            grace,
        };
        if policy.last.is_none() && policy.daily.is_none() {
            return Err(PolicyError::KeepsNothing);
        }
        if grace > MAX_GRACE {
            return Err(PolicyError::Grace(grace.as_secs().to_string()));
        }
        Ok(policy)
    }

    /// The versions of a pod that this policy releases by now, the lowest number first.
    pub fn lets_go<'a>(
        &self,
        catalog: &'a Catalog,
        pod: &PodName,
        now_ms: u64,
    ) -> Vec<&'a VersionRecord> {
        let releases = self.releases(catalog, pod).into_iter();
        let due = releases.filter(|(_, from_ms)| *from_ms <= now_ms);
        due.map(|(record, _)| record).collect()
    }

    /// The versions of a pod that this policy releases sooner or later, the lowest number first, each with the end of
    /// its grace in Unix milliseconds.
    pub fn releases<'a>(
        &self,
        catalog: &'a Catalog,
        pod: &PodName,
    ) -> Vec<(&'a VersionRecord, u64)> {
        let versions = catalog.versions(pod);
        let mut kept: BTreeSet<VersionId> = catalog
            .leaves(pod)
            .into_iter()
            .map(VersionRecord::version)
            .collect();
        if self.tagged {
            kept.extend(catalog.tags(pod).into_values());
        }
        if let Some(last) = self.last {
            let newest = versions.iter().rev().take(last.get() as usize);
            kept.extend(newest.map(|record| record.version()));
        }
        if let Some(daily) = self.daily {
            kept.extend(newest_of_days(&versions, daily.get() as usize));
        }
        let grace_ms = u64::try_from(self.grace.as_millis()).unwrap_or(u64::MAX);
        let from_ms =
            |record: &VersionRecord| record.publication.created_ms.saturating_add(grace_ms);
        versions
            .into_iter()
            .filter(|record| !kept.contains(&record.version()))
            .map(|record| (record, from_ms(record)))
            .collect()
    }
}

/// The newest version of each of the newest days. Of a day's versions the highest number is the newest.
fn newest_of_days(versions: &[&VersionRecord], days: usize) -> Vec<VersionId> {
    let mut by_day: BTreeMap<u64, VersionId> = BTreeMap::new();
    for record in versions {
        by_day.insert(record.publication.created_ms / DAY_MS, record.version());
    }
    by_day.into_values().rev().take(days).collect()
}

/// The name of a pod's own setting.
pub fn setting_of(pod: &PodName) -> String {
    format!("{SETTING}.{pod}")
}

/// The policy of a pod: its own, or else the team's. None if all versions are kept.
pub fn policy_of(roster: &Roster, pod: &PodName) -> Result<Option<Policy>, PolicyError> {
    let said = roster
        .setting(&setting_of(pod))
        .or_else(|| roster.setting(SETTING));
    match said {
        None | Some(KEEP_ALL) => Ok(None),
        Some(text) => text.parse().map(Some),
    }
}

/// The versions that a team's policies release, pod by pod. A policy that can't be read releases
/// nothing.
pub fn due<'a>(roster: &Roster, catalog: &'a Catalog, now_ms: u64) -> Vec<&'a VersionRecord> {
    let mut due = Vec::new();
    for pod in catalog.pods() {
        if let Ok(Some(policy)) = policy_of(roster, pod) {
            due.extend(policy.lets_go(catalog, pod, now_ms));
        }
    }
    due
}

impl fmt::Display for Policy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = Vec::new();
        words.extend(self.last.map(|last| format!("last={last}")));
        words.extend(self.daily.map(|daily| format!("daily={daily}")));
        if self.tagged {
            words.push("tagged".to_owned());
        }
        if self.grace != DEFAULT_GRACE {
            words.push(format!("grace={}", self.grace.as_secs()));
        }
        f.write_str(&words.join(" "))
    }
}

impl FromStr for Policy {
    type Err = PolicyError;

    fn from_str(text: &str) -> Result<Self, PolicyError> {
        let mut said = BTreeMap::new();
        for word in text.split_ascii_whitespace() {
            let (name, value) = word.split_once('=').unwrap_or((word, ""));
            if said.insert(name, value).is_some() {
                return Err(PolicyError::Twice(name.to_owned()));
            }
        }
        let mut number = |name: &str| -> Result<Option<u32>, PolicyError> {
            let Some(value) = said.remove(name) else {
                return Ok(None);
            };
            let number = value.parse().ok().filter(|_| digits(value));
            number
                .map(Some)
                .ok_or_else(|| PolicyError::Number(value.to_owned()))
        };
        let (last, daily) = (number("last")?, number("daily")?);
        let tagged = match said.remove("tagged") {
            None => false,
            Some("") => true,
            Some(value) => return Err(PolicyError::Word(format!("tagged={value}"))),
        };
        let grace = match said.remove("grace") {
            None => DEFAULT_GRACE,
            Some(value) => Duration::from_secs(
                value
                    .parse()
                    .ok()
                    .filter(|_| digits(value))
                    .ok_or_else(|| PolicyError::Grace(value.to_owned()))?,
            ),
        };
        match said.into_keys().next() {
            Some(unknown) => Err(PolicyError::Word(unknown.to_owned())),
            None => Self::new(last, daily, tagged, grace),
        }
    }
}

/// Accepts plain digits only: `+7` would parse as a number, but podsync never writes it.
fn digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests;

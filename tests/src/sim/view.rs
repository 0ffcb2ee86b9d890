//! Views of an engine's state for the invariants.

use std::collections::{BTreeMap, BTreeSet};

use podsync_core::{
    DeviceId, EntryHash, EpochId, OpId, PodName, TagName, TeamId, VersionId,
    catalog::{Catalog, VersionRecord},
    engine::Engine,
    membership::Roster,
};

pub(super) fn catalog(engine: &Engine, team: TeamId) -> Option<&Catalog> {
    engine.catalog(&team)
}

pub(super) fn catalogs(engine: &Engine) -> impl Iterator<Item = (TeamId, &Catalog)> {
    engine
        .teams()
        .filter_map(|team| Some((team, engine.catalog(&team)?)))
}

pub(super) fn roster(engine: &Engine, team: TeamId) -> Option<&Roster> {
    engine.roster(&team)
}

/// All versions that count.
pub(super) fn versions(catalog: &Catalog) -> impl Iterator<Item = &VersionRecord> {
    catalog
        .pods()
        .into_iter()
        .flat_map(|pod| catalog.versions(pod))
}

/// The highest number that counts.
pub(super) fn highest_number(engine: &Engine, team: TeamId, pod: &PodName) -> u64 {
    let versions = catalog(engine, team)
        .map(|catalog| catalog.versions(pod))
        .unwrap_or_default();
    versions
        .iter()
        .map(|version| version.number())
        .max()
        .unwrap_or(0)
}

pub(super) fn is_forked(engine: &Engine, team: TeamId, device: &DeviceId) -> bool {
    engine
        .feed(&team, device)
        .is_some_and(|feed| feed.forked_at.is_some())
}

/// The newest head known of a device.
pub(super) fn head(engine: &Engine, team: TeamId, device: &DeviceId) -> Option<u64> {
    engine.feed(&team, device).map(|feed| feed.seq)
}

pub(super) fn heads(engine: &Engine, team: TeamId) -> Vec<(DeviceId, u64)> {
    engine
        .feeds(&team)
        .into_iter()
        .map(|feed| (feed.device, feed.seq))
        .collect()
}

pub(super) fn epoch(engine: &Engine, team: TeamId) -> Option<EpochId> {
    engine.current_key(&team).map(|(epoch, _)| epoch)
}

/// The heads that a new operation names.
pub(super) fn membership_heads(engine: &Engine, team: TeamId) -> Option<Vec<OpId>> {
    engine
        .membership(&team)
        .map(|membership| membership.parents_for_next())
}

/// A team as one node sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Picture {
    roster: Roster,
    pub(super) members: BTreeSet<DeviceId>,
    versions: BTreeMap<(PodName, EntryHash), (VersionId, u64)>,
    tags: BTreeMap<(PodName, TagName), VersionId>,
    forked: BTreeSet<DeviceId>,
}

pub(super) fn picture(engine: &Engine, team: TeamId) -> Option<Picture> {
    let (catalog, roster) = (catalog(engine, team)?, roster(engine, team)?);
    let forked = engine
        .feeds(&team)
        .into_iter()
        .filter(|feed| feed.forked_at.is_some());
    let mut picture = Picture {
        roster: roster.clone(),
        members: roster.devices().map(|member| member.device).collect(),
        versions: BTreeMap::new(),
        tags: BTreeMap::new(),
        forked: forked.map(|feed| feed.device).collect(),
    };
    for pod in catalog.pods() {
        for version in catalog.versions(pod) {
            let what = (version.version(), version.number());
            picture
                .versions
                .insert((pod.clone(), version.entry.hash()), what);
        }
        for (tag, version) in catalog.tags(pod) {
            picture.tags.insert((pod.clone(), tag.clone()), version);
        }
    }
    Some(picture)
}

impl Picture {
    /// A difference from another node's view. None if they are equal.
    pub(super) fn differs_from(&self, other: &Self) -> Option<String> {
        if self.members != other.members {
            return Some(format!(
                "{} and {} members",
                self.members.len(),
                other.members.len()
            ));
        }
        if self.roster != other.roster {
            return Some("the roster".into());
        }
        if self.forked != other.forked {
            return Some(format!(
                "forked feeds {:?} and {:?}",
                self.forked, other.forked
            ));
        }
        if self.versions != other.versions {
            let (ours, theirs): (BTreeSet<_>, BTreeSet<_>) = (
                self.versions.keys().collect(),
                other.versions.keys().collect(),
            );
            let differing: Vec<_> = ours.symmetric_difference(&theirs).collect();
            return Some(format!("versions {differing:?}"));
        }
        (self.tags != other.tags).then(|| format!("tags {:?} and {:?}", self.tags, other.tags))
    }
}

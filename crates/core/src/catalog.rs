//! The catalog: a team's pods, versions and tags, derived from all its feeds, plus this home's
//! private versions.
//!
//! It is an in-memory index of the entries that count. Entries may be added in any order, and removed
//! again when a feed turns out to be forked or its device is removed. The same set of entries always
//! gives the same catalog.

mod pod;
mod resolve;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use serde::{Deserialize, Serialize};

use crate::{
    codec::Format,
    feed::{BlobRef, Body, Entry, Publication},
    id::{BlobId, DeviceId, EntryHash, VersionId},
    manifest::Emulator,
    name::{MemberName, PodName, TagName},
};

use self::pod::{Pod, Visibility};
pub use resolve::Resolution;

/// A team's pods.
#[derive(Debug, Default)]
pub struct Catalog {
    pods: BTreeMap<PodName, Pod>,
    /// The pod that each entry belongs to.
    index: BTreeMap<EntryHash, PodName>,
    private: BTreeMap<VersionId, PrivateVersion>,
    /// The number of visible versions that use each blob.
    shared: BTreeMap<BlobId, u32>,
    /// Blobs whose count changed from or to zero since the last [`Self::take_shared`].
    touched: BTreeSet<BlobId>,
}

/// An entry that counts, its opened body, and its author's rights from the roster.
#[derive(Debug, Clone)]
pub struct Fact {
    pub entry: Arc<Entry>,
    pub body: Body,
    pub author: MemberName,
    /// Admins may drop any version; other members only their own.
    pub admin: bool,
}

/// A shared version.
#[derive(Debug, Clone)]
pub struct VersionRecord {
    pub entry: Arc<Entry>,
    pub author: MemberName,
    pub publication: Publication,
}

impl VersionRecord {
    pub fn version(&self) -> VersionId {
        self.publication.version
    }

    pub fn number(&self) -> u64 {
        self.publication.number
    }

    /// The device that announced it.
    pub fn device(&self) -> DeviceId {
        self.entry.header().device
    }

    /// The sealed manifest.
    pub fn manifest(&self) -> BlobRef {
        self.entry.header().blobs[0]
    }

    pub fn packs(&self) -> &[BlobRef] {
        &self.entry.header().blobs[1..]
    }
}

/// A version that was saved here and is not shared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PrivateVersion {
    pub pod: PodName,
    /// Counts from 1 within a pod. A number is not reused while its version is remembered.
    pub number: u64,
    pub version: VersionId,
    pub manifest: BlobRef,
    pub message: String,
    pub services: Vec<String>,
    pub emulator: Option<Emulator>,
    pub created_ms: u64,
    pub state_len: u64,
    pub entry_count: u64,
}

impl Format for PrivateVersion {
    const NAME: &'static str = "private version";
    const VERSION: u8 = 1;
    const MAX_LEN: usize = 64 << 10;
}

/// Blobs that became shared, and blobs that are no longer shared.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SharedChange {
    pub shared: Vec<BlobId>,
    pub withdrawn: Vec<BlobId>,
}

impl Catalog {
    /// Adds an entry that counts. Adding it again changes nothing.
    pub fn apply(&mut self, fact: Fact) {
        let hash = fact.entry.hash();
        let pod = pod_of(&fact.body).clone();
        if self.index.insert(hash, pod.clone()).is_none() {
            self.change(&pod, |pod| pod.apply(fact));
        }
    }

    /// Removes an entry that no longer counts.
    pub fn retract(&mut self, entry: &EntryHash) {
        if let Some(pod) = self.index.remove(entry) {
            self.change(&pod, |pod| pod.retract(entry));
        }
    }

    pub fn contains(&self, entry: &EntryHash) -> bool {
        self.index.contains_key(entry)
    }

    pub fn insert_private(&mut self, version: PrivateVersion) {
        self.private.insert(version.version, version);
    }

    pub fn remove_private(&mut self, version: &VersionId) -> Option<PrivateVersion> {
        self.private.remove(version)
    }

    /// Names of all pods with a version, shared or private.
    pub fn pods(&self) -> BTreeSet<&PodName> {
        let shared = self
            .pods
            .iter()
            .filter(|(_, pod)| pod.is_seen())
            .map(|(name, _)| name);
        shared
            .chain(self.private.values().map(|version| &version.pod))
            .collect()
    }

    /// The shared versions of a pod, lowest number first; forks stand side by side.
    pub fn versions(&self, pod: &PodName) -> Vec<&VersionRecord> {
        self.pods.get(pod).map(Pod::versions).unwrap_or_default()
    }

    /// The newest version of a pod, or several if it is forked. An older state that was shared late is not a
    /// tip.
    pub fn tips(&self, pod: &PodName) -> Vec<&VersionRecord> {
        self.pods.get(pod).map(Pod::tips).unwrap_or_default()
    }

    /// The versions of a pod that have no descendants: its tips, and older states that were shared late.
    pub fn leaves(&self, pod: &PodName) -> Vec<&VersionRecord> {
        self.pods.get(pod).map(Pod::leaves).unwrap_or_default()
    }

    pub fn version(&self, pod: &PodName, version: &VersionId) -> Option<&VersionRecord> {
        self.pods.get(pod)?.version(version)
    }

    /// Every visible entry that announces this version. All of them must be dropped before it is
    /// gone.
    pub fn publications(&self, pod: &PodName, version: &VersionId) -> Vec<&VersionRecord> {
        self.pods
            .get(pod)
            .map(|pod| pod.publications(version))
            .unwrap_or_default()
    }

    /// Whether this entry announced a version that has been dropped since.
    pub fn is_dropped(&self, entry: &EntryHash) -> bool {
        let pod = self.index.get(entry).and_then(|name| self.pods.get(name));
        pod.is_some_and(|pod| pod.is_dropped(entry))
    }

    /// The private versions of a pod, lowest number first.
    pub fn private_versions(&self, pod: &PodName) -> Vec<&PrivateVersion> {
        let mut versions: Vec<_> = self
            .private
            .values()
            .filter(|version| version.pod == *pod)
            .collect();
        versions.sort_by_key(|version| version.number);
        versions
    }

    pub fn private_version(&self, version: &VersionId) -> Option<&PrivateVersion> {
        self.private.get(version)
    }

    /// The tags of a pod and the version of each.
    pub fn tags(&self, pod: &PodName) -> BTreeMap<&TagName, VersionId> {
        self.pods.get(pod).map(Pod::tags).unwrap_or_default()
    }

    /// The newest known entries that set or clear this tag. A new tag entry supersedes all of them.
    pub fn tag_words(&self, pod: &PodName, tag: &TagName) -> Vec<EntryHash> {
        self.pods
            .get(pod)
            .map(|pod| pod.tag_words(tag))
            .unwrap_or_default()
    }

    /// 1 + the highest number that was ever given in this pod, dropped versions included.
    #[cfg(not(podsync_planted = "number-from-zero"))]
    pub fn next_number(&self, pod: &PodName) -> u64 {
        self.pods
            .get(pod)
            .map_or(0, Pod::highest_number)
            .saturating_add(1)
    }

    #[cfg(podsync_planted = "number-from-zero")]
    pub fn next_number(&self, _: &PodName) -> u64 {
        1
    }

    pub fn next_private_number(&self, pod: &PodName) -> u64 {
        self.private_versions(pod)
            .last()
            .map_or(0, |version| version.number)
            .saturating_add(1)
    }

    /// Whether a visible version uses this blob.
    pub fn is_shared(&self, blob: &BlobId) -> bool {
        self.shared.contains_key(blob)
    }

    /// The changes in shared blobs since the last call.
    pub fn take_shared(&mut self) -> SharedChange {
        let touched = std::mem::take(&mut self.touched);
        let (shared, withdrawn) = touched
            .into_iter()
            .partition(|blob| self.shared.contains_key(blob));
        SharedChange { shared, withdrawn }
    }

    fn change(&mut self, name: &PodName, change: impl FnOnce(&mut Pod) -> Visibility) {
        let Visibility { appeared, vanished } = change(self.pods.entry(name.clone()).or_default());
        for blob in appeared
            .iter()
            .flat_map(|entry| entry.header().blobs.iter())
        {
            let count = self.shared.entry(blob.id).or_insert(0);
            *count += 1;
            if *count == 1 {
                toggle(&mut self.touched, blob.id);
            }
        }
        for blob in vanished
            .iter()
            .flat_map(|entry| entry.header().blobs.iter())
        {
            if let Some(count) = self.shared.get_mut(&blob.id) {
                *count -= 1;
                if *count == 0 {
                    self.shared.remove(&blob.id);
                    toggle(&mut self.touched, blob.id);
                }
            }
        }
        if self.pods.get(name).is_some_and(Pod::is_empty) {
            self.pods.remove(name);
        }
    }
}

/// Two changes of one blob cancel out.
fn toggle(touched: &mut BTreeSet<BlobId>, blob: BlobId) {
    if !touched.insert(blob) {
        touched.remove(&blob);
    }
}

fn pod_of(body: &Body) -> &PodName {
    match body {
        Body::Publish(publication) => &publication.pod,
        Body::Tag(change) => &change.pod,
        Body::Drop { pod, .. } => pod,
    }
}

#[cfg(test)]
mod tests;

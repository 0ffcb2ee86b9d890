//! One pod: its publications, drops and tags, and the versions and tags that follow from them.
//!
//! Two entries may publish the same version, and a drop may arrive before the publication it drops.
//! So the pod keeps everything by entry and derives what users see.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
};

use super::{Fact, VersionRecord};
use crate::{
    feed::{Body, Entry},
    id::{DeviceId, EntryHash, VersionId},
    name::{MemberName, TagName},
};

#[derive(Debug, Default)]
pub(super) struct Pod {
    publications: BTreeMap<EntryHash, VersionRecord>,
    drops: BTreeMap<EntryHash, DropRecord>,
    tags: BTreeMap<TagName, BTreeMap<EntryHash, TagRecord>>,
    /// Publications that are not dropped.
    visible: BTreeSet<EntryHash>,
}

#[derive(Debug)]
struct DropRecord {
    version: VersionId,
    /// Publications that the drop names in its unsealed header. A node that can't open the body ends these.
    retires: Vec<EntryHash>,
    author: MemberName,
    admin: bool,
}

#[derive(Debug)]
struct TagRecord {
    version: Option<VersionId>,
    device: DeviceId,
    seq: u64,
    supersedes: Vec<EntryHash>,
}

/// Publications that a change made visible, and those that it hid.
#[derive(Debug, Default)]
pub(super) struct Visibility {
    pub(super) appeared: Vec<Arc<Entry>>,
    pub(super) vanished: Vec<Arc<Entry>>,
}

impl Pod {
    pub(super) fn apply(&mut self, fact: Fact) -> Visibility {
        let Fact {
            entry,
            body,
            author,
            admin,
        } = fact;
        let hash = entry.hash();
        match body {
            Body::Publish(publication) => {
                for tag in publication.tags.iter() {
                    let supersedes = publication.supersedes.to_vec();
                    self.say(tag.clone(), &entry, Some(publication.version), supersedes);
                }
                self.publications.insert(
                    hash,
                    VersionRecord {
                        entry,
                        author,
                        publication,
                    },
                );
            }
            Body::Tag(change) => {
                self.say(
                    change.tag,
                    &entry,
                    change.version,
                    change.supersedes.into_vec(),
                );
            }
            Body::Drop { version, .. } => {
                self.drops.insert(
                    hash,
                    DropRecord {
                        version,
                        retires: entry.retires().to_vec(),
                        author,
                        admin,
                    },
                );
            }
        }
        self.refresh()
    }

    pub(super) fn retract(&mut self, entry: &EntryHash) -> Visibility {
        self.drops.remove(entry);
        for words in self.tags.values_mut() {
            words.remove(entry);
        }
        self.tags.retain(|_, words| !words.is_empty());
        let removed = self
            .publications
            .remove(entry)
            .filter(|_| self.visible.remove(entry));
        let mut visibility = self.refresh();
        visibility
            .vanished
            .extend(removed.map(|record| record.entry));
        visibility
    }

    pub(super) fn is_empty(&self) -> bool {
        self.publications.is_empty() && self.drops.is_empty() && self.tags.is_empty()
    }

    /// Whether it has a visible version.
    pub(super) fn is_seen(&self) -> bool {
        !self.visible.is_empty()
    }

    pub(super) fn highest_number(&self) -> u64 {
        self.publications
            .values()
            .map(VersionRecord::number)
            .max()
            .unwrap_or(0)
    }

    /// Visible versions by number, then author. Of two announcements of one version, the first in
    /// that order stands for it.
    pub(super) fn versions(&self) -> Vec<&VersionRecord> {
        let mut records: Vec<_> = self.visible_records().collect();
        records.sort_by_key(|record| rank(record));
        let mut seen = BTreeSet::new();
        records.retain(|record| seen.insert(record.version()));
        records
    }

    pub(super) fn version(&self, version: &VersionId) -> Option<&VersionRecord> {
        self.visible_records()
            .filter(|record| record.version() == *version)
            .min_by_key(|record| rank(record))
    }

    pub(super) fn is_dropped(&self, entry: &EntryHash) -> bool {
        self.publications.contains_key(entry) && !self.visible.contains(entry)
    }

    /// The visible publications of one version, in the order of [`Self::versions`].
    pub(super) fn publications(&self, version: &VersionId) -> Vec<&VersionRecord> {
        let mut records: Vec<_> = self
            .visible_records()
            .filter(|record| record.version() == *version)
            .collect();
        records.sort_by_key(|record| rank(record));
        records
    }

    /// The leaves of the pod, without older states that were shared late.
    pub(super) fn tips(&self) -> Vec<&VersionRecord> {
        let leaves = self.leaves();
        let (late, tips): (Vec<_>, Vec<_>) =
            leaves.into_iter().partition(|record| self.is_late(record));
        // Authors choose their own times. No combination of times may leave a pod without a newest
        // version.
        let newest = late
            .into_iter()
            .max_by_key(|record| (record.publication.created_ms, rank(record)));
        match newest {
            Some(newest) if tips.is_empty() => vec![newest],
            _ => tips,
        }
    }

    /// Whether a version is an older state that was shared after a newer one. Its number shows which versions its
    /// author knew, its parents which of these it follows, and the times which it should have followed.
    fn is_late(&self, record: &VersionRecord) -> bool {
        let publication = &record.publication;
        let mut newest_parent = 0;
        for parent in publication.parents.iter() {
            let known = self
                .publications
                .values()
                .filter(|record| record.version() == *parent);
            match known.map(VersionRecord::number).max() {
                Some(number) => newest_parent = newest_parent.max(number),
                // Its parent is not known here yet.
                None => return false,
            }
        }
        let passed_over = newest_parent.saturating_add(1)..publication.number;
        self.visible_records().any(|other| {
            passed_over.contains(&other.number())
                && other.publication.created_ms > publication.created_ms
        })
    }

    /// Visible versions without visible descendants. A dropped version still links its descendants
    /// to its ancestors, but a dropped version without descendants hides nothing.
    pub(super) fn leaves(&self) -> Vec<&VersionRecord> {
        let mut parents: BTreeMap<VersionId, Vec<&VersionId>> = BTreeMap::new();
        for record in self.publications.values() {
            parents
                .entry(record.version())
                .or_default()
                .extend(record.publication.parents.iter());
        }
        let mut superseded = BTreeSet::new();
        let mut open: Vec<&VersionId> = self
            .visible_records()
            .flat_map(|record| record.publication.parents.iter())
            .collect();
        while let Some(version) = open.pop() {
            if superseded.insert(*version) {
                open.extend(parents.get(version).into_iter().flatten());
            }
        }
        let mut leaves = self.versions();
        leaves.retain(|record| !superseded.contains(&record.version()));
        leaves
    }

    pub(super) fn tags(&self) -> BTreeMap<&TagName, VersionId> {
        let standing = self.tags.iter().filter_map(|(tag, words)| {
            // If people moved a tag at the same time, setting it wins over clearing it; then the hash
            // decides.
            let (_, word) =
                newest(words).max_by_key(|(hash, word)| (word.version.is_some(), **hash))?;
            let version = word.version?;
            self.version(&version).map(|_| (tag, version))
        });
        standing.collect()
    }

    pub(super) fn tag_words(&self, tag: &TagName) -> Vec<EntryHash> {
        self.tags
            .get(tag)
            .map(|words| newest(words).map(|(hash, _)| *hash).collect())
            .unwrap_or_default()
    }

    fn visible_records(&self) -> impl Iterator<Item = &VersionRecord> {
        self.visible
            .iter()
            .filter_map(|entry| self.publications.get(entry))
    }

    fn say(
        &mut self,
        tag: TagName,
        entry: &Entry,
        version: Option<VersionId>,
        supersedes: Vec<EntryHash>,
    ) {
        let header = entry.header();
        let word = TagRecord {
            version,
            device: header.device,
            seq: header.seq,
            supersedes,
        };
        self.tags.entry(tag).or_default().insert(entry.hash(), word);
    }

    fn refresh(&mut self) -> Visibility {
        let is_dropped = |record: &VersionRecord| {
            self.drops.values().any(|word| {
                let is_meant =
                    word.version == record.version() || word.retires.contains(&record.entry.hash());
                is_meant && (word.admin || word.author == record.author)
            })
        };
        let mut visibility = Visibility::default();
        for (hash, record) in &self.publications {
            let (was, is) = (self.visible.contains(hash), !is_dropped(record));
            if is && !was {
                visibility.appeared.push(record.entry.clone());
            } else if was && !is {
                visibility.vanished.push(record.entry.clone());
            }
        }
        self.visible
            .extend(visibility.appeared.iter().map(|entry| entry.hash()));
        for entry in &visibility.vanished {
            self.visible.remove(&entry.hash());
        }
        visibility
    }
}

/// The listing order of versions, the same on every replica.
fn rank(record: &VersionRecord) -> (u64, DeviceId, u64) {
    (record.number(), record.device(), record.entry.header().seq)
}

/// The tag entries that no other entry supersedes and that their own device has not replaced later.
fn newest(
    words: &BTreeMap<EntryHash, TagRecord>,
) -> impl Iterator<Item = (&EntryHash, &TagRecord)> {
    let superseded: BTreeSet<_> = words.values().flat_map(|word| &word.supersedes).collect();
    words.iter().filter(move |(hash, word)| {
        let repeated = words
            .values()
            .any(|other| other.device == word.device && other.seq > word.seq);
        !superseded.contains(hash) && !repeated
    })
}

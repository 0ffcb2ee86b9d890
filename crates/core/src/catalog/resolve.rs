//! Resolves a typed reference to a version.
//!
//! It never guesses: if several versions match, the result lists a reference for each of them.

use std::collections::BTreeSet;

use super::{Catalog, PrivateVersion, VersionRecord};
use crate::{
    name::{MemberName, PodName, TagName},
    nearest::{MAX_SUGGESTIONS, nearest},
    reference::Reference,
};

/// Digits of a version id in an exact reference.
const EXACT_HASH_DIGITS: usize = 12;

/// The result of resolving a reference.
#[derive(Debug, Clone)]
pub enum Resolution {
    Shared(Box<VersionRecord>),
    Private(Box<PrivateVersion>),
    /// A file or folder. The catalog does not look it up.
    Path(String),
    /// Several versions match. Each of these references names exactly one of them.
    Ambiguous {
        exact: Vec<String>,
    },
    /// No such pod. `near` has similar names, `pods` every known pod.
    NoPod {
        near: Vec<PodName>,
        pods: Vec<PodName>,
    },
    /// The pod exists, the version doesn't. `near` has its versions, newest first, and similar
    /// tags.
    NoVersion {
        pod: PodName,
        near: Vec<String>,
    },
}

impl Catalog {
    pub fn resolve(&self, reference: &Reference) -> Resolution {
        let Some(pod) = reference.pod() else {
            return Resolution::Path(reference.to_string());
        };
        if !self.pods().contains(pod) {
            return self.no_pod(pod);
        }
        let found = match reference {
            Reference::Pod(_) => self.tips(pod),
            Reference::Number { number, author, .. } => self.matching(pod, |record| {
                record.number() == *number
                    && author
                        .as_ref()
                        .is_none_or(|author| record.author == *author)
            }),
            Reference::Hash { prefix, .. } => self.matching(pod, |record| {
                record.version().to_string().starts_with(prefix.as_str())
            }),
            Reference::Tag { tag, .. } => {
                let version = self.tags(pod).get(tag).copied();
                version
                    .and_then(|version| self.version(pod, &version))
                    .into_iter()
                    .collect()
            }
            Reference::Private { .. } | Reference::Path(_) => Vec::new(),
        };
        match found[..] {
            [record] => Resolution::Shared(Box::new(record.clone())),
            [] => self.resolve_private(pod, reference),
            _ => Resolution::Ambiguous {
                exact: found
                    .into_iter()
                    .map(|record| self.exact_reference(record))
                    .collect(),
            },
        }
    }

    /// The shortest reference that names this version and no other.
    pub fn exact_reference(&self, record: &VersionRecord) -> String {
        let alike = self.matching(&record.publication.pod, |other| {
            other.number() == record.number()
        });
        exact_among(record, &alike)
    }

    /// The shared versions of a pod, lowest number first, with the exact reference of each.
    pub fn exact_references(&self, pod: &PodName) -> Vec<(&VersionRecord, String)> {
        let versions = self.versions(pod);
        versions
            .chunk_by(|one, next| one.number() == next.number())
            .flat_map(|alike| {
                alike
                    .iter()
                    .map(move |record| (*record, exact_among(record, alike)))
            })
            .collect()
    }

    /// Resolves to a private version: by its number, by its hash, or by the bare name of a pod with
    /// no shared version.
    fn resolve_private(&self, pod: &PodName, reference: &Reference) -> Resolution {
        let versions = self.private_versions(pod);
        let found: Vec<_> = match reference {
            Reference::Pod(_) => versions.last().copied().into_iter().collect(),
            Reference::Private { number, .. } => versions
                .into_iter()
                .filter(|version| version.number == *number)
                .collect(),
            Reference::Hash { prefix, .. } => versions
                .into_iter()
                .filter(|version| version.version.to_string().starts_with(prefix.as_str()))
                .collect(),
            _ => Vec::new(),
        };
        match found[..] {
            [version] => Resolution::Private(Box::new(version.clone())),
            [] => self.no_version(pod, reference),
            _ => Resolution::Ambiguous {
                exact: found
                    .iter()
                    .map(|version| format!("{pod}:+{}", version.number))
                    .collect(),
            },
        }
    }

    fn matching(
        &self,
        pod: &PodName,
        fits: impl Fn(&VersionRecord) -> bool,
    ) -> Vec<&VersionRecord> {
        let mut versions = self.versions(pod);
        versions.retain(|record| fits(record));
        versions
    }

    fn no_pod(&self, pod: &PodName) -> Resolution {
        let pods: BTreeSet<_> = self.pods();
        let near = nearest(pod.as_str(), pods.iter().map(|name| name.as_str()));
        Resolution::NoPod {
            near: pods
                .iter()
                .filter(|name| near.contains(&name.as_str()))
                .map(|name| (*name).clone())
                .collect(),
            pods: pods.into_iter().cloned().collect(),
        }
    }

    fn no_version(&self, pod: &PodName, reference: &Reference) -> Resolution {
        let near = match reference {
            Reference::Tag { tag, .. } => {
                let tags: Vec<&TagName> = self.tags(pod).into_keys().collect();
                let near = nearest(tag.as_str(), tags.into_iter().map(TagName::as_str));
                near.into_iter().map(|tag| format!("{pod}:{tag}")).collect()
            }
            Reference::Number {
                number,
                author: Some(author),
                ..
            } => self.near_author(pod, *number, author),
            Reference::Private { .. } => {
                let newest = self
                    .private_versions(pod)
                    .into_iter()
                    .rev()
                    .take(MAX_SUGGESTIONS);
                newest
                    .map(|version| format!("{pod}:+{}", version.number))
                    .collect()
            }
            _ => self.newest(pod),
        };
        Resolution::NoVersion {
            pod: pod.clone(),
            near,
        }
    }

    fn newest(&self, pod: &PodName) -> Vec<String> {
        let newest = self.versions(pod).into_iter().rev().take(MAX_SUGGESTIONS);
        newest.map(|record| self.exact_reference(record)).collect()
    }

    /// Versions by authors of similar names, those of the same number first; else the newest ones.
    fn near_author(&self, pod: &PodName, number: u64, author: &MemberName) -> Vec<String> {
        let versions = self.versions(pod);
        let authors: BTreeSet<_> = versions.iter().map(|record| &record.author).collect();
        let near = nearest(
            author.as_str(),
            authors.iter().map(|author| author.as_str()),
        );
        let mut meant: Vec<_> = versions
            .iter()
            .rev()
            .filter(|record| near.contains(&record.author.as_str()))
            .collect();
        meant.sort_by_key(|record| record.number() != number);
        meant.truncate(MAX_SUGGESTIONS);
        if meant.is_empty() {
            return self.newest(pod);
        }
        let shown = meant.into_iter().map(|record| Reference::Number {
            pod: pod.clone(),
            number: record.number(),
            author: Some(record.author.clone()),
        });
        shown.map(|reference| reference.to_string()).collect()
    }
}

/// The shortest reference that names this version and no other, where these are all of its number.
fn exact_among(record: &VersionRecord, alike: &[&VersionRecord]) -> String {
    let pod = &record.publication.pod;
    let by_author = alike
        .iter()
        .filter(|other| other.author == record.author)
        .count();
    let (number, author) = (record.number(), Some(record.author.clone()));
    let numbered = |author: Option<MemberName>| Reference::Number {
        pod: pod.clone(),
        number,
        author,
    };
    match (alike.len(), by_author) {
        (0 | 1, _) => numbered(None).to_string(),
        (_, 1) => numbered(author).to_string(),
        _ => format!(
            "{pod}@{}",
            &record.version().to_string()[..EXACT_HASH_DIGITS]
        ),
    }
}

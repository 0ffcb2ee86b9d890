//! Lists what is inside versions, compares versions, and compares a version with a running instance before a load.
//!
//! A state's index is read like any other entry. No part of a state is ever unpickled.

use std::{cmp::Ordering, sync::Arc};

use podsync_api::{
    ApiError, ErrorCode,
    contents::{Change, Changes, Diff, Difference, Differences, EntryLine, Resource, Subject},
};
use podsync_core::{TeamId, manifest::Manifest};
use podsync_instance::{Contents, INDEX_ENTRY, IndexError, MAX_INDEX_LEN, compare};
use podsync_pack::{Entry, EntryKind, Version};
use podsync_store::Blobs;

use crate::{
    call::{Context, Handle},
    error::{Failure, api_error},
    node::handle::Node,
    packs::HeldPacks,
    service::{
        choose::team_of,
        find::Finder,
        holdings::{Holdings, pack_ids},
    },
};

/// Most lines in one answer. Its totals count everything.
const MAX_LISTED: usize = 10_000;

/// What a version holds: its resources, or its entries if it has no index of resources.
#[derive(Debug, Default)]
pub(crate) struct Inside {
    pub(crate) resources: Option<Vec<Resource>>,
    pub(crate) entries: Option<Vec<EntryLine>>,
    /// How many lines were left out.
    pub(crate) left_out: u64,
}

/// Reads the contents of versions.
#[derive(Clone)]
pub(crate) struct Inspect {
    pub(crate) node: Node,
    pub(crate) blobs: Blobs,
    pub(crate) finder: Finder,
    pub(crate) holdings: Holdings,
}

impl Handle<Diff> for Inspect {
    async fn handle(
        self: Arc<Self>,
        call: Diff,
        context: Arc<Context>,
    ) -> Result<Differences, Failure> {
        let team = team_of(&self.node, &context).await?;
        let (before, old) = self.held_manifest(team, &call.before).await?;
        let (after, new) = self.held_manifest(team, &call.after).await?;
        let contents = (self.index(team, &old).await?, self.index(team, &new).await?);
        let changes = match contents {
            (Some(old), Some(new)) => of_resources(compare(&old, &new)),
            _ => self.compare_entries(team, old, new).await?,
        };
        Ok(Differences {
            before,
            after,
            changes,
        })
    }
}

impl Inspect {
    /// The contents of a version whose bytes are here.
    pub(crate) async fn inside(&self, team: TeamId, manifest: Manifest) -> Result<Inside, Failure> {
        let manifest = Arc::new(manifest);
        if let Some(contents) = self.index(team, &manifest).await? {
            let more = contents.resources.len().saturating_sub(MAX_LISTED) as u64;
            let resources = contents.resources.into_iter().take(MAX_LISTED);
            return Ok(Inside {
                resources: Some(resources.map(resource).collect()),
                entries: None,
                left_out: contents.left_out.saturating_add(more),
            });
        }
        let named = pack_ids(&manifest);
        let left_out = manifest.entry_count.saturating_sub(MAX_LISTED as u64);
        let packs = HeldPacks::new(self.blobs.clone());
        let listed = tokio::task::spawn_blocking(move || {
            let entries = Version::new(&manifest, &packs).entries()?;
            let lines = entries
                .take(MAX_LISTED)
                .map(|entry| entry.map(|entry| line(&entry)));
            Ok::<_, Failure>(lines.collect::<Result<Vec<_>, _>>()?)
        });
        Ok(Inside {
            resources: None,
            entries: Some(self.holdings.doubting(team, named, listed.await?).await?),
            left_out,
        })
    }

    /// The index of a version's resources, if its state has one that this podsync can read.
    pub(crate) async fn index(
        &self,
        team: TeamId,
        manifest: &Arc<Manifest>,
    ) -> Result<Option<Contents>, Failure> {
        let named = pack_ids(manifest);
        let (manifest, packs) = (Arc::clone(manifest), HeldPacks::new(self.blobs.clone()));
        let index = tokio::task::spawn_blocking(move || {
            let version = Version::new(&manifest, &packs);
            let Some(bytes) = version.read_entry(INDEX_ENTRY, MAX_INDEX_LEN)? else {
                return Ok(None);
            };
            match Contents::parse(&bytes) {
                Ok(contents) => Ok(Some(contents)),
                Err(error @ IndexError::Newer(_)) => {
                    tracing::warn!(%error, "entries are shown instead of resources");
                    Ok(None)
                }
                Err(error) => Err(api_error(ErrorCode::Untrusted, &error, error.hint()).into()),
            }
        });
        self.holdings.doubting(team, named, index.await?).await
    }

    async fn held_manifest(
        &self,
        team: TeamId,
        reference: &str,
    ) -> Result<(String, Arc<Manifest>), Failure> {
        let named = self.finder.resolve(team, reference).await?;
        let Some(held) = self
            .holdings
            .held_whole(team, named.found.version())
            .await?
        else {
            return Err(not_here(&named.reference).into());
        };
        let manifest = held.manifest().map_err(Failure::damaged)?;
        Ok((named.reference, Arc::new(manifest)))
    }

    /// Compares by name, length and checksum. Reads both tables once, side by side.
    async fn compare_entries(
        &self,
        team: TeamId,
        old: Arc<Manifest>,
        new: Arc<Manifest>,
    ) -> Result<Changes, Failure> {
        let mut named = pack_ids(&old);
        named.extend(pack_ids(&new));
        let packs = HeldPacks::new(self.blobs.clone());
        let compared = tokio::task::spawn_blocking(move || {
            let mut before = Version::new(&old, &packs).entries()?;
            let mut after = Version::new(&new, &packs).entries()?;
            let (mut left, mut right) = (before.next().transpose()?, after.next().transpose()?);
            let mut changes = Changes::default();
            loop {
                let order = match (&left, &right) {
                    (None, None) => return Ok::<_, Failure>(changes),
                    (Some(_), None) => Ordering::Less,
                    (None, Some(_)) => Ordering::Greater,
                    (Some(old), Some(new)) => old.name.cmp(&new.name),
                };
                let difference = match order {
                    Ordering::Less => Some((Difference::Removed, left.as_ref())),
                    Ordering::Greater => Some((Difference::Added, right.as_ref())),
                    Ordering::Equal if same(left.as_ref(), right.as_ref()) => None,
                    Ordering::Equal => Some((Difference::Changed, right.as_ref())),
                };
                if let Some((difference, Some(entry))) = difference {
                    note(&mut changes, difference, || Subject::Entry(line(entry)));
                }
                if order != Ordering::Greater {
                    left = before.next().transpose()?;
                }
                if order != Ordering::Less {
                    right = after.next().transpose()?;
                }
            }
        });
        self.holdings.doubting(team, named, compared.await?).await
    }
}

pub(crate) fn not_here(reference: &str) -> ApiError {
    ApiError::new(
        ErrorCode::NotFound,
        format!("{reference} isn't on this machine"),
    )
    .hint(format!("`podsync pull {reference}` fetches it"))
}

/// Times are ignored, as when a save checks whether anything changed.
fn same(old: Option<&Entry>, new: Option<&Entry>) -> bool {
    let kind = |entry: Option<&Entry>| entry.map(|entry| entry.kind.clone());
    match (kind(old), kind(new)) {
        (Some(EntryKind::Dir), Some(EntryKind::Dir)) => true,
        (old, new) => old == new,
    }
}

fn note(changes: &mut Changes, difference: Difference, subject: impl FnOnce() -> Subject) {
    *match difference {
        Difference::Added => &mut changes.added,
        Difference::Changed => &mut changes.changed,
        Difference::Removed => &mut changes.removed,
    } += 1;
    if changes.list.len() < MAX_LISTED {
        changes.list.push(Change {
            difference,
            subject: subject(),
        });
    }
}

pub(crate) fn of_resources(found: Vec<podsync_instance::Change>) -> Changes {
    let mut changes = Changes::default();
    for change in found {
        let difference = match change.difference {
            podsync_instance::Difference::Added => Difference::Added,
            podsync_instance::Difference::Changed => Difference::Changed,
            podsync_instance::Difference::Removed => Difference::Removed,
        };
        note(&mut changes, difference, || {
            Subject::Resource(resource(change.resource))
        });
    }
    changes
}

fn resource(resource: podsync_instance::Resource) -> Resource {
    let place = resource.place;
    Resource {
        service: place.service.into(),
        account: place.account,
        region: place.region,
        kind: place.kind,
        name: place.name,
        label: resource.label,
        counts: resource.counts,
    }
}

fn line(entry: &Entry) -> EntryLine {
    EntryLine {
        name: entry.name.to_string(),
        len: entry.len(),
    }
}

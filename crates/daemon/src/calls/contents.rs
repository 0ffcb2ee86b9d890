//! What is inside versions: shown, compared, and held against a running instance before a load.
//!
//! An index is read as any entry of the version is; nothing of a state is ever unpickled.

use std::{cmp::Ordering, sync::Arc};

use podsync_api::{
    ApiError, ErrorCode,
    contents::{
        Change, Changes, Diff, Difference, Differences, EntryLine, Forecast, Foresee, Resource,
        Subject,
    },
};
use podsync_core::{TeamId, manifest::Manifest};
use podsync_instance::{Contents, INDEX_ENTRY, IndexError, MAX_INDEX_LEN, Merge, compare, foresee};
use podsync_pack::{Entry, EntryKind, Version};

use super::{
    fitting,
    pull::{Asked, pack_ids},
    take::connect,
};
use crate::{
    daemon::Daemon,
    failure::{Failure, with_hint},
    packs::HeldPacks,
    server::{Context, Handle},
};

/// The most lines of one answer. Its numbers are of all.
const MAX_LISTED: usize = 10_000;

/// What a version holds: its resources, or its entries where it has no index of them.
#[derive(Debug, Default)]
pub(super) struct Inside {
    pub(super) resources: Option<Vec<Resource>>,
    pub(super) entries: Option<Vec<EntryLine>>,
    /// How many more there are.
    pub(super) left_out: u64,
}

impl Handle<Diff> for Daemon {
    async fn handle(
        self: Arc<Self>,
        call: Diff,
        context: Arc<Context>,
    ) -> Result<Differences, ApiError> {
        let team = self.team(&context).await?;
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

impl Handle<Foresee> for Daemon {
    async fn handle(
        self: Arc<Self>,
        call: Foresee,
        context: Arc<Context>,
    ) -> Result<Forecast, ApiError> {
        let team = self.team(&context).await?;
        let merge: Merge = call
            .merge
            .parse()
            .map_err(|error| with_hint(ErrorCode::Invalid, &error))?;
        let (held, pulled) = self
            .pull(
                team,
                Asked::new(
                    &call.reference,
                    call.wait_s,
                    podsync_api::pods::Sources::Any,
                ),
                &context,
            )
            .await?;
        let manifest = Arc::new(held.manifest().map_err(Failure::damaged)?);
        fitting::loadable(&manifest, &pulled.reference)?;
        let instance = connect(&call.endpoint).await?;
        let part = fitting::part(&manifest, &call.services, merge)?;
        let environment = fitting::fits(&manifest, &part, &instance).await?;
        let changes = match self.index(team, &manifest).await? {
            None => None,
            Some(version) => {
                // What else is in the instance matters only where a load would take it away.
                let services = match merge {
                    Merge::Overwrite => &[][..],
                    _ => &part.services,
                };
                let now = instance.contents(services).await.map_err(Failure::from)?;
                let version = version.of(&part.services);
                now.map(|now| of_resources(foresee(merge, &now, &version)))
            }
        };
        Ok(Forecast {
            reference: pulled.reference,
            endpoint: call.endpoint,
            emulator: environment.emulator().to_string(),
            merge: merge.to_string(),
            services: part.services.iter().map(ToString::to_string).collect(),
            changes,
        })
    }
}

impl Daemon {
    /// What is inside a version whose bytes are here.
    pub(super) async fn inside(&self, team: TeamId, manifest: Manifest) -> Result<Inside, Failure> {
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
            entries: Some(self.doubting(team, named, listed.await?).await?),
            left_out,
        })
    }

    /// The index of a version's resources, where its state has one that this podsync can read.
    async fn index(
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
                Err(error) => Err(with_hint(ErrorCode::Untrusted, &error).into()),
            }
        });
        self.doubting(team, named, index.await?).await
    }

    async fn held_manifest(
        &self,
        team: TeamId,
        reference: &str,
    ) -> Result<(String, Arc<Manifest>), Failure> {
        let named = self.resolve(team, reference).await?;
        let Some(held) = self.held_whole(team, named.found.version()).await? else {
            return Err(not_here(&named.reference).into());
        };
        let manifest = held.manifest().map_err(Failure::damaged)?;
        Ok((named.reference, Arc::new(manifest)))
    }

    /// By name, length and checksum, both tables read once and side by side.
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
        self.doubting(team, named, compared.await?).await
    }
}

pub(super) fn not_here(reference: &str) -> ApiError {
    ApiError::new(
        ErrorCode::NotFound,
        format!("{reference} isn't on this machine"),
    )
    .hint(format!("`podsync pull {reference}` fetches it"))
}

/// Times don't count, here as in whether a save changed anything.
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

fn of_resources(found: Vec<podsync_instance::Change>) -> Changes {
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

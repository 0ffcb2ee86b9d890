//! Converts the catalog's content to the API's shapes.

use std::collections::{BTreeMap, BTreeSet};

use podsync_api::pods;
use podsync_core::{
    PodName, TagName, TeamId, VersionId,
    catalog::{Catalog, PrivateVersion, VersionRecord},
    engine::Engine,
};

use crate::{
    service::find::{Found, private_reference},
    versions::Versions,
};

/// Describes a version that was found. `None` if this home has left the team.
pub(crate) fn view(
    engine: &Engine,
    versions: &Versions,
    team: TeamId,
    found: &Found,
) -> Option<pods::Version> {
    match found {
        Found::Shared(record) => {
            let catalog = engine.catalog(&team)?;
            Some(shared_view(catalog, versions, team, record))
        }
        Found::Private(version) => Some(private_view(versions, team, version)),
    }
}

/// All versions of a pod: the shared ones by number, then the private ones.
pub(crate) fn of_pod(
    catalog: &Catalog,
    versions: &Versions,
    team: TeamId,
    pod: &PodName,
) -> Vec<pods::Version> {
    let standing = Standing::of(catalog, pod);
    let shared = catalog
        .exact_references(pod)
        .into_iter()
        .map(|(record, reference)| standing.view(versions, team, record, reference));
    let private = catalog
        .private_versions(pod)
        .into_iter()
        .map(|version| private_view(versions, team, version));
    shared.chain(private).collect()
}

pub(crate) fn shared_view(
    catalog: &Catalog,
    versions: &Versions,
    team: TeamId,
    record: &VersionRecord,
) -> pods::Version {
    let standing = Standing::of(catalog, &record.publication.pod);
    standing.view(versions, team, record, catalog.exact_reference(record))
}

/// The tips and tags of a pod. They are worked out once for all of its versions, of which there may be thousands.
struct Standing<'a> {
    tips: BTreeSet<VersionId>,
    tags: BTreeMap<&'a TagName, VersionId>,
}

impl<'a> Standing<'a> {
    fn of(catalog: &'a Catalog, pod: &PodName) -> Self {
        let tips = catalog.tips(pod).into_iter();
        Self {
            tips: tips.map(VersionRecord::version).collect(),
            tags: catalog.tags(pod),
        }
    }

    fn view(
        &self,
        versions: &Versions,
        team: TeamId,
        record: &VersionRecord,
        reference: String,
    ) -> pods::Version {
        let publication = &record.publication;
        let id = record.version();
        let tags = self.tags.iter().filter(|(_, version)| **version == id);
        pods::Version {
            reference,
            id,
            parents: publication.parents.to_vec(),
            number: Some(record.number()),
            author: record.author.to_string(),
            message: publication.message.clone(),
            created_ms: publication.created_ms,
            state_len: publication.state_len,
            services: publication.services.to_vec(),
            emulator: publication.emulator.as_ref().map(ToString::to_string),
            tags: tags.map(|(tag, _)| (*tag).clone()).collect(),
            tip: self.tips.contains(&id),
            held: versions.is_held(team, id),
        }
    }
}

pub(crate) fn private_view(
    versions: &Versions,
    team: TeamId,
    version: &PrivateVersion,
) -> pods::Version {
    let held = versions.get(team, version.version);
    pods::Version {
        reference: private_reference(version),
        id: version.version,
        parents: held
            .as_ref()
            .and_then(|held| Some(held.manifest().ok()?.parents))
            .unwrap_or_default(),
        number: None,
        author: "you".to_owned(),
        message: version.message.clone(),
        created_ms: version.created_ms,
        state_len: version.state_len,
        services: version.services.clone(),
        emulator: version.emulator.as_ref().map(ToString::to_string),
        tags: Vec::new(),
        tip: false,
        held: versions.is_held(team, version.version),
    }
}

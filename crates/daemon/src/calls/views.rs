//! What the catalog says, in the API's shapes; and from a reference to a version.

use podsync_api::{Ambiguity, ApiError, ErrorCode, pods};
use podsync_core::{
    PodName, TeamId, VersionId,
    catalog::{Catalog, PrivateVersion, Resolution, VersionRecord},
    engine::Engine,
    reference::Reference,
};

use crate::{daemon::Daemon, failure::Failure, versions::Versions};

/// A version that a reference came to.
#[derive(Debug, Clone)]
pub(crate) enum Found {
    Shared(Box<VersionRecord>),
    Private(Box<PrivateVersion>),
}

impl Found {
    pub(crate) fn pod(&self) -> &PodName {
        match self {
            Self::Shared(record) => &record.publication.pod,
            Self::Private(version) => &version.pod,
        }
    }

    pub(crate) fn version(&self) -> VersionId {
        match self {
            Self::Shared(record) => record.version(),
            Self::Private(version) => version.version,
        }
    }
}

/// A version and how it is called and shown.
pub(crate) struct Named {
    pub(crate) found: Found,
    pub(crate) reference: String,
    pub(crate) author: String,
}

impl Daemon {
    /// The version that `text` means.
    pub(crate) async fn resolve(&self, team: TeamId, text: &str) -> Result<Named, Failure> {
        let reference: Reference = text
            .parse()
            .map_err(|error| crate::failure::with_hint(ErrorCode::Invalid, &error))?;
        let pod = reference.pod().map(ToString::to_string);
        let named = self
            .node
            .read(move |engine| named(engine, team, &reference))
            .await??;
        let span = tracing::Span::current();
        span.record("pod", pod);
        span.record("version", named.found.version().short());
        Ok(named)
    }
}

fn named(engine: &Engine, team: TeamId, reference: &Reference) -> Result<Named, ApiError> {
    let catalog = engine
        .catalog(&team)
        .ok_or_else(|| ApiError::new(ErrorCode::NotFound, "this home is in that team no more"))?;
    match catalog.resolve(reference) {
        Resolution::Shared(record) => Ok(Named {
            reference: catalog.exact_reference(&record),
            author: record.author.to_string(),
            found: Found::Shared(record),
        }),
        Resolution::Private(version) => Ok(Named {
            reference: private_reference(&version),
            author: "you".to_owned(),
            found: Found::Private(version),
        }),
        Resolution::Path(path) => Err(ApiError::new(
            ErrorCode::Invalid,
            format!("{path} is a file or folder, not a version"),
        )
        .hint("save it first: `podsync save NAME --from PATH`")),
        Resolution::Ambiguous { exact } => Err(ApiError::ambiguous(Ambiguity {
            reference: reference.to_string(),
            exact,
        })),
        Resolution::NoPod { near, pods } => {
            let error = ApiError::new(
                ErrorCode::NotFound,
                format!("no pod is called {}", shown_pod(reference)),
            );
            Err(match (&near[..], pods.len()) {
                ([], 0) => error.hint("there is none yet: `podsync save NAME` makes the first"),
                ([], _) => error.hint("`podsync list` shows all pods"),
                (near, _) => error.hint(format!("did you mean {}?", list(near))),
            })
        }
        Resolution::NoVersion { pod, near } => {
            let error = ApiError::new(
                ErrorCode::NotFound,
                format!("pod {pod} has no version `{reference}`"),
            );
            Err(if near.is_empty() {
                error.hint(format!("`podsync versions {pod}` lists them"))
            } else {
                error.hint(format!("there is {}", near.join(", ")))
            })
        }
    }
}

fn shown_pod(reference: &Reference) -> String {
    reference
        .pod()
        .map_or_else(|| reference.to_string(), ToString::to_string)
}

fn list(names: &[PodName]) -> String {
    names
        .iter()
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(" or ")
}

pub(crate) fn private_reference(version: &PrivateVersion) -> String {
    Reference::Private {
        pod: version.pod.clone(),
        number: version.number,
    }
    .to_string()
}

/// All versions of a pod: the shared ones by number, then the private ones.
pub(crate) fn of_pod(
    catalog: &Catalog,
    versions: &Versions,
    team: TeamId,
    pod: &PodName,
) -> Vec<pods::Version> {
    let shared = catalog
        .versions(pod)
        .into_iter()
        .map(|record| shared_view(catalog, versions, team, record));
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
    let publication = &record.publication;
    let id = record.version();
    let tags = catalog.tags(&publication.pod);
    pods::Version {
        reference: catalog.exact_reference(record),
        id,
        number: Some(record.number()),
        author: record.author.to_string(),
        message: publication.message.clone(),
        created_ms: publication.created_ms,
        state_len: publication.state_len,
        services: publication.services.to_vec(),
        emulator: publication.emulator.as_ref().map(ToString::to_string),
        tags: tags
            .into_iter()
            .filter(|(_, version)| *version == id)
            .map(|(tag, _)| tag.clone())
            .collect(),
        tip: catalog
            .tips(&publication.pod)
            .iter()
            .any(|tip| tip.version() == id),
        held: versions.get(team, id).is_some(),
    }
}

pub(crate) fn private_view(
    versions: &Versions,
    team: TeamId,
    version: &PrivateVersion,
) -> pods::Version {
    pods::Version {
        reference: private_reference(version),
        id: version.version,
        number: None,
        author: "you".to_owned(),
        message: version.message.clone(),
        created_ms: version.created_ms,
        state_len: version.state_len,
        services: version.services.clone(),
        emulator: version.emulator.as_ref().map(ToString::to_string),
        tags: Vec::new(),
        tip: false,
        held: versions.get(team, version.version).is_some(),
    }
}

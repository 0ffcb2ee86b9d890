//! Checks a state against an instance before a load, and picks the part of the state to load.

use podsync_api::{ApiError, ErrorCode};
use podsync_core::manifest::{Container, Manifest};
use podsync_instance::{
    Environment, Instance, Merge, Obstacle, ParseServiceError, Service, lacking, obstacle,
};
use podsync_pack::EntryName;

use crate::error::{Failure, api_error};

/// Folders of a state that hold a folder for each service.
const BY_SERVICE: [&str; 2] = ["api_states/", "assets/"];

/// The part of a state to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Part {
    /// The services. Empty if all are loaded and the state doesn't list them.
    pub(crate) services: Vec<Service>,
    /// Whether some of the state isn't loaded.
    cut: bool,
}

impl Part {
    pub(crate) fn all() -> Self {
        Self {
            services: Vec::new(),
            cut: false,
        }
    }

    /// Whether a service is meant to be loaded.
    pub(crate) fn names(&self, service: &str) -> bool {
        !self.cut
            || self
                .services
                .iter()
                .any(|wanted| wanted.as_str() == service)
    }

    /// Whether an entry of the state goes into the instance.
    pub(crate) fn holds(&self, name: &EntryName) -> bool {
        let name = name.as_str();
        let mut rest = BY_SERVICE
            .iter()
            .filter_map(|folder| name.strip_prefix(folder));
        let service = rest.next().and_then(|rest| rest.split('/').next());
        service.is_none_or(|service| service.is_empty() || self.names(service))
    }
}

/// The part that the user named, or all.
pub(crate) fn part(manifest: &Manifest, named: &[String], merge: Merge) -> Result<Part, ApiError> {
    let parse = |names: &[String]| {
        let services = names.iter().map(|name| name.parse::<Service>());
        services.collect::<Result<Vec<_>, _>>()
    };
    let invalid = |error: ParseServiceError| ApiError::new(ErrorCode::Invalid, error.to_string());
    if named.is_empty() {
        // An invalid name in the state doesn't prevent loading all of it.
        let services = parse(&manifest.source.services).unwrap_or_default();
        return Ok(Part {
            services,
            cut: false,
        });
    }
    let mut services = parse(named).map_err(invalid)?;
    services.sort();
    services.dedup();
    if let Some(unknown) = services.iter().find(|service| {
        !manifest
            .source
            .services
            .iter()
            .any(|held| held == service.as_str())
    }) {
        let held = manifest.source.services.join(", ");
        let error = ApiError::new(
            ErrorCode::NotFound,
            format!("the version holds nothing of {unknown}"),
        );
        return Err(if held.is_empty() {
            error.hint("it doesn't say which services it holds: load all of it, without --services")
        } else {
            error.hint(format!("it holds {held}"))
        });
    }
    let cut = services.len() < manifest.source.services.len();
    if cut && merge == Merge::Overwrite {
        return Err(ApiError::new(
            ErrorCode::Invalid,
            "overwrite resets every service, also those that --services leaves out",
        )
        .hint("use --merge account-region-merge with --services, or load all of it"));
    }
    Ok(Part { services, cut })
}

pub(crate) fn loadable(manifest: &Manifest, reference: &str) -> Result<(), ApiError> {
    if manifest.container == Container::Zip {
        return Ok(());
    }
    Err(ApiError::new(
        ErrorCode::BadState,
        format!("{reference} is a folder or file, and no emulator's state"),
    )
    .hint(format!("`podsync export {reference} PATH` writes it")))
}

/// Compares a state with the instance that answers. Changes nothing.
pub(crate) async fn fits(
    manifest: &Manifest,
    part: &Part,
    instance: &Instance,
) -> Result<Environment, Failure> {
    let environment = instance.environment().await?;
    let saved_by = manifest.source.emulator.as_ref();
    if let Some(obstacle) = saved_by.and_then(|saved_by| obstacle(saved_by, &environment)) {
        return Err(untouched(instance, &obstacle).into());
    }
    if let Some(obstacle) = lacking(&part.services, &instance.health().await?) {
        return Err(untouched(instance, &obstacle).into());
    }
    Ok(environment)
}

fn untouched(instance: &Instance, obstacle: &Obstacle) -> ApiError {
    let mut error = api_error(ErrorCode::Incompatible, obstacle, Some(obstacle.hint()));
    error.message = format!(
        "{}: {}; nothing was touched",
        instance.endpoint(),
        error.message
    );
    error
}

#[cfg(test)]
mod tests {
    use podsync_core::{
        ContentHash,
        manifest::{Source, Table},
    };

    use super::*;

    fn manifest(services: &[&str]) -> Manifest {
        let table = Table {
            len: 0,
            chunks: Vec::new(),
        };
        Manifest {
            pod: "orders".parse().unwrap(),
            parents: Vec::new(),
            message: String::new(),
            source: Source {
                emulator: None,
                services: services.iter().map(ToString::to_string).collect(),
            },
            created_ms: 0,
            container: Container::Zip,
            state_len: 0,
            entry_count: 0,
            content: ContentHash::from_bytes([0; 32]),
            entries: table.clone(),
            chunks: table,
            packs: Vec::new(),
        }
    }

    #[test]
    fn a_part_has_the_entries_of_its_services_and_those_of_none() {
        let named = ["s3".to_owned()];
        let part = part(&manifest(&["s3", "sqs"]), &named, Merge::ServiceMerge).unwrap();
        for (name, within) in [
            ("api_states/s3/store/x.state", true),
            ("assets/s3/bucket/objects/sqs/1", true),
            ("api_states/sqs/store/x.state", false),
            ("assets/sqs/0/file", false),
            ("api_states/s3x/store/x.state", false),
            ("podsync/metadata.json", true),
            ("metadata.yaml", true),
        ] {
            assert_eq!(part.holds(&EntryName::new(name).unwrap()), within, "{name}");
        }
    }

    #[test]
    fn what_the_version_does_not_hold_is_told_with_what_it_does() {
        let named = |name: &str, services: &[&str], merge| {
            part(&manifest(services), &[name.to_owned()], merge)
        };
        let error = named("kms", &["s3", "sqs"], Merge::ServiceMerge).unwrap_err();
        assert_eq!(error.code, ErrorCode::NotFound);
        assert!(error.hint.unwrap().contains("s3, sqs"));
        assert!(named("../x", &["s3"], Merge::ServiceMerge).is_err());
        let error = named("s3", &["s3", "sqs"], Merge::Overwrite).unwrap_err();
        assert_eq!(error.code, ErrorCode::Invalid);
        // A list that names every service means all.
        assert!(named("s3", &["s3"], Merge::Overwrite).is_ok());
    }
}

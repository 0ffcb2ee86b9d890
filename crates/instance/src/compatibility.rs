//! Checks before a load whether an instance can hold a state.
//!
//! A state that is not known to fail is tried: the instance checks again, and refuses with a 422
//! before it changes anything.

use podsync_core::manifest::Emulator;

use crate::{
    probe::{Environment, Health},
    service::Service,
};

/// The name that manifests give the licensed edition.
const LICENSED: &str = "localstack-pro";

/// The status of a service that an instance was started without.
const DISABLED: &str = "disabled";

/// Why a state doesn't fit an instance.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Obstacle {
    #[error("the state was saved by {saved_by}, and this is the older {here}")]
    Older { saved_by: Emulator, here: Emulator },
    #[error(
        "the state was saved by {saved_by}, and {here} is of another line, which keeps some services in different places"
    )]
    OtherLine { saved_by: Emulator, here: Emulator },
    #[error("the state was saved by the licensed {saved_by}, and {here} can't read it")]
    Licensed { saved_by: Emulator, here: Emulator },
    #[error(
        "the instance doesn't have {}, which the state holds",
        Service::list(missing)
    )]
    Lacking {
        missing: Vec<Service>,
        /// The services of the state that it has.
        rest: Vec<Service>,
    },
}

impl Obstacle {
    /// What to do about it.
    pub fn hint(&self) -> String {
        match self {
            Self::Older { saved_by, .. } => format!("start {saved_by} or newer of the same line"),
            Self::OtherLine { saved_by, .. } => format!("start {saved_by}"),
            Self::Licensed { .. } => "start LocalStack with LOCALSTACK_AUTH_TOKEN".to_owned(),
            Self::Lacking { missing, rest } => without(missing, rest),
        }
    }
}

/// The known obstacle to loading a state of `saved_by` here. `None` if there is none.
pub fn obstacle(saved_by: &Emulator, environment: &Environment) -> Option<Obstacle> {
    let here = environment.emulator();
    let (saved_by, wanted, present) = (
        saved_by.clone(),
        numbers(&saved_by.version),
        numbers(&here.version),
    );
    if saved_by.name == LICENSED && !environment.pro {
        return Some(Obstacle::Licensed { saved_by, here });
    }
    match (wanted.first(), present.first()) {
        // A version that is no number is a custom build.
        (None, _) | (_, None) => None,
        (Some(line), Some(ours)) if line < ours => Some(Obstacle::OtherLine { saved_by, here }),
        _ if wanted > present => Some(Obstacle::Older { saved_by, here }),
        _ => None,
    }
}

/// The services of a state that an instance was started without or doesn't know.
pub fn lacking(wanted: &[Service], health: &Health) -> Option<Obstacle> {
    if health.services.is_empty() {
        return None;
    }
    let there = |service: &&Service| {
        let status = health.services.get(*service);
        status.is_some_and(|status| status != DISABLED)
    };
    let (rest, missing): (Vec<_>, Vec<_>) = wanted.iter().partition(there);
    (!missing.is_empty()).then(|| Obstacle::Lacking {
        missing: missing.into_iter().cloned().collect(),
        rest: rest.into_iter().cloned().collect(),
    })
}

fn numbers(version: &str) -> Vec<u64> {
    version
        .split('.')
        .map_while(|part| part.parse().ok())
        .collect()
}

fn without(missing: &[Service], rest: &[Service]) -> String {
    let start = format!("start it with {}", Service::list(missing));
    if rest.is_empty() {
        return start;
    }
    let rest: Vec<_> = rest.iter().map(Service::as_str).collect();
    format!(
        "{start}, or load the others with --services {}",
        rest.join(",")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn emulator(text: &str) -> Emulator {
        let (name, version) = text.split_once(' ').unwrap();
        Emulator {
            name: name.to_owned(),
            version: version.to_owned(),
        }
    }

    fn environment(version: &str, pro: bool) -> Environment {
        Environment {
            localstack_version: version.to_owned(),
            pro,
            plugin_version: None,
        }
    }

    #[test]
    fn what_is_known_to_fail_is_told() {
        let told = |saved_by, version, pro| {
            obstacle(&emulator(saved_by), &environment(version, pro))
                .map(|obstacle| format!("{obstacle}; {}", obstacle.hint()))
        };
        for (saved_by, version, pro) in [
            ("localstack 4.14.0", "4.14.0", false),
            ("localstack 4.13.1", "4.14.0", false),
            ("localstack-pro 2026.3.0", "2026.8.2", true),
            ("localstack dev", "4.14.0", false),
            ("localstack 4.14.0", "dev", false),
        ] {
            assert_eq!(
                told(saved_by, version, pro),
                None,
                "{saved_by} into {version}"
            );
        }
        for (saved_by, version, pro, way_out) in [
            ("localstack 4.14.0", "4.13.9", false, "older"),
            ("localstack 4.14.0.dev2", "4.13", false, "older"),
            ("localstack 2026.3.0", "4.14.0", false, "older"),
            ("localstack 4.14.0", "2026.3.0", false, "another line"),
            (
                "localstack-pro 2026.3.0",
                "2026.3.0",
                false,
                "LOCALSTACK_AUTH_TOKEN",
            ),
        ] {
            let told = told(saved_by, version, pro).unwrap();
            assert!(told.contains(way_out) && told.contains("; start"), "{told}");
        }
    }

    #[test]
    fn a_service_that_is_not_there_is_named_with_what_is() {
        let service = |name: &str| Service::new(name).unwrap();
        let mut health = Health {
            edition: String::new(),
            version: String::new(),
            services: [
                (service("s3"), "available".to_owned()),
                (service("sqs"), DISABLED.to_owned()),
            ]
            .into(),
        };
        assert_eq!(lacking(&[service("s3")], &health), None);
        let told = lacking(&[service("kms"), service("s3"), service("sqs")], &health).unwrap();
        let told = format!("{told}; {}", told.hint());
        assert!(
            told.contains("doesn't have kms, sqs") && told.ends_with("--services s3"),
            "{told}"
        );
        // An instance that lists no services is not judged by its list.
        health.services.clear();
        assert_eq!(lacking(&[service("kms")], &health), None);
    }
}

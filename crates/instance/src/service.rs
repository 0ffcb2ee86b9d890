//! Names that instances and people share: services and merge strategies.
//!
//! A service is what LocalStack calls it (`s3`, `sqs`, `stepfunctions`). Names also arrive from
//! instances, so the alphabet is checked there too and none can climb out of a URL's path.

use std::{fmt, str::FromStr};

use serde::{Deserialize, Serialize};

/// The longest name of a service.
const MAX_SERVICE_LEN: usize = 40;

/// A service of an instance: 1 to 40 of `a-z`, `0-9` and `-`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Service(String);

/// Text that is no service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a service: a service has 1 to {MAX_SERVICE_LEN} characters of a-z, 0-9 and `-`, like s3 or stepfunctions"
)]
pub struct ParseServiceError {
    text: String,
}

impl Service {
    pub fn new(name: impl Into<String>) -> Result<Self, ParseServiceError> {
        let name = name.into();
        let plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > MAX_SERVICE_LEN || !name.bytes().all(plain) {
            return Err(ParseServiceError {
                text: name.chars().take(MAX_SERVICE_LEN).collect(),
            });
        }
        Ok(Self(name))
    }

    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Names with `, ` between them, for people.
    pub(crate) fn list(services: &[Self]) -> String {
        services
            .iter()
            .map(Self::as_str)
            .collect::<Vec<_>>()
            .join(", ")
    }
}

impl FromStr for Service {
    type Err = ParseServiceError;

    fn from_str(text: &str) -> Result<Self, ParseServiceError> {
        Self::new(text)
    }
}

impl TryFrom<String> for Service {
    type Error = ParseServiceError;

    fn try_from(text: String) -> Result<Self, ParseServiceError> {
        Self::new(text)
    }
}

impl From<Service> for String {
    fn from(service: Service) -> String {
        service.0
    }
}

impl fmt::Display for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl fmt::Debug for Service {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.0)
    }
}

/// What happens to the instance's present state. The names are LocalStack's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Merge {
    /// The instance is reset first.
    Overwrite,
    /// The state wins per service, account and region.
    #[default]
    AccountRegionMerge,
    /// The state wins per resource.
    ServiceMerge,
}

/// Text that is no merge strategy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "{text:?} is not a merge strategy: there are overwrite, account-region-merge and service-merge"
)]
pub struct ParseMergeError {
    text: String,
}

impl Merge {
    pub const ALL: [Self; 3] = [
        Self::Overwrite,
        Self::AccountRegionMerge,
        Self::ServiceMerge,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Overwrite => "overwrite",
            Self::AccountRegionMerge => "account-region-merge",
            Self::ServiceMerge => "service-merge",
        }
    }
}

impl fmt::Display for Merge {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Merge {
    type Err = ParseMergeError;

    fn from_str(text: &str) -> Result<Self, ParseMergeError> {
        Self::ALL
            .into_iter()
            .find(|merge| merge.as_str() == text)
            .ok_or_else(|| ParseMergeError {
                text: text.chars().take(40).collect(),
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_services_are_refused() {
        for bad in [
            "",
            "S3",
            "a/b",
            "..",
            "s3,sqs",
            "s3 ",
            "a\n",
            "ü",
            &"x".repeat(41),
            "*",
        ] {
            assert!(Service::new(bad).is_err(), "{bad:?}");
        }
        for good in ["s3", "stepfunctions", "cognito-idp", &"x".repeat(40)] {
            assert!(Service::new(good).is_ok(), "{good:?}");
        }
        assert!(serde_json::from_str::<Service>("\"../reset\"").is_err());
    }

    #[test]
    fn a_strategy_has_one_name_in_text_and_in_serde() {
        for merge in Merge::ALL {
            assert_eq!(merge.as_str().parse(), Ok(merge));
            assert_eq!(
                serde_json::to_string(&merge).unwrap(),
                format!("\"{merge}\"")
            );
        }
        assert_eq!(Merge::default().as_str(), "account-region-merge");
        assert!("Overwrite".parse::<Merge>().is_err());
    }
}

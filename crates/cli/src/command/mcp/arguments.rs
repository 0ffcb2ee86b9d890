//! What each tool takes, and the schemas of it. Everything is bounded before it goes to the daemon.

use std::path::PathBuf;

use podsync_api::{ApiError, ErrorCode};
use podsync_core::{
    PodName,
    reference::{Reference, ReferenceError},
};
use schemars::JsonSchema;
use serde::Deserialize;

use crate::command::load::Merge;

/// Lines of a list that an agent gets unless it asks for more.
const DEFAULT_LIMIT: usize = 100;
const MAX_LIMIT: u32 = 10_000;
/// A pod, a number and a member, or a pod and a whole hash.
const MAX_REFERENCE_LEN: usize = 512;
const MAX_SERVICES: usize = 200;
const MAX_SERVICE_LEN: usize = 64;
const DEFAULT_WAIT_S: u32 = 20;
const MAX_WAIT_S: u32 = 3600;

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct List {
    /// List all versions of this pod. Without it: all pods with their newest versions
    #[schemars(with = "Option<String>")]
    pub(super) pod: Option<PodName>,
    #[serde(default)]
    pub(super) limit: Limit,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Show {
    pub(super) version: Version,
    /// Also list what is in it: resources by service, account and region, or files. The version has to be on this
    /// machine
    #[serde(default)]
    pub(super) contents: bool,
    #[serde(default)]
    pub(super) limit: Limit,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Diff {
    /// The older version
    pub(super) before: Version,
    /// The newer version
    pub(super) after: Version,
    #[serde(default)]
    pub(super) limit: Limit,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Forecast {
    pub(super) version: Version,
    /// How the load would combine the version with what is in the emulator
    #[serde(default)]
    pub(super) merge: Merge,
    #[serde(default)]
    pub(super) services: Services,
    #[serde(default)]
    pub(super) wait_s: Wait,
    #[serde(default)]
    pub(super) limit: Limit,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Load {
    pub(super) version: Version,
    /// How to combine the version with what is in the emulator
    #[serde(default)]
    pub(super) merge: Merge,
    #[serde(default)]
    pub(super) services: Services,
    #[serde(default)]
    pub(super) wait_s: Wait,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Save {
    /// Name of the pod
    #[schemars(with = "String")]
    pub(super) pod: PodName,
    /// What this version is, for teammates
    #[serde(default)]
    #[schemars(length(max = 4096))]
    pub(super) message: String,
    /// Save this folder or file instead of the running emulator's state: an absolute path
    pub(super) from: Option<PathBuf>,
    #[serde(default)]
    pub(super) services: Services,
    /// Also share the version with the team
    #[serde(default)]
    pub(super) share: bool,
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Undo {}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Share {
    pub(super) version: Version,
}

/// A version, such as `orders` (its newest), `orders:3`, `orders:3@alice`, `orders:baseline`, `orders@1f3a9c` or
/// `orders:+1` (not shared yet)
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(try_from = "String")]
#[schemars(inline)]
pub(super) struct Version(#[schemars(length(min = 1, max = 512))] pub(super) String);

impl TryFrom<String> for Version {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        if text.len() > MAX_REFERENCE_LEN {
            return Err(format!("a version has at most {MAX_REFERENCE_LEN} bytes"));
        }
        match text.parse() {
            Ok(Reference::Path(_)) => Err("a path is no version of a pod".to_owned()),
            Ok(_) => Ok(Self(text)),
            Err(error) => Err(with_hint(&error)),
        }
    }
}

fn with_hint(error: &ReferenceError) -> String {
    match error.hint() {
        Some(hint) => format!("{error}; {hint}"),
        None => error.to_string(),
    }
}

/// Only these services, such as `sqs`. All where it is empty
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(try_from = "Vec<String>")]
#[schemars(inline)]
pub(super) struct Services(#[schemars(length(max = 200))] pub(super) Vec<String>);

impl TryFrom<Vec<String>> for Services {
    type Error = String;

    fn try_from(names: Vec<String>) -> Result<Self, String> {
        if names.len() > MAX_SERVICES || names.iter().any(|name| name.len() > MAX_SERVICE_LEN) {
            return Err(format!(
                "at most {MAX_SERVICES} services, with names of at most {MAX_SERVICE_LEN} bytes"
            ));
        }
        Ok(Self(names))
    }
}

/// How many lines of a list to answer, at most 10000
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(try_from = "u32")]
#[schemars(inline)]
pub(super) struct Limit(#[schemars(range(min = 1, max = 10_000))] u32);

impl Limit {
    pub(super) fn lines(&self) -> usize {
        self.0 as usize
    }
}

impl Default for Limit {
    fn default() -> Self {
        Self(DEFAULT_LIMIT as u32)
    }
}

impl TryFrom<u32> for Limit {
    type Error = String;

    fn try_from(lines: u32) -> Result<Self, String> {
        match lines {
            1..=MAX_LIMIT => Ok(Self(lines)),
            _ => Err(format!("a limit is 1 to {MAX_LIMIT}")),
        }
    }
}

/// Seconds to wait for somebody who has the version
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(try_from = "u32")]
#[schemars(inline)]
pub(super) struct Wait(#[schemars(range(max = 3600))] u32);

impl Wait {
    pub(super) fn seconds(&self) -> u64 {
        self.0.into()
    }
}

impl Default for Wait {
    fn default() -> Self {
        Self(DEFAULT_WAIT_S)
    }
}

impl TryFrom<u32> for Wait {
    type Error = String;

    fn try_from(seconds: u32) -> Result<Self, String> {
        match seconds {
            0..=MAX_WAIT_S => Ok(Self(seconds)),
            _ => Err(format!("podsync waits at most {MAX_WAIT_S} s")),
        }
    }
}

/// A path of an agent: its client may have started the server anywhere.
pub(super) fn absolute(path: PathBuf) -> Result<PathBuf, ApiError> {
    if path.is_absolute() {
        return Ok(path);
    }
    Err(ApiError::new(
        ErrorCode::Invalid,
        format!("{} is not an absolute path", path.display()),
    )
    .hint("give the whole path, from / on"))
}

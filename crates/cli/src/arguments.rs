//! Arguments that several subcommands take. Each subcommand's own lie beside what it does.

use std::{convert::Infallible, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use podsync_api::{ApiError, ErrorCode, pods};
use podsync_core::TeamName;

/// Where LocalStack listens unless it is told otherwise.
const DEFAULT_ENDPOINT: &str = "http://localhost:4566";
/// How long to wait for the version and its holders before giving up.
const DEFAULT_WAIT: &str = "20s";

#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Where this device keeps its key and its pods
    #[arg(long, global = true, env = "PODSYNC_HOME", value_name = "FOLDER")]
    pub(crate) home: Option<PathBuf>,
    /// The team, where this device is in several
    #[arg(long, global = true, env = "PODSYNC_TEAM", value_name = "NAME")]
    pub(crate) team: Option<TeamName>,
    /// Act as a robot, with its token; better given as PODSYNC_TOKEN, or on stdin with `-`
    #[arg(long, global = true, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
    /// With a token: keep packs in this folder, for the next run [default: a folder that is removed]
    #[arg(long, global = true, value_name = "FOLDER")]
    pub(crate) cache: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Never start a daemon in the background; do the work in this process
    #[arg(long, global = true)]
    pub(crate) no_daemon: bool,
    /// Log what is done, to stderr; twice for more
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// How logs are written
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        env = "PODSYNC_LOG_FORMAT"
    )]
    pub(crate) log_format: LogFormat,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Args)]
pub(crate) struct Wait {
    /// How long to wait for a teammate who holds it
    #[arg(long, value_name = "TIME", default_value = DEFAULT_WAIT, value_parser = humantime::parse_duration)]
    pub(crate) wait: Duration,
    /// Where its bytes may come from
    #[arg(long, value_enum, default_value_t)]
    source: Source,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Source {
    /// Teammates first; the team's bucket for what they don't have or don't send
    #[default]
    Any,
    /// Teammates only
    Peers,
    /// The team's bucket only
    Bucket,
}

impl Wait {
    pub(crate) fn sources(&self) -> pods::Sources {
        match self.source {
            Source::Any => pods::Sources::Any,
            Source::Peers => pods::Sources::Peers,
            Source::Bucket => pods::Sources::Bucket,
        }
    }
}

#[derive(Debug, Args)]
pub(crate) struct Endpoint {
    /// The running emulator
    #[arg(
        long = "endpoint",
        id = "endpoint",
        env = "AWS_ENDPOINT_URL",
        value_name = "URL",
        default_value = DEFAULT_ENDPOINT,
        value_parser = or_default
    )]
    pub(crate) url: String,
}

/// A variable that is set but blank counts as not set, as it does for the AWS tools.
fn or_default(url: &str) -> Result<String, Infallible> {
    let given = (!url.trim().is_empty()).then_some(url);
    Ok(given.unwrap_or(DEFAULT_ENDPOINT).to_owned())
}

pub(crate) fn absolute(path: PathBuf) -> Result<PathBuf, ApiError> {
    std::path::absolute(&path)
        .map_err(|error| ApiError::new(ErrorCode::Invalid, format!("{}: {error}", path.display())))
}

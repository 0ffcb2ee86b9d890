//! Arguments that several subcommands take. Each subcommand's own lie beside what it does.

use std::{convert::Infallible, path::PathBuf, time::Duration};

use clap::{Args, ValueEnum};
use clap_complete::ArgValueCandidates;
use podsync_api::{ApiError, AuthToken, ErrorCode, pods};
use podsync_core::TeamName;

use crate::{complete, lstk};

/// Where LocalStack listens by default.
const DEFAULT_ENDPOINT: &str = "http://localhost:4566";
/// How long to wait for the version and its holders before giving up.
pub(crate) const DEFAULT_WAIT: Duration = Duration::from_secs(20);

/// The heading of the options that every command takes.
const GLOBAL: &str = "Global options";

#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Folder for this device's key and pods
    #[arg(long, global = true, help_heading = GLOBAL, env = "PODSYNC_HOME", value_name = "FOLDER")]
    pub(crate) home: Option<PathBuf>,
    /// Team to use; needed only if this device is in several teams
    #[arg(
        long,
        global = true,
        help_heading = GLOBAL,
        env = "PODSYNC_TEAM",
        value_name = "NAME",
        add = ArgValueCandidates::new(complete::teams)
    )]
    pub(crate) team: Option<TeamName>,
    /// Act as a robot with this token. Safer: set PODSYNC_TOKEN, or pass `-` to read it from stdin
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
    /// With a token: keep pulled data in this folder for the next run [default: a temporary folder]
    #[arg(long, global = true, help_heading = GLOBAL, value_name = "FOLDER")]
    pub(crate) cache: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub(crate) json: bool,
    /// Do the work in this process; never start a background daemon
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub(crate) no_daemon: bool,
    /// Write a log to stderr; repeat for more detail
    #[arg(long, short, global = true, help_heading = GLOBAL, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// Log format
    #[arg(
        long,
        global = true,
        help_heading = GLOBAL,
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
    /// How long to wait for the version to be shared and for a teammate who has it [default: 20s for the teammate]
    #[arg(long, value_name = "TIME", value_parser = crate::time::length)]
    wait: Option<Duration>,
    /// Where to download from
    #[arg(long, value_enum, default_value_t)]
    source: Source,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Source {
    /// Teammates first; the team's bucket for the rest
    #[default]
    Any,
    /// Teammates only
    Peers,
    /// The team's bucket only
    Bucket,
}

impl Wait {
    pub(crate) fn time(&self) -> Duration {
        self.wait.unwrap_or(DEFAULT_WAIT)
    }

    /// With `--wait` the command also waits for a version that nobody has shared yet.
    pub(crate) fn is_until_shared(&self) -> bool {
        self.wait.is_some()
    }

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
    /// URL of the running emulator
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

/// Agreement beforehand, for scripts.
#[derive(Debug, Args)]
pub(crate) struct Yes {
    /// Answer yes to every question
    #[arg(long, short)]
    pub(crate) yes: bool,
}

/// A variable that is set but blank counts as not set, as it does for the AWS tools.
fn or_default(url: &str) -> Result<String, Infallible> {
    let given = (!url.trim().is_empty()).then_some(url);
    Ok(given.unwrap_or(DEFAULT_ENDPOINT).to_owned())
}

/// The emulator's token, from this command's own environment or from lstk; blank counts as not set.
pub(crate) fn auth_token() -> Option<AuthToken> {
    let token = std::env::var("LOCALSTACK_AUTH_TOKEN").ok();
    let token = token.filter(|token| !token.is_empty());
    token.map(AuthToken::new).or_else(lstk::auth_token)
}

pub(crate) fn absolute(path: PathBuf) -> Result<PathBuf, ApiError> {
    std::path::absolute(&path).map_err(|error| {
        ApiError::new(
            ErrorCode::Invalid,
            format!("{} is not a usable path: {error}", path.display()),
        )
        .hint("give another path")
    })
}

//! `podsync save`: a state becomes a version.

use std::{convert::Infallible, path::PathBuf};

use clap::Args;
use podsync_api::{ApiError, ErrorCode, pods};
use podsync_core::PodName;

use crate::{
    arguments::Global,
    command::{call, config::settings},
    connect::Needs,
    output::{Printer, bytes, printable},
};

/// Where LocalStack listens unless it is told otherwise.
const DEFAULT_ENDPOINT: &str = "http://localhost:4566";

#[derive(Debug, Args)]
pub(crate) struct Save {
    /// The pod that gets the version
    pod: PodName,
    /// What is in it, for teammates
    #[arg(short, long, default_value = "")]
    message: String,
    /// A folder, a `.snapshot` or `.zip`, or any file, instead of a running emulator
    #[arg(long, value_name = "PATH", conflicts_with = "endpoint")]
    from: Option<PathBuf>,
    #[command(flatten)]
    endpoint: Endpoint,
    /// Only these services
    #[arg(long, value_delimiter = ',', value_name = "S3,SQS")]
    services: Vec<String>,
    /// Share it at once
    #[arg(long)]
    share: bool,
    /// With --share: return when it is in the team's bucket
    #[arg(long, requires = "share")]
    wait: bool,
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

pub(crate) async fn run(global: &Global, printer: &Printer, save: Save) -> Result<(), ApiError> {
    let from = match save.from {
        Some(path) => pods::StateSource::Path(absolute(path)?),
        None => pods::StateSource::Endpoint(save.endpoint.url),
    };
    let request = pods::Save {
        pod: save.pod,
        message: save.message,
        from,
        services: save.services,
        share: save.share,
        durable: save.wait,
    };
    let shares = save.share || settings(global)?.shares_by_itself(&request.pod);
    let needs = if shares { Needs::Network } else { Needs::Home };
    let saved = call(global, printer, needs, &request).await?;
    for (service, reason) in &saved.failed {
        printer.warn(format_args!(
            "{} is not in it: {}",
            printable(service),
            printable(reason)
        ));
    }
    printer.result(&saved, |saved| {
        let mut text = if saved.unchanged {
            format!("unchanged: {} holds this state already", saved.reference)
        } else {
            format!(
                "saved {} ({} entries, {}; {} new)",
                saved.reference,
                saved.entries,
                bytes(saved.state_len),
                bytes(saved.new_len)
            )
        };
        if let Some(shared) = &saved.shared {
            text.push('\n');
            text.push_str(&super::share::words(shared));
        }
        text
    });
    Ok(())
}

pub(crate) fn absolute(path: PathBuf) -> Result<PathBuf, ApiError> {
    std::path::absolute(&path)
        .map_err(|error| ApiError::new(ErrorCode::Invalid, format!("{}: {error}", path.display())))
}

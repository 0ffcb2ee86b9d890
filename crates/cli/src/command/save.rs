//! `podsync save`: a state becomes a version.

use std::path::PathBuf;

use clap::Args;
use podsync_api::{ApiError, pods};
use podsync_core::PodName;

use crate::{
    arguments::{Endpoint, absolute},
    call::call,
    command::share,
    context::{Context, Needs},
    output::{bytes, printable},
};

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

pub(crate) async fn run(context: &Context, save: Save) -> Result<(), ApiError> {
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
    let shares = save.share || context.settings()?.shares_by_itself(&request.pod);
    let needs = if shares { Needs::Network } else { Needs::Home };
    let saved = call(context, needs, &request).await?;
    for (service, reason) in &saved.failed {
        context.printer.warn(format_args!(
            "{} is not in it: {}",
            printable(service),
            printable(reason)
        ));
    }
    context.printer.result(&saved, |saved| {
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
            text.push_str(&share::words(shared));
        }
        text
    });
    Ok(())
}

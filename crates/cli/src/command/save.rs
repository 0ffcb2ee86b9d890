//! `podsync save`: a state becomes a version.

use std::{collections::BTreeSet, path::PathBuf};

use clap::Args;
use clap_complete::ArgValueCandidates;
use podsync_api::{ApiError, pods};
use podsync_core::PodName;

use crate::{
    arguments::{Endpoint, Yes, absolute, auth_token},
    call::call_agreed,
    command::share,
    complete,
    context::{Connection, Context, Needs},
    output::{bytes, count, printable},
};

#[derive(Debug, Args)]
pub(crate) struct Save {
    /// Name of the pod
    #[arg(add = ArgValueCandidates::new(complete::pods))]
    pub(crate) pod: PodName,
    /// Message for teammates: what this version is
    #[arg(short, long, default_value = "")]
    message: String,
    /// Save this folder, `.snapshot`, `.zip` or other file instead of a running emulator's state
    #[arg(long, value_name = "PATH", conflicts_with_all = ["endpoint", "services"])]
    from: Option<PathBuf>,
    #[command(flatten)]
    endpoint: Endpoint,
    /// Save only these services of the emulator
    #[arg(long, value_delimiter = ',', value_name = "S3,SQS")]
    services: Vec<String>,
    /// Also share the version
    #[arg(long)]
    pub(crate) share: bool,
    /// With --share: wait until the version is in the team's bucket
    #[arg(long, requires = "share")]
    wait: bool,
    #[command(flatten)]
    agree: Yes,
    /// Also save a podsync ticket, token or key that is in the state or in the message
    #[arg(long)]
    allow_secrets: bool,
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
        token: auth_token(),
        services: save.services,
        share: save.share,
        durable: save.wait,
        consents: BTreeSet::new(),
        allow_secrets: save.allow_secrets,
    };
    let needs = match save.share {
        true => Needs::Network,
        false => Needs::Home,
    };
    let saved = call_agreed(context, needs, request, save.agree.yes).await?;
    share::warn(&context.printer, &saved.warnings);
    if saved.shared.is_some() && needs == Needs::Home && !context.global.no_daemon {
        // The settings share this pod by every save: a daemon has to stay, so that teammates can fetch it.
        Connection::open(context, Needs::Network)
            .await?
            .close()
            .await;
    }
    for (service, reason) in &saved.failed {
        context.printer.warn(format_args!(
            "{} was not saved: {}",
            printable(service),
            printable(reason)
        ));
    }
    for work in &saved.under_way {
        context.printer.warn(format_args!(
            "{}: {} {} under way; it ends, with a cause, where this is loaded",
            printable(&work.service),
            work.count,
            printable(&work.kind)
        ));
    }
    context.printer.result(&saved, |saved| {
        let mut text = if saved.unchanged {
            format!(
                "Nothing changed: {} is this state already.",
                saved.reference
            )
        } else {
            format!(
                "Saved {} ({}, {}, {} new).",
                saved.reference,
                count(saved.entries as usize, "file"),
                bytes(saved.state_len),
                bytes(saved.new_len)
            )
        };
        if let Some(shared) = &saved.shared {
            text.push('\n');
            text.push_str(&share::words(shared));
        }
        text
    })
}

//! `podsync share`: shares a private version with the team.

use std::collections::BTreeSet;

use clap::Args;
use clap_complete::ArgValueCompleter;
use podsync_api::{ApiError, pods};

use crate::{
    arguments::Yes,
    call::call_agreed,
    complete,
    context::{Context, Needs},
    output::Printer,
};

#[derive(Debug, Args)]
pub(crate) struct Share {
    /// Version, such as `orders:+1`, or a pod: its newest version that is not shared yet
    #[arg(add = ArgValueCompleter::new(complete::references))]
    pub(crate) reference: String,
    /// Wait until the version is in the team's bucket
    #[arg(long)]
    wait: bool,
    #[command(flatten)]
    agree: Yes,
}

pub(crate) async fn run(context: &Context, share: Share) -> Result<(), ApiError> {
    let request = pods::Share {
        reference: share.reference,
        durable: share.wait,
        consents: BTreeSet::new(),
    };
    let shared = call_agreed(context, Needs::Network, request, share.agree.yes).await?;
    warn(&context.printer, &shared.warnings);
    context.printer.result(&shared, words)
}

pub(super) fn words(shared: &pods::Shared) -> String {
    let reference = &shared.reference;
    let mut text = if shared.already {
        format!("{reference} was shared already.")
    } else {
        format!("Shared {reference}.")
    };
    text.push_str(&match shared.peers {
        0 => " No teammate is online: they hear of it when they connect.".to_owned(),
        1 => " 1 teammate's device heard of it.".to_owned(),
        devices => format!(" {devices} teammates' devices heard of it."),
    });
    text.push_str(match shared.durable {
        None => "",
        Some(true) => " It is in the team's bucket.",
        Some(false) => {
            " It is not known to be in the team's bucket yet: `podsync status` shows the upload."
        }
    });
    text
}

/// Prints what the daemon noticed on the way.
pub(super) fn warn(printer: &Printer, warnings: &[String]) {
    for warning in warnings {
        printer.warn(warning);
    }
}

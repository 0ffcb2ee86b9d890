//! `podsync share`: what is private becomes the team's.

use clap::Args;
use podsync_api::{ApiError, pods};

use crate::{
    call::call,
    context::{Context, Needs},
};

#[derive(Debug, Args)]
pub(crate) struct Share {
    /// A pod (its newest private version) or a version: `orders`, `orders:+1`
    reference: String,
    /// Return when it is in the team's bucket
    #[arg(long)]
    wait: bool,
}

pub(crate) async fn run(context: &Context, share: Share) -> Result<(), ApiError> {
    let request = pods::Share {
        reference: share.reference,
        durable: share.wait,
    };
    let shared = call(context, Needs::Network, &request).await?;
    context.printer.result(&shared, words);
    Ok(())
}

pub(super) fn words(shared: &pods::Shared) -> String {
    let verb = if shared.already {
        "was shared already as"
    } else {
        "shared"
    };
    let peers = match shared.peers {
        0 => "no teammate is connected; whoever connects while this daemon runs hears of it"
            .to_owned(),
        1 => "1 teammate's device told".to_owned(),
        n => format!("{n} teammates' devices told"),
    };
    let bucket = match shared.durable {
        None => "",
        Some(true) => "; in the team's bucket",
        Some(false) => "; not in the team's bucket yet, `podsync status` says when",
    };
    format!("{verb} {} ({peers}{bucket})", shared.reference)
}

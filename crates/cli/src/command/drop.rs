//! `podsync drop`: a version is forgotten.

use std::collections::BTreeSet;

use clap::Args;
use clap_complete::ArgValueCompleter;
use podsync_api::{ApiError, pods};

use crate::{
    arguments::Yes,
    call::call_agreed,
    complete,
    context::{Context, Needs},
};

#[derive(Debug, Args)]
pub(crate) struct Drop {
    /// Version, such as `orders:3` or `orders:+1`
    #[arg(add = ArgValueCompleter::new(complete::references))]
    pub(crate) reference: String,
    #[command(flatten)]
    agree: Yes,
}

pub(crate) async fn run(context: &Context, drop: Drop) -> Result<(), ApiError> {
    let request = pods::DropVersion {
        reference: drop.reference,
        consents: BTreeSet::new(),
    };
    let dropped = call_agreed(context, Needs::Network, request, drop.agree.yes).await?;
    context.printer.result(&dropped, |dropped| {
        let reference = &dropped.reference;
        if dropped.shared {
            format!("Dropped {reference} for the whole team.")
        } else {
            format!("Dropped {reference}.")
        }
    })
}

//! `podsync drop`: a version is forgotten.

use clap::Args;
use podsync_api::{ApiError, pods};

use crate::{
    call::call,
    context::{Context, Needs},
};

#[derive(Debug, Args)]
pub(crate) struct Drop {
    /// One exact version: `orders:3`, `orders:+1`
    reference: String,
}

pub(crate) async fn run(context: &Context, drop: Drop) -> Result<(), ApiError> {
    let request = pods::DropVersion {
        reference: drop.reference,
    };
    let dropped = call(context, Needs::Network, &request).await?;
    context.printer.result(&dropped, |dropped| {
        let whom = if dropped.shared {
            "; teammates are told"
        } else {
            ""
        };
        format!("dropped {}{whom}", dropped.reference)
    });
    Ok(())
}

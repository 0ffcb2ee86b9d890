//! `podsync tag`: a name for a version.

use clap::Args;
use podsync_api::{ApiError, pods};
use podsync_core::TagName;

use crate::{
    call::call,
    context::{Context, Needs},
};

#[derive(Debug, Args)]
pub(crate) struct Tag {
    /// The version
    reference: String,
    /// Its name, not a number; moves if it names another version of the pod
    tag: TagName,
}

pub(crate) async fn run(context: &Context, tag: Tag) -> Result<(), ApiError> {
    let name = tag.tag.clone();
    let request = pods::Tag {
        reference: tag.reference,
        tag: tag.tag,
    };
    let version = call(context, Needs::Network, &request).await?;
    context.printer.result(&version, |version| {
        format!("{} is now tagged {name}", version.reference)
    });
    Ok(())
}

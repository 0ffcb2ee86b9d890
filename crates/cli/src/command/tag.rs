//! `podsync tag`: a name for a version.

use clap::Args;
use podsync_api::{ApiError, pods};
use podsync_core::TagName;

use crate::{arguments::Global, command::call, connect::Needs, output::Printer};

#[derive(Debug, Args)]
pub(crate) struct Tag {
    /// The version
    reference: String,
    /// Its name, not a number; moves if it names another version of the pod
    tag: TagName,
}

pub(crate) async fn run(global: &Global, printer: &Printer, tag: Tag) -> Result<(), ApiError> {
    let name = tag.tag.clone();
    let request = pods::Tag {
        reference: tag.reference,
        tag: tag.tag,
    };
    let version = call(global, printer, Needs::Network, &request).await?;
    printer.result(&version, |version| {
        format!("{} is now tagged {name}", version.reference)
    });
    Ok(())
}

//! `podsync tag`: a name for a version.

use clap::Args;
use clap_complete::ArgValueCompleter;
use podsync_api::{ApiError, pods};
use podsync_core::TagName;

use crate::{
    call::call,
    complete,
    context::{Context, Needs},
};

#[derive(Debug, Args)]
pub(crate) struct Tag {
    /// Version, such as `orders:3`
    #[arg(add = ArgValueCompleter::new(complete::references))]
    pub(crate) reference: String,
    /// The tag. It must not be a number. If another version of the pod has it, it moves to this one
    #[arg(add = ArgValueCompleter::new(complete::tags))]
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
        format!("{} now has the tag {name}.", version.reference)
    })
}

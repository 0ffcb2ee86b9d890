//! `podsync config`: the settings in force and where they can be changed.

use clap::Args;
use podsync_api::ApiError;

use crate::context::Context;

#[derive(Debug, Args)]
pub(crate) struct Config {}

pub(crate) fn run(context: &Context, _: &Config) -> Result<(), ApiError> {
    let settings = context.settings()?;
    context.printer.result(&settings, |settings| {
        let file = settings.file();
        format!("# {}\n{}", file.display(), settings.to_toml())
    })
}

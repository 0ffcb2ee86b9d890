//! `podsync config`: the settings in force and where they can be changed.

use clap::Args;
use podsync_api::ApiError;
use podsync_daemon::{Overrides, Settings};

use crate::{arguments::Global, connect::home, output::Printer};

#[derive(Debug, Args)]
pub(crate) struct Config {}

pub(crate) fn run(global: &Global, printer: &Printer, _: &Config) -> Result<(), ApiError> {
    let settings = settings(global)?;
    printer.result(&settings, |settings| {
        let file = settings.file();
        format!("# {}\n{}", file.display(), settings.to_toml())
    });
    Ok(())
}

/// The settings of the home that is meant.
pub(super) fn settings(global: &Global) -> Result<Settings, ApiError> {
    Settings::load(&home(global)?, Overrides::default())
}

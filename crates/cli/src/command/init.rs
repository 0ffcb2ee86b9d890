//! `podsync init`: this device's key.

use clap::Args;
use podsync_api::ApiError;

use crate::{arguments::Global, connect::home, output::Printer};

#[derive(Debug, Args)]
pub(crate) struct Init {}

pub(crate) fn run(global: &Global, printer: &Printer, _: &Init) -> Result<(), ApiError> {
    let home = home(global)?;
    let made = podsync_daemon::init(&home)?;
    printer.result(&made, |made| {
        let verb = if made.already {
            "already has"
        } else {
            "now has"
        };
        format!(
            "{} {verb} a key\ndevice {}",
            made.home.display(),
            made.device
        )
    });
    if !made.already {
        printer.note("next: `podsync team create NAME`, or `podsync team join` with a ticket");
    }
    Ok(())
}

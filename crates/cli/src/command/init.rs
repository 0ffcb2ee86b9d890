//! `podsync init`: this device's key, or a home that moved.

use clap::Args;
use podsync_api::{ApiError, ErrorCode};

use crate::{
    context::Context,
    output::{Printer, ask::confirm},
};

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// This home was moved or copied here, and the old one never runs again
    #[arg(long)]
    moved: bool,
    /// Don't ask whether the old one is gone
    #[arg(long, requires = "moved")]
    yes: bool,
}

pub(crate) fn run(context: &Context, init: &Init) -> Result<(), ApiError> {
    let home = context.home()?;
    if init.moved {
        if !init.yes {
            ask(&context.printer, &home)?;
        }
        let adopted = podsync_daemon::adopt(&home)?;
        context.printer.result(&adopted, |adopted| {
            format!(
                "{} is the original from now on\ndevice {}",
                adopted.home.display(),
                adopted.device
            )
        });
        return Ok(());
    }
    let made = podsync_daemon::init(&home)?;
    context.printer.result(&made, |made| {
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
        context
            .printer
            .note("next: `podsync team create NAME`, or `podsync team join` with a ticket");
    }
    Ok(())
}

fn ask(printer: &Printer, home: &std::path::Path) -> Result<(), ApiError> {
    let statement = format!(
        "{} becomes the original; if another copy of it ever runs, teammates take both for forged",
        home.display()
    );
    match confirm(printer, &statement, "Is the other one gone for good?") {
        Some(true) => Ok(()),
        Some(false) => Err(ApiError::new(ErrorCode::Cancelled, "nothing was changed")
            .hint("`podsync init --home NEW` makes a device of its own")),
        None => Err(ApiError::new(ErrorCode::Invalid, statement)
            .hint("say --yes if the other one is gone for good")),
    }
}

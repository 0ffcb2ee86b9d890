//! `podsync init`: this device's key, or a home that moved.

use clap::Args;
use podsync_api::{ApiError, ErrorCode};

use crate::{
    context::Context,
    output::{Printer, ask::confirm},
};

#[derive(Debug, Args)]
pub(crate) struct Init {
    /// Use a home that was moved or copied here. The old copy must never run again
    #[arg(long)]
    moved: bool,
    /// Do not ask whether the old copy is gone
    #[arg(long, short, requires = "moved")]
    yes: bool,
}

pub(crate) async fn run(context: &Context, init: &Init) -> Result<(), ApiError> {
    let home = context.home()?;
    if init.moved {
        if !init.yes {
            ask(&context.printer, &home).await?;
        }
        let adopted = podsync_daemon::adopt(&home)?;
        return context.printer.result(&adopted, |adopted| {
            format!(
                "{} is now the only valid copy of this home.\ndevice {}",
                adopted.home.display(),
                adopted.device
            )
        });
    }
    let made = podsync_daemon::init(&home)?;
    context.printer.result(&made, |made| {
        let (home, device) = (made.home.display(), made.device);
        if made.already {
            format!("{home} already has a key.\ndevice {device}")
        } else {
            format!("Created a key in {home}.\ndevice {device}")
        }
    })?;
    if !made.already {
        context
            .printer
            .note("Next: `podsync team create NAME` creates a team, `podsync team join` joins one with a ticket.");
    }
    Ok(())
}

async fn ask(printer: &Printer, home: &std::path::Path) -> Result<(), ApiError> {
    let statement = format!(
        "{} becomes the only valid copy of this home. If the old copy ever runs again, teammates stop trusting this device.",
        home.display()
    );
    match confirm(printer, &statement, "Is the old copy gone for good?").await {
        Some(true) => Ok(()),
        Some(false) => Err(ApiError::new(ErrorCode::Cancelled, "nothing was changed")
            .hint("to set up a new device instead, run `podsync init --home FOLDER`")),
        None => Err(ApiError::new(ErrorCode::Unconfirmed, statement)
            .hint("add --yes if the old copy is gone for good")),
    }
}

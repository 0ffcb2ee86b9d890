//! `podsync restart`: restarts the daemon by way of whatever keeps it running.

use clap::Args;
use podsync_api::ApiError;

use crate::context::Context;

#[derive(Debug, Args)]
pub(crate) struct Restart {}

pub(crate) async fn run(context: &Context, _: &Restart) -> Result<(), ApiError> {
    let status = context.restart_daemon().await?;
    context.printer.result(&status, |status| {
        format!("Restarted the daemon (pid {}).", status.pid)
    })
}

//! `podsync stop`: ends this home's daemon in good order.

use clap::Args;
use podsync_api::{ApiError, node::Stopping};

use crate::context::Context;

#[derive(Debug, Args)]
pub(crate) struct Stop {}

pub(crate) async fn run(context: &Context, _: &Stop) -> Result<(), ApiError> {
    let Some(pid) = context.stop_daemon().await? else {
        context.printer.note("No daemon is running.");
        return Ok(());
    };
    context.printer.result(&Stopping { pid }, |stopping| {
        format!("Stopped the daemon (pid {}).", stopping.pid)
    })
}

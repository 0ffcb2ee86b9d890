//! `podsync stop`: ends this home's daemon in good order.

use clap::Args;
use podsync_api::ApiError;

use crate::context::Context;

#[derive(Debug, Args)]
pub(crate) struct Stop {}

pub(crate) async fn run(context: &Context, _: &Stop) -> Result<(), ApiError> {
    let Some(client) = context.running().await? else {
        context.printer.note("No daemon is running.");
        return Ok(());
    };
    let stopping = client.call(&podsync_api::node::Stop {}).await?;
    podsync_daemon::wait_until_free(&context.home()?).await?;
    context.printer.result(&stopping, |stopping| {
        format!("Stopped the daemon (pid {}).", stopping.pid)
    })
}

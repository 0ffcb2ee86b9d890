//! `podsync stop`: ends this home's daemon in good order.

use clap::Args;
use podsync_api::ApiError;

use crate::{
    arguments::Global,
    connect::{home, running},
    output::Printer,
};

#[derive(Debug, Args)]
pub(crate) struct Stop {}

pub(crate) async fn run(global: &Global, printer: &Printer, _: &Stop) -> Result<(), ApiError> {
    let home = home(global)?;
    let Some(client) = running(&home).await? else {
        printer.note("no daemon runs");
        return Ok(());
    };
    let stopping = client.call(&podsync_api::node::Stop {}).await?;
    podsync_daemon::wait_until_free(&home).await?;
    printer.result(&stopping, |stopping| {
        format!("stopped the daemon (pid {})", stopping.pid)
    });
    Ok(())
}

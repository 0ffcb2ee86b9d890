//! `podsync stop`: ends this home's daemon in good order.

use clap::Args;
use podsync_api::{ApiError, ErrorCode};

use crate::context::Context;

#[derive(Debug, Args)]
pub(crate) struct Stop {}

pub(crate) async fn run(context: &Context, _: &Stop) -> Result<(), ApiError> {
    let Some(client) = context.running().await? else {
        // Its socket may be gone while it still runs: the lock on the home tells.
        if let Some(holder) = podsync_daemon::holder(&context.home()?)? {
            let text = format!("{holder} holds this home and does not answer: its socket is gone");
            return Err(ApiError::new(ErrorCode::Busy, text)
                .hint("end it by its process id, with `kill PID`: it finishes what it writes"));
        }
        context.printer.note("No daemon is running.");
        return Ok(());
    };
    let stopping = client.call(&podsync_api::node::Stop {}).await?;
    podsync_daemon::wait_until_free(&context.home()?).await?;
    context.printer.result(&stopping, |stopping| {
        format!("Stopped the daemon (pid {}).", stopping.pid)
    })
}

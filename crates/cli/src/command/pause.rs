//! `podsync pause` and `podsync resume`.

use std::time::{Duration, SystemTime};

use clap::Args;
use podsync_api::{ApiError, node};

use crate::{
    call::call,
    context::{Context, Needs},
    output::duration,
};

#[derive(Debug, Args)]
pub(crate) struct Pause {
    /// End the pause by itself after this time, such as 1h
    #[arg(long = "for", value_name = "TIME", value_parser = crate::time::some_length)]
    time: Option<Duration>,
}

#[derive(Debug, Args)]
pub(crate) struct Resume {}

pub(crate) async fn run(context: &Context, pause: Pause) -> Result<(), ApiError> {
    let request = node::Pause {
        for_s: pause.time.map(|time| time.as_secs().max(1)),
    };
    let paused = call(context, Needs::Home, &request).await?;
    context.printer.result(&paused, |paused| {
        format!(
            "Paused {}: nothing is fetched, served or uploaded.",
            how_long(paused)
        )
    })?;
    context
        .printer
        .note("A restart does not end the pause. `podsync resume` does.");
    Ok(())
}

pub(crate) async fn resume(context: &Context, _: &Resume) -> Result<(), ApiError> {
    let resumed = call(context, Needs::Home, &node::Resume {}).await?;
    context.printer.result(&resumed, |resumed| {
        match resumed.was_paused {
            true => "The pause is over.",
            false => "There was no pause.",
        }
        .to_owned()
    })
}

/// `for 42 minutes`, `until you resume`.
pub(crate) fn how_long(paused: &node::Paused) -> String {
    let Some(until) = paused.until_ms else {
        return "until you resume".to_owned();
    };
    let end = SystemTime::UNIX_EPOCH + Duration::from_millis(until);
    let left = end.duration_since(SystemTime::now()).unwrap_or_default();
    // A pause of an hour is one of an hour when it begins, too.
    let left = Duration::from_secs(left.as_millis().div_ceil(1000) as u64);
    format!("for {}", duration(left))
}

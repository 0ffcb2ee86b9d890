//! `podsync autosave` and `restore`: an instance's state outlives its restart.

use std::time::Duration;

use clap::Args;
use clap_complete::ArgValueCandidates;
use podsync_api::{ApiError, follow};
use podsync_core::PodName;

use crate::{
    arguments::{Endpoint, auth_token},
    call::{call, call_agreed},
    command::load::{self, LoadConsents, Merge, account_for},
    complete,
    context::{Context, Needs},
    output::{ago, count, duration},
};

#[derive(Debug, Args)]
pub(crate) struct Autosave {
    /// Pod that gets the private versions
    #[arg(add = ArgValueCandidates::new(complete::pods))]
    pod: PodName,
    /// Save this often while the emulator's state changes
    #[arg(long, value_name = "TIME", value_parser = crate::time::some_length, required_unless_present_any = ["on_stop", "off"])]
    every: Option<Duration>,
    /// Save when `podsync run-hook shutdown` says that the emulator is about to stop
    #[arg(long)]
    on_stop: bool,
    /// Save no longer. What was saved stays
    #[arg(long, conflicts_with_all = ["every", "on_stop", "keep"])]
    off: bool,
    /// How many autosaves to keep [default: 10]
    #[arg(long, value_name = "N")]
    keep: Option<usize>,
    #[command(flatten)]
    endpoint: Endpoint,
}

#[derive(Debug, Args)]
pub(crate) struct Restore {
    /// Pod whose newest autosave to load
    #[arg(add = ArgValueCandidates::new(complete::pods))]
    pub(crate) pod: PodName,
    #[command(flatten)]
    endpoint: Endpoint,
    /// How to combine the autosave with the emulator's current state
    #[arg(long, value_enum, default_value_t = Merge::Overwrite)]
    merge: Merge,
    #[command(flatten)]
    pub(crate) consents: LoadConsents,
}

pub(crate) async fn run(context: &Context, command: Autosave) -> Result<(), ApiError> {
    if command.off {
        let request = follow::StopAutosave { pod: command.pod };
        let stopped = call(context, Needs::Home, &request).await?;
        return context.printer.result(&stopped, |stopped| {
            let kept = count(stopped.versions, "autosave");
            format!("{} is saved no longer. Kept: {kept}.", stopped.pod)
        });
    }
    let request = follow::Autosave {
        pod: command.pod,
        endpoint: command.endpoint.url,
        every_s: command.every.map(|every| every.as_secs()),
        on_stop: command.on_stop,
        keep: command.keep,
    };
    let autosaved = call(context, Needs::Network, &request).await?;
    context.printer.result(&autosaved, |autosaved| {
        format!(
            "The daemon saves {} to {} {} and keeps {}.",
            autosaved.endpoint,
            autosaved.pod,
            times(autosaved),
            count(autosaved.keep, "autosave")
        )
    })
}

/// `every 10 minutes and when it stops`.
pub(crate) fn times(autosaved: &follow::Autosaved) -> String {
    let every = autosaved
        .every_s
        .map(|every| format!("every {}", duration(Duration::from_secs(every))));
    let on_stop = autosaved.on_stop.then(|| "when it stops".to_owned());
    let times: Vec<_> = every.into_iter().chain(on_stop).collect();
    times.join(" and ")
}

pub(crate) async fn restore(context: &Context, command: Restore) -> Result<(), ApiError> {
    let request = follow::Restore {
        pod: Some(command.pod),
        endpoint: command.endpoint.url,
        token: auth_token(),
        merge: command.merge.to_string(),
        consents: command.consents.consents(),
        once: false,
    };
    let restored = call_agreed(context, Needs::Home, request, command.consents.is_yes()).await?;
    context.printer.result(&restored, words)?;
    match &restored.loaded {
        Some(loaded) => account_for(&context.printer, &loaded.failed),
        None => Ok(()),
    }
}

/// The result, if there was something to restore.
pub(crate) fn words(restored: &follow::Restored) -> String {
    let Some(loaded) = &restored.loaded else {
        return String::new();
    };
    if loaded.already {
        return format!("The emulator already has {}.", loaded.reference);
    }
    let saved = restored.saved_ms.map(ago).unwrap_or_default();
    format!("{} It was saved {saved}.", load::words(loaded))
}

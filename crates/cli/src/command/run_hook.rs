//! `podsync run-hook`: for scripts that an emulator or compose runs at its start.
//!
//! Hooks are run again and again; a run of an emulator that got the version already is left alone.

use std::time::Duration;

use backon::{ConstantBuilder, Retryable};
use clap::{Args, ValueEnum};
use podsync_api::{ApiError, pods};

use crate::{
    arguments::Endpoint,
    call::call_agreed,
    command::load::{self, Agree, Merge, account_for},
    context::{Context, Needs},
};

const POLL: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(crate) struct RunHook {
    /// Event that the emulator reports
    #[arg(value_enum)]
    hook: Hook,
    /// Version to load, such as `orders:baseline`. Without one the command does nothing
    #[arg(long, env = "PODSYNC_LOAD", value_name = "REFERENCE")]
    load: Option<String>,
    #[command(flatten)]
    endpoint: Endpoint,
    /// How to combine the version with the emulator's current state
    #[arg(long, value_enum, default_value_t)]
    merge: Merge,
    /// How long to wait for the emulator, and then for the version
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    agree: Agree,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Hook {
    /// The emulator is ready: load the version
    Ready,
}

pub(crate) async fn run(context: &Context, run: RunHook) -> Result<(), ApiError> {
    let Hook::Ready = run.hook;
    let Some(reference) = run.load.filter(|reference| !reference.is_empty()) else {
        context
            .printer
            .note("PODSYNC_LOAD is not set, so podsync loads nothing.");
        return Ok(());
    };
    let url = run.endpoint.url;
    let tries = run.timeout.as_millis() / POLL.as_millis();
    let policy = ConstantBuilder::default()
        .with_delay(POLL)
        .with_max_times(usize::try_from(tries).unwrap_or(usize::MAX));
    let token = crate::arguments::auth_token();
    let ready = || async {
        match podsync_daemon::instance_can_be_saved(&url, token.as_ref()).await {
            true => Ok(()),
            false => Err(()),
        }
    };
    // Why it never was is told by the load itself.
    let _ = ready.retry(policy).await;
    let request = pods::Load {
        reference,
        endpoint: url.clone(),
        token: token.clone(),
        merge: run.merge.to_string(),
        wait_s: run.timeout.as_secs(),
        until_shared: true,
        sources: pods::Sources::Any,
        services: Vec::new(),
        consents: run.agree.consents(),
        once: true,
    };
    let loaded = call_agreed(context, Needs::Network, request, run.agree.is_yes()).await?;
    context.printer.result(&loaded, |loaded| {
        if loaded.already {
            format!("The emulator at {url} already has {}.", loaded.reference)
        } else {
            load::words(loaded)
        }
    })?;
    account_for(&context.printer, &loaded.failed)
}

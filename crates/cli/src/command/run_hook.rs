//! `podsync run-hook`: for scripts that an emulator or compose runs at its start.
//!
//! Hooks are run again and again; a run of an emulator that got the version already is left alone.

use std::time::Duration;

use backon::{ConstantBuilder, Retryable};
use clap::{Args, ValueEnum};
use podsync_api::{ApiError, Consent, pods};

use crate::{
    arguments::Endpoint,
    call::call,
    command::load::{Merge, account_for},
    context::{Context, Needs},
};

const POLL: Duration = Duration::from_millis(500);

#[derive(Debug, Args)]
pub(crate) struct RunHook {
    /// Which moment of the emulator's life it is
    #[arg(value_enum)]
    hook: Hook,
    /// The pinned version, as `orders:baseline`; nothing is done without one
    #[arg(long, env = "PODSYNC_LOAD", value_name = "REFERENCE")]
    load: Option<String>,
    #[command(flatten)]
    endpoint: Endpoint,
    /// What happens to what is there
    #[arg(long, value_enum, default_value_t)]
    merge: Merge,
    /// How long the emulator, and then whoever has the version, may take to be there
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = humantime::parse_duration)]
    pub(crate) timeout: Duration,
    /// Load what was made on a device of which nothing was loaded here before
    #[arg(long)]
    new_signer: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Hook {
    /// The emulator serves: load the pinned version
    Ready,
}

pub(crate) async fn run(context: &Context, run: RunHook) -> Result<(), ApiError> {
    let Hook::Ready = run.hook;
    let Some(reference) = run.load.filter(|reference| !reference.is_empty()) else {
        context
            .printer
            .note("PODSYNC_LOAD names no version: nothing is loaded");
        return Ok(());
    };
    let url = run.endpoint.url;
    let tries = run.timeout.as_millis() / POLL.as_millis();
    let policy = ConstantBuilder::default()
        .with_delay(POLL)
        .with_max_times(usize::try_from(tries).unwrap_or(usize::MAX));
    let ready = || async {
        match podsync_daemon::instance_can_be_saved(&url).await {
            true => Ok(()),
            false => Err(()),
        }
    };
    // Why it never was is told by the load itself.
    let _ = ready.retry(policy).await;
    let consents = run.new_signer.then_some(Consent::NewSigner);
    let request = pods::Load {
        reference,
        endpoint: url.clone(),
        merge: run.merge.to_string(),
        wait_s: run.timeout.as_secs(),
        sources: pods::Sources::Any,
        services: Vec::new(),
        consents: consents.into_iter().collect(),
        once: true,
    };
    let loaded = call(context, Needs::Network, &request).await?;
    context.printer.result(&loaded, |loaded| {
        if loaded.already {
            format!("{url} holds {} already", loaded.reference)
        } else {
            format!("loaded {}: {}", loaded.reference, loaded.applied.join(", "))
        }
    });
    account_for(&context.printer, &loaded.failed)
}

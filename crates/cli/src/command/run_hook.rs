//! `podsync run-hook`: for scripts that an emulator or compose runs at its start.
//!
//! Hooks are run again and again; a run of an emulator that got the version already is left alone.

use std::time::Duration;

use backon::{ConstantBuilder, Retryable};
use clap::{Args, ValueEnum};
use podsync_api::{ApiError, ErrorCode, follow, pods};

use crate::{
    arguments::{Endpoint, auth_token},
    call::{call, call_agreed},
    command::{
        autosave,
        load::{self, LoadConsents, Merge, account_for},
    },
    context::{Context, Needs},
};

const POLL: Duration = Duration::from_millis(500);
const NOTHING_TO_LOAD: &str = "PODSYNC_LOAD is not set, and the setting `auto_restore` names no pod with an autosave of \
     this emulator, so podsync loads nothing.";

#[derive(Debug, Args)]
pub(crate) struct RunHook {
    /// Event that the emulator reports
    #[arg(value_enum)]
    hook: Hook,
    /// Version to load, such as `orders:baseline` [default: the newest autosave that the setting `auto_restore`
    /// allows, or nothing]
    #[arg(long, env = "PODSYNC_LOAD", value_name = "REFERENCE")]
    load: Option<String>,
    #[command(flatten)]
    endpoint: Endpoint,
    /// How to combine the version with the emulator's current state
    #[arg(long, value_enum, default_value_t)]
    merge: Merge,
    /// How long to wait for the emulator, and then for the version
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = crate::time::length)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    consents: LoadConsents,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Hook {
    /// The emulator is ready: load the version, or the autosave that the setting `auto_restore` names
    Ready,
    /// The emulator is about to stop: save what `podsync autosave --on-stop` said
    Stopping,
}

pub(crate) async fn run(context: &Context, run: RunHook) -> Result<(), ApiError> {
    match run.hook {
        Hook::Ready => ready(context, run).await,
        Hook::Stopping => stopping(context, run).await,
    }
}

async fn stopping(context: &Context, run: RunHook) -> Result<(), ApiError> {
    let request = follow::SaveBeforeStop {
        endpoint: run.endpoint.url,
        token: auth_token(),
    };
    let saved = call(context, Needs::Home, &request).await?;
    context
        .printer
        .result(&saved, |saved| match &saved.references[..] {
            [] => "Nothing is set to be saved when this emulator stops, or nothing is in it."
                .to_owned(),
            references => format!("Saved: {}.", references.join(", ")),
        })
}

async fn ready(context: &Context, run: RunHook) -> Result<(), ApiError> {
    match run.load.clone().filter(|reference| !reference.is_empty()) {
        Some(reference) => {
            wait_until_ready(&run).await;
            load_version(context, run, reference).await
        }
        None if may_restore(context).await => restore(context, run).await,
        None => {
            context.printer.note(NOTHING_TO_LOAD);
            Ok(())
        }
    }
}

/// The load itself reports why the emulator never became ready.
async fn wait_until_ready(run: &RunHook) {
    let url = &run.endpoint.url;
    let tries = run.timeout.as_millis() / POLL.as_millis();
    let policy = ConstantBuilder::default()
        .with_delay(POLL)
        .with_max_times(usize::try_from(tries).unwrap_or(usize::MAX));
    let token = auth_token();
    let ready = || async {
        match podsync_daemon::instance_can_be_saved(url, token.as_ref()).await {
            true => Ok(()),
            false => Err(()),
        }
    };
    let _ = ready.retry(policy).await;
}

/// Whether there may be an autosave to give back; a hook where nothing is set up does nothing.
async fn may_restore(context: &Context) -> bool {
    if context.is_robot() {
        return false;
    }
    let runs = context.running().await;
    let says = |settings: podsync_daemon::Settings| settings.restores_by_itself();
    runs.is_ok_and(|client| client.is_some()) || context.settings().is_ok_and(says)
}

/// The daemon's settings decide what to restore: this command may run where only the daemon's socket is.
async fn restore(context: &Context, run: RunHook) -> Result<(), ApiError> {
    let request = follow::Restore {
        pod: None,
        endpoint: run.endpoint.url.clone(),
        token: auth_token(),
        merge: Merge::Overwrite.to_string(),
        consents: run.consents.consents(),
        once: true,
    };
    let ask = |request: follow::Restore| {
        call_agreed(context, Needs::Home, request, run.consents.is_yes())
    };
    let restored = match ask(request.clone()).await {
        // Now it is known that there is something to wait for.
        Err(error) if error.code == ErrorCode::Instance => {
            wait_until_ready(&run).await;
            ask(request).await?
        }
        outcome => outcome?,
    };
    let Some(loaded) = &restored.loaded else {
        context.printer.note(NOTHING_TO_LOAD);
        return Ok(());
    };
    context.printer.result(&restored, autosave::words)?;
    account_for(&context.printer, &loaded.failed)
}

async fn load_version(context: &Context, run: RunHook, reference: String) -> Result<(), ApiError> {
    let url = run.endpoint.url;
    let request = pods::Load {
        reference,
        endpoint: url.clone(),
        token: auth_token(),
        merge: run.merge.to_string(),
        wait_s: run.timeout.as_secs(),
        until_shared: true,
        sources: pods::Sources::Any,
        services: Vec::new(),
        consents: run.consents.consents(),
        once: true,
    };
    let loaded = call_agreed(context, Needs::Network, request, run.consents.is_yes()).await?;
    context.printer.result(&loaded, |loaded| {
        if loaded.already {
            format!("The emulator at {url} already has {}.", loaded.reference)
        } else {
            load::words(loaded)
        }
    })?;
    account_for(&context.printer, &loaded.failed)
}

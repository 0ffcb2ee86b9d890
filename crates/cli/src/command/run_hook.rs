//! `podsync run-hook`: for scripts that an emulator or compose runs at its start.
//!
//! Hooks are run again and again; a run of an emulator that got the versions already is left alone.

mod wanted;

use std::{collections::BTreeSet, path::PathBuf, time::Duration};

use backon::{ConstantBuilder, Retryable};
use clap::{Args, ValueEnum};
use podsync_api::{ApiError, ErrorCode, follow, pods};
use podsync_core::PodName;

use self::wanted::Wanted;
use crate::{
    arguments::{Endpoint, auth_token},
    call::{call, call_agreed, call_agreed_over, call_over},
    command::{
        autosave,
        load::{self, LoadConsents, Merge, account_for},
    },
    context::{Connection, Context, Needs},
};

const POLL: Duration = Duration::from_millis(500);
const NOTHING_TO_LOAD: &str = "Neither PODSYNC_LOAD nor PODSYNC_INIT_PODS names anything, and the setting `auto_restore` \
     names no pod with an autosave of this emulator, so podsync loads nothing.";

#[derive(Debug, Args)]
pub(crate) struct RunHook {
    /// Event that the emulator reports
    #[arg(value_enum)]
    hook: Hook,
    /// Versions to load, in this order, such as `base:baseline, orders` [default: the newest autosave that the
    /// setting `auto_restore` allows, or nothing]
    #[arg(long, env = "PODSYNC_LOAD", value_name = "REFERENCES")]
    load: Option<String>,
    /// Folder with more to load, by the names of its files: states in `.snapshot` files, and lists of versions in
    /// other files
    #[arg(long, env = "PODSYNC_INIT_PODS", value_name = "FOLDER")]
    init_pods: Option<PathBuf>,
    #[command(flatten)]
    endpoint: Endpoint,
    /// How to combine each version with what is in the emulator by then
    #[arg(long, env = "PODSYNC_MERGE", value_enum, default_value_t)]
    merge: Merge,
    /// How long to wait for the emulator, and then for each version
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = crate::time::length)]
    pub(crate) timeout: Duration,
    #[command(flatten)]
    consents: LoadConsents,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Hook {
    /// The emulator is ready: load the versions, or the autosave that the setting `auto_restore` names
    Ready,
    /// The emulator is about to stop: save what `podsync autosave --on-stop` said
    #[value(alias = "stopping")]
    Shutdown,
}

pub(crate) async fn run(context: &Context, run: RunHook) -> Result<(), ApiError> {
    match run.hook {
        Hook::Ready => ready(context, run).await,
        Hook::Shutdown => shutdown(context, run).await,
    }
}

async fn shutdown(context: &Context, run: RunHook) -> Result<(), ApiError> {
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
    let wanted = wanted::in_order(run.load.as_deref(), run.init_pods.as_deref())?;
    if wanted.is_empty() {
        if may_restore(context).await {
            return restore(context, run).await;
        }
        context.printer.note(NOTHING_TO_LOAD);
        return Ok(());
    }
    if wanted.len() > 1 && matches!(run.merge, Merge::Overwrite) {
        let text = format!(
            "with --merge overwrite only the last of these {} versions would stay in the emulator",
            wanted.len()
        );
        return Err(ApiError::new(ErrorCode::Invalid, text)
            .hint("name one version, or give another --merge"));
    }
    wait_until_ready(&run).await;
    let connection = Connection::open(context, Needs::Network).await?;
    let loaded = load_in_order(&connection, &run, wanted).await;
    connection.close().await;
    loaded
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

/// Loads one after the other, and stops at the first that fails.
async fn load_in_order(
    connection: &Connection<'_>,
    run: &RunHook,
    wanted: Vec<Wanted>,
) -> Result<(), ApiError> {
    let mut done = Vec::new();
    for one in wanted {
        match load_one(connection, run, one).await {
            Ok(reference) => done.push(reference),
            Err(error) if done.is_empty() => return Err(error),
            Err(error) => {
                let message = format!(
                    "{}; loaded before it, and still there: {}",
                    error.message,
                    done.join(", ")
                );
                return Err(ApiError { message, ..error });
            }
        }
    }
    Ok(())
}

/// Loads a version, says so, and returns its exact reference.
async fn load_one(
    connection: &Connection<'_>,
    run: &RunHook,
    wanted: Wanted,
) -> Result<String, ApiError> {
    let reference = match wanted {
        Wanted::Version(reference) => reference,
        Wanted::File { path, pod } => kept(connection, path, pod).await?,
    };
    let url = &run.endpoint.url;
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
    let loaded = call_agreed_over(connection, request, run.consents.is_yes()).await?;
    let printer = &connection.context.printer;
    printer.line(&loaded, |loaded| {
        if loaded.already {
            format!("The emulator at {url} already has {}.", loaded.reference)
        } else {
            load::words(loaded)
        }
    })?;
    account_for(printer, &loaded.failed)?;
    Ok(loaded.reference)
}

/// Saves a file's state as a private version, if the pod doesn't have it yet. Returns its reference.
async fn kept(
    connection: &Connection<'_>,
    path: PathBuf,
    pod: PodName,
) -> Result<String, ApiError> {
    let by_hand = format!(
        "`podsync save {pod} --from {}` saves it, and asks what has to be asked; then name {pod} in place of the file",
        path.display()
    );
    let request = pods::Save {
        pod,
        message: String::new(),
        from: pods::StateSource::Path(path),
        token: None,
        services: Vec::new(),
        share: false,
        durable: false,
        consents: BTreeSet::new(),
        allow_secrets: false,
    };
    match call_over(connection, &request).await {
        Ok(saved) => Ok(saved.reference),
        Err(error) if error.code == ErrorCode::Unconfirmed => Err(error.hint(by_hand)),
        Err(error) => Err(error),
    }
}

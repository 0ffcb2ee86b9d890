//! The `podsync` command: arguments to an API call to text, JSON and an exit code.
//!
//! It decides nothing: what a reference means, who is trusted and where bytes come from is the
//! daemon's to say, also when the daemon lives inside this very process.

mod arguments;
mod call;
mod command;
mod complete;
mod context;
mod dispatch;
mod done;
mod files;
mod help;
mod interruption;
mod lockfile;
mod log;
mod lstk;
mod output;
mod place;
#[cfg(test)]
mod reference;
mod requirements;
mod secret;
mod service;
#[cfg(test)]
mod snapshots;
mod time;

use std::{
    io::IsTerminal,
    path::{Path, PathBuf},
    pin::pin,
    process::ExitCode,
    time::Duration,
};

use clap::{CommandFactory, FromArgMatches};
use podsync_api::{ApiError, ErrorCode};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::{
    context::{
        Context,
        robot::{self, Scratch},
    },
    dispatch::{Arguments, Command},
    interruption::Interruption,
    log::{
        rolling::{self, Rolling},
        unstarted,
    },
    output::{Printer, is_harmless},
};

/// A command's own daemon ends within this time.
const HOSTED_GRACE: Duration = Duration::from_secs(32);
/// A command that has not heard of a signal after this time hangs. Starting a daemon takes less, also on a slow disk.
const HEARING: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    podsync_daemon::install_crypto();
    #[cfg(feature = "failpoints")]
    plant_failpoint();
    // A shell asks what could come next, and this process ends with the answer.
    clap_complete::CompleteEnv::with_factory(Arguments::command)
        .var(complete::VARIABLE)
        .complete();
    let caller = match lstk::caller() {
        Ok(caller) => caller,
        Err(error) => return Printer::new(false).fail(&error),
    };
    let program = help::laid_out(caller.defaults(Arguments::command()));
    let matches = program.clone().try_get_matches();
    let Arguments {
        mut global,
        command,
    } = match matches.and_then(|matches| Arguments::from_arg_matches(&matches)) {
        Ok(arguments) => arguments,
        Err(error) => return help_or_mistake(&help::as_typed(error, program, std::env::args_os())),
    };
    let command = command.unwrap_or(Command::Dashboard);
    global.json |= caller.wants_json();
    let printer = Printer::new(global.json).after(done::unseen(&command));
    let printer = match caller.answers_questions() {
        true => printer,
        false => printer.for_programs(),
    };
    let logs_in = command.logs_in(&global);
    let file = logs_in
        .as_deref()
        .map(|home| Rolling::new(rolling::path(home)));
    if let Err(error) = log::init(&global, command.is_daemon(), file) {
        return failed(&printer, &error, logs_in.as_deref());
    }
    let (robot, scratch) = match robot::prepare(&mut global, command.robot_use(), &printer) {
        Ok(Some((robot, scratch))) => (Some(robot), scratch),
        Ok(None) => (None, None),
        Err(error) => return failed(&printer, &error, logs_in.as_deref()),
    };
    let aside = Printer::new(global.json).on_stderr();
    let context = Context::new(global, printer, robot);
    let printer = &context.printer;
    let runtime = match tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
    {
        Ok(runtime) => runtime,
        Err(error) => {
            let error = ApiError::new(
                ErrorCode::Internal,
                format!("podsync cannot start threads: {error}"),
            );
            return failed(printer, &error, logs_in.as_deref());
        }
    };
    if !command.is_daemon() {
        let folder = scratch.as_ref().map(Scratch::path);
        runtime.spawn(end_if_deaf(context.stop.clone(), aside, folder));
    }
    let outcome = runtime.block_on(carry_out(&context, command));
    // A blocking read of a terminal or a pipe must not hold up the end.
    runtime.shutdown_background();
    if let Some(scratch) = scratch {
        scratch.remove(printer);
    }
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        // Its log has the reason already.
        Err(error) if context.course.has_served() => printer.fail(&error),
        Err(error) => failed(printer, &error, logs_in.as_deref()),
    }
}

/// Reports why the command failed. A daemon in the background that can't start tells its log, too: nobody may read its
/// stderr.
fn failed(printer: &Printer, error: &ApiError, logs_in: Option<&Path>) -> ExitCode {
    // A folder that is no home gets no log.
    if logs_in.is_some_and(podsync_daemon::is_initialised) {
        unstarted::note(error);
    }
    printer.fail(error)
}

/// What clap returns instead of arguments: the help that the user asked for, or an error.
fn help_or_mistake(error: &clap::Error) -> ExitCode {
    let json = std::env::args_os().any(|argument| argument == "--json");
    let printer = Printer::new(json);
    if !error.use_stderr() {
        let plain = !std::io::stdout().is_terminal() || std::env::var_os("NO_COLOR").is_some();
        let page = error.render();
        let page = if plain {
            page.to_string()
        } else {
            page.ansi().to_string()
        };
        return match printer.page(&page) {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => printer.fail(&error),
        };
    }
    let text = error.render().to_string();
    if !json {
        if is_harmless(&text) {
            error.exit();
        }
        // An argument may come from somebody else, so it is shown without characters that move or reorder
        // letters.
        printer.note(text.trim_end());
        return ExitCode::from(ErrorCode::Invalid.exit_code());
    }
    let text = text.strip_prefix("error: ").unwrap_or(&text).trim_end();
    let error = ApiError::new(ErrorCode::Invalid, text);
    printer.fail(&error.hint("add --help to see what the command takes"))
}

/// Runs the command, or ends it in good order at a signal.
async fn carry_out(context: &Context, command: Command) -> Result<(), ApiError> {
    let drains = command.is_daemon();
    let interruption = Interruption::of(&command);
    let mut command = pin!(dispatch::run(context, command));
    tokio::select! {
        // Signals are listened to before the command begins.
        biased;
        () = interrupted(drains) => context.stop.cancel(),
        outcome = &mut command => return outcome,
    }
    // A daemon inside this process must finish its writes first: a save removes what it wrote. A second
    // interrupt ends this wait.
    let ended = tokio::select! {
        ended = tokio::time::timeout(HOSTED_GRACE, command) => ended.ok(),
        () = interrupted(false) => None,
    };
    match ended {
        // It was done already, or a signal is its normal end.
        Some(Ok(())) if interruption.may_be_success() => Ok(()),
        Some(_) => Err(interruption.told(context)),
        None => {
            context.course.note_cut_short();
            Err(interruption.told(context))
        }
    }
}

/// Ends the process at a signal that the command doesn't hear: its thread may wait for ever in a read or a write, such
/// as to a pipe that is full. A second signal ends whatever the first one didn't.
async fn end_if_deaf(stop: CancellationToken, printer: Printer, scratch: Option<PathBuf>) {
    interrupted(false).await;
    if tokio::time::timeout(HEARING, stop.cancelled())
        .await
        .is_ok()
    {
        interrupted(false).await;
        tokio::time::sleep(HEARING).await;
    }
    // The command's thread may hold stderr too.
    let told = tokio::task::spawn_blocking(move || {
        if let Some(folder) = scratch {
            // What is left of a temporary folder harms nobody.
            let _ = std::fs::remove_dir_all(folder);
        }
        let error = ApiError::new(ErrorCode::Cancelled, "interrupted");
        printer.fail(&error.hint("run the same command again"))
    });
    let _ = tokio::time::timeout(HEARING, told).await;
    std::process::exit(ErrorCode::Cancelled.exit_code().into());
}

/// Ends the process silently at the place that a test names, as `kill -9` would.
#[cfg(feature = "failpoints")]
fn plant_failpoint() {
    if let Ok(place) = std::env::var("PODSYNC_ABORT_AT") {
        fail::cfg_callback(place, || std::process::abort())
            .expect("the test names a place that there is");
    }
}

/// Resolves on Ctrl-C and SIGTERM; never where the command `drains` by itself, as the daemon does.
async fn interrupted(drains: bool) {
    if drains {
        // Until the daemon listens for signals itself, one ends it at once.
        return std::future::pending().await;
    }
    let Ok(mut terminate) = signal(SignalKind::terminate()) else {
        return std::future::pending().await;
    };
    tokio::select! {
        Ok(()) = tokio::signal::ctrl_c() => {}
        Some(()) = terminate.recv() => {}
    }
}

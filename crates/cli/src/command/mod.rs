//! One file per subcommand: its arguments, its call, its words.

pub(crate) mod completions;
pub(crate) mod config;
pub(crate) mod daemon;
pub(crate) mod demo;
pub(crate) mod diff;
pub(crate) mod disk;
pub(crate) mod doctor;
pub(crate) mod drop;
pub(crate) mod export;
pub(crate) mod init;
pub(crate) mod list;
pub(crate) mod load;
pub(crate) mod lock;
pub(crate) mod pull;
pub(crate) mod retention;
pub(crate) mod run_hook;
pub(crate) mod save;
pub(crate) mod share;
pub(crate) mod show;
pub(crate) mod status;
pub(crate) mod stop;
pub(crate) mod tag;
pub(crate) mod team;
pub(crate) mod verify;

use podsync_api::ApiError;

use crate::{
    arguments::{Arguments, Command, Global},
    ask::choose,
    connect::{Connection, Needs},
    output::Printer,
};

pub(crate) async fn run(arguments: Arguments, printer: &Printer) -> Result<(), ApiError> {
    let global = arguments.global;
    match arguments.command {
        Command::Init(command) => init::run(&global, printer, &command),
        Command::Config(command) => config::run(&global, printer, &command),
        Command::Completions(command) => completions::run(&command),
        Command::Daemon(command) => daemon::run(&global, printer, command).await,
        Command::Demo(command) => demo::run(printer, &command).await,
        Command::Team(command) => team::run(&global, printer, command).await,
        Command::Save(command) => save::run(&global, printer, command).await,
        Command::Share(command) => share::run(&global, printer, command).await,
        Command::Pull(command) => pull::run(&global, printer, command).await,
        Command::Load(command) => load::run(&global, printer, command).await,
        Command::Undo(command) => load::undo(&global, printer, command).await,
        Command::Export(command) => export::run(&global, printer, command).await,
        Command::List(command) => list::run(&global, printer, &command).await,
        Command::Versions(command) => list::versions(&global, printer, command).await,
        Command::Show(command) => show::run(&global, printer, command).await,
        Command::Diff(command) => diff::run(&global, printer, command).await,
        Command::Tag(command) => tag::run(&global, printer, command).await,
        Command::Lock(command) => lock::run(&global, printer, command).await,
        Command::Retention(command) => retention::run(&global, printer, command).await,
        Command::Pin(command) => disk::pin(&global, printer, command, true).await,
        Command::Unpin(command) => disk::pin(&global, printer, command, false).await,
        Command::Gc(command) => disk::gc(&global, printer, command).await,
        Command::Verify(command) => verify::run(&global, printer, command).await,
        Command::Drop(command) => drop::run(&global, printer, command).await,
        Command::Status(command) => status::run(&global, printer, &command).await,
        Command::Doctor(command) => doctor::run(&global, printer, command).await,
        Command::RunHook(command) => run_hook::run(&global, printer, command).await,
        Command::Stop(command) => stop::run(&global, printer, &command).await,
        Command::Peers(command) => status::peers(&global, printer, &command).await,
    }
}

/// Opens a connection, makes one call with a progress bar, closes the connection. Where a reference
/// means several versions, whoever sits at the terminal is asked which.
async fn call<C: podsync_api::Call + Clone>(
    global: &Global,
    printer: &Printer,
    needs: Needs,
    call: &C,
) -> Result<C::Answer, ApiError> {
    let connection = Connection::open(global, printer, needs).await?;
    let answer = call_over(&connection, printer, call).await;
    connection.close().await;
    answer
}

/// One call of several over a connection.
async fn call_over<C: podsync_api::Call + Clone>(
    connection: &Connection,
    printer: &Printer,
    call: &C,
) -> Result<C::Answer, ApiError> {
    let answer = connection.watch(printer, call).await;
    if let Err(error) = &answer
        && let Some(exact) = exactly(printer, call, error)
    {
        return connection.watch(printer, &exact).await;
    }
    answer
}

/// The call again, with the one version that is meant; none where nobody says which.
fn exactly<C: podsync_api::Call + Clone>(
    printer: &Printer,
    call: &C,
    error: &ApiError,
) -> Option<C> {
    let ambiguity = error.ambiguity.as_deref()?;
    let question = format!("`{}` means several versions", ambiguity.reference);
    let chosen = choose(printer, &question, &ambiguity.exact)?;
    let mut exact = call.clone();
    let named = exact.references();
    let meant = named
        .into_iter()
        .filter(|typed| stands_for(typed, &ambiguity.reference));
    for reference in meant {
        reference.clone_from(chosen);
    }
    Some(exact)
}

/// Whether what was typed is this reference, which may be written in another way.
fn stands_for(typed: &str, reference: &str) -> bool {
    typed
        .parse::<podsync_core::reference::Reference>()
        .is_ok_and(|typed| typed.to_string() == reference)
}

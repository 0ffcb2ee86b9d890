//! The subcommands, where each goes, and what a robot's token makes of it.

use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};
use podsync_api::ApiError;

use crate::{
    arguments::Global,
    command::{self, *},
    context::{Context, home_of, robot::Use},
};

/// Save the state of your AWS emulator, share it with teammates, load theirs.
#[derive(Debug, Parser)]
#[command(
    name = "podsync",
    version,
    max_term_width = 100,
    propagate_version = true
)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Create this device's key, as `team create`, `join` and `ui` do
    Init(command::init::Init),
    /// Create, join and manage teams
    #[command(subcommand)]
    Team(command::team::Team),
    /// Save the emulator's state, a folder or a file as a version
    Save(command::save::Save),
    /// Share a saved version with the team
    Share(command::share::Share),
    /// Download a version from teammates
    Pull(command::pull::Pull),
    /// Load a version into the running emulator. Pulls it if needed
    Load(command::load::Load),
    /// Restore the emulator's state from before the last load
    Undo(command::load::Undo),
    /// Write a version to a `.snapshot` file or a folder
    Export(command::export::Export),
    /// List pods with their newest versions
    #[command(alias = "ls")]
    List(command::list::List),
    /// List all versions of a pod
    Versions(command::list::Versions),
    /// Show a version: what it contains and who has it
    Show(command::show::Show),
    /// Record exact versions in a lock file, for `pull --frozen`
    Lock(command::lock::Lock),
    /// Show the differences between two versions
    Diff(command::diff::Diff),
    /// Give a version a tag
    Tag(command::tag::Tag),
    /// Delete a version
    Drop(command::drop::Drop),
    /// Set how many versions the team keeps
    #[command(subcommand)]
    Retention(command::retention::Retention),
    /// Keep a version on this machine even above the disk budget
    Pin(command::disk::Pin),
    /// Let the disk budget evict a version again
    Unpin(command::disk::Unpin),
    /// Show what pods and versions take of this machine's disk
    Du(command::du::Du),
    /// Free disk space: delete versions that others also have
    Gc(command::disk::Gc),
    /// Check every stored byte against its hash
    Verify(command::verify::Verify),
    /// Show the daemon, teams and disk usage
    Status(command::status::Status),
    /// List teammates' devices and their connections
    Peers(command::status::Peers),
    /// Pull by itself what teammates share of a pod
    Follow(command::follow::Follow),
    /// Stop pulling a pod by itself. What was pulled stays
    Unfollow(command::follow::Unfollow),
    /// Save the emulator's state by itself, as private versions
    Autosave(command::autosave::Autosave),
    /// Load the newest autosave after the emulator was restarted
    Restore(command::autosave::Restore),
    /// Print what happens, one line an event
    Watch(command::watch::Watch),
    /// Open podsync's page in the browser
    Ui(command::ui::Ui),
    /// Find problems on this machine and say how to fix each
    Doctor(command::doctor::Doctor),
    /// Install the plugin that lets a community LocalStack save and load
    #[command(subcommand)]
    Plugin(command::plugin::Plugin),
    /// For hook scripts: load a version once the emulator is ready
    RunHook(command::run_hook::RunHook),
    /// Stop the background daemon
    Stop(command::stop::Stop),
    /// Restart the daemon that runs in the background or as a service
    Restart(command::restart::Restart),
    /// Keep the daemon running as a service of this machine
    #[command(subcommand)]
    Service(command::service::Command),
    /// Show the daemon's log
    Logs(command::logs::Logs),
    /// Stop fetching, serving and uploading for a while
    Pause(command::pause::Pause),
    /// End a pause
    Resume(command::pause::Resume),
    /// Run the daemon in the foreground
    Daemon(command::daemon::Daemon),
    /// Print or change the settings
    Config(command::config::Config),
    /// Serve an agent with tools, over the Model Context Protocol
    Mcp(command::mcp::Mcp),
    /// Watch a demo: a whole team and its hub on this machine
    Demo(command::demo::Demo),
    /// Write the manual: a page for each command
    Man(command::man::Man),
    /// Print or install a shell's completion script
    Completions(command::completions::Completions),
    /// The output if the user names no subcommand.
    #[command(skip)]
    Dashboard,
}

pub(crate) async fn run(context: &Context, command: Command) -> Result<(), ApiError> {
    match command {
        Command::Dashboard => dashboard::run(context).await,
        Command::Init(command) => init::run(context, &command).await,
        Command::Config(command) => config::run(context, command).await,
        Command::Completions(command) => completions::run(context, &command),
        Command::Man(command) => man::run(context, command, Arguments::command()),
        Command::Daemon(command) => daemon::run(context, command).await,
        Command::Mcp(command) => mcp::run(context, command).await,
        Command::Demo(command) => demo::run(&context.printer, &command).await,
        Command::Team(command) => team::run(context, command).await,
        Command::Save(command) => save::run(context, command).await,
        Command::Share(command) => share::run(context, command).await,
        Command::Pull(command) => pull::run(context, command).await,
        Command::Load(command) => load::run(context, command).await,
        Command::Undo(command) => load::undo(context, command).await,
        Command::Export(command) => export::run(context, command).await,
        Command::List(command) => list::run(context, &command).await,
        Command::Versions(command) => list::versions(context, command).await,
        Command::Show(command) => show::run(context, command).await,
        Command::Diff(command) => diff::run(context, command).await,
        Command::Tag(command) => tag::run(context, command).await,
        Command::Lock(command) => lock::run(context, command).await,
        Command::Retention(command) => retention::run(context, command).await,
        Command::Pin(command) => disk::pin(context, command).await,
        Command::Unpin(command) => disk::unpin(context, command).await,
        Command::Du(command) => du::run(context, command).await,
        Command::Gc(command) => disk::gc(context, command).await,
        Command::Verify(command) => verify::run(context, command).await,
        Command::Drop(command) => drop::run(context, command).await,
        Command::Status(command) => status::run(context, &command).await,
        Command::Follow(command) => follow::run(context, command).await,
        Command::Unfollow(command) => follow::unfollow(context, command).await,
        Command::Autosave(command) => autosave::run(context, command).await,
        Command::Restore(command) => autosave::restore(context, command).await,
        Command::Watch(command) => watch::run(context, command).await,
        Command::Ui(command) => ui::run(context, &command).await,
        Command::Doctor(command) => doctor::run(context, command).await,
        Command::Plugin(command) => plugin::run(context, command).await,
        Command::RunHook(command) => run_hook::run(context, command).await,
        Command::Stop(command) => stop::run(context, &command).await,
        Command::Restart(command) => restart::run(context, &command).await,
        Command::Pause(command) => pause::run(context, command).await,
        Command::Resume(command) => pause::resume(context, &command).await,
        Command::Service(command) => service::run(context, command).await,
        Command::Logs(command) => logs::run(context, command).await,
        Command::Peers(command) => status::peers(context, &command).await,
    }
}

impl Command {
    pub(crate) fn is_daemon(&self) -> bool {
        matches!(self, Self::Daemon(_))
    }

    /// The home that gets the log of a daemon in the background.
    pub(crate) fn logs_in(&self, global: &Global) -> Option<PathBuf> {
        match self {
            Self::Daemon(daemon) if daemon.log_file => home_of(global).ok(),
            _ => None,
        }
    }

    /// What the subcommand does if it gets a token.
    pub(crate) fn robot_use(&self) -> Use {
        match self {
            Self::Pull(pull) => Use::Runs(Some((pull.wait.time(), "--wait"))),
            Self::Load(load) => Use::Runs(Some((load.wait.time(), "--wait"))),
            Self::Export(export) => Use::Runs(Some((export.wait.time(), "--wait"))),
            Self::Lock(lock) => Use::Runs(Some((lock.wait.time(), "--wait"))),
            Self::RunHook(run) => Use::Runs(Some((run.timeout, "--timeout"))),
            Self::List(_) | Self::Versions(_) | Self::Show(_) | Self::Diff(_) => Use::Runs(None),
            Self::Init(_)
            | Self::Doctor(_)
            | Self::Plugin(_)
            | Self::Stop(_)
            | Self::Restart(_)
            | Self::Service(_)
            | Self::Logs(_)
            | Self::Config(_)
            | Self::Demo(_)
            | Self::Man(_)
            | Self::Dashboard
            | Self::Completions(_) => Use::Ignores,
            Self::Team(_)
            | Self::Save(_)
            | Self::Share(_)
            | Self::Undo(_)
            | Self::Tag(_)
            | Self::Drop(_)
            | Self::Retention(_)
            | Self::Pin(_)
            | Self::Unpin(_)
            | Self::Du(_)
            | Self::Gc(_)
            | Self::Verify(_)
            | Self::Status(_)
            | Self::Peers(_)
            | Self::Watch(_)
            | Self::Follow(_)
            | Self::Unfollow(_)
            | Self::Autosave(_)
            | Self::Restore(_)
            | Self::Ui(_)
            | Self::Mcp(_)
            | Self::Pause(_)
            | Self::Resume(_)
            | Self::Daemon(_) => Use::Refuses,
        }
    }
}

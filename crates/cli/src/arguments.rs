//! What can be typed. Each subcommand's own arguments live beside what it does.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use podsync_core::TeamName;

use crate::command;

/// Hand a teammate the state of your AWS emulator: saved, shared and loaded peer to peer.
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
    pub(crate) command: Command,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Where this device keeps its key and its pods
    #[arg(long, global = true, env = "PODSYNC_HOME", value_name = "FOLDER")]
    pub(crate) home: Option<PathBuf>,
    /// The team, where this device is in several
    #[arg(long, global = true, env = "PODSYNC_TEAM", value_name = "NAME")]
    pub(crate) team: Option<TeamName>,
    /// Act as a robot, with its token; better given as PODSYNC_TOKEN, or on stdin with `-`
    #[arg(long, global = true, value_name = "TOKEN")]
    pub(crate) token: Option<String>,
    /// With a token: keep packs in this folder, for the next run [default: a folder that is removed]
    #[arg(long, global = true, value_name = "FOLDER")]
    pub(crate) cache: Option<PathBuf>,
    /// Print the result as JSON
    #[arg(long, global = true)]
    pub(crate) json: bool,
    /// Never start a daemon in the background; do the work in this process
    #[arg(long, global = true)]
    pub(crate) no_daemon: bool,
    /// Log what is done, to stderr; twice for more
    #[arg(long, short, global = true, action = clap::ArgAction::Count)]
    pub(crate) verbose: u8,
    /// How logs are written
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        env = "PODSYNC_LOG_FORMAT"
    )]
    pub(crate) log_format: LogFormat,
    /// What a token makes of this command.
    #[arg(skip)]
    pub(crate) robot: Option<std::sync::Arc<crate::robot::Robot>>,
    /// Cancelled by a signal: a daemon inside this process ends in good order.
    #[arg(skip)]
    pub(crate) stop: tokio_util::sync::CancellationToken,
}

#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    #[default]
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Make this device's key, as founding or joining a team does where there is none
    Init(command::init::Init),
    /// Teams: create, invite, join, members, remove, role, recover, set-hub
    #[command(subcommand)]
    Team(command::team::Team),
    /// Save the emulator's state, or a folder or file, as a version of a pod
    Save(command::save::Save),
    /// Share a saved version with the team
    Share(command::share::Share),
    /// Fetch a version from teammates
    Pull(command::pull::Pull),
    /// Load a version into the running emulator; pulls it if need be
    Load(command::load::Load),
    /// Put back what was in the emulator before the last load
    Undo(command::load::Undo),
    /// Write a version to a `.snapshot` file or a folder
    Export(command::export::Export),
    /// Pods and their newest versions
    #[command(alias = "ls")]
    List(command::list::List),
    /// All versions of a pod
    Versions(command::list::Versions),
    /// What a version is and where it lies
    Show(command::show::Show),
    /// Write down which version each name stands for, for `pull --frozen`
    Lock(command::lock::Lock),
    /// What differs between two versions
    Diff(command::diff::Diff),
    /// Name a version
    Tag(command::tag::Tag),
    /// Forget a version
    Drop(command::drop::Drop),
    /// Which versions the team keeps
    #[command(subcommand)]
    Retention(command::retention::Retention),
    /// Keep a version on this machine, whatever the disk budget
    Pin(command::disk::Pin),
    /// Keep it no longer than the disk budget has room
    Unpin(command::disk::Pin),
    /// Give back disk space: what nothing needs, and what others have
    Gc(command::disk::Gc),
    /// Read again what is on this machine and check every byte
    Verify(command::verify::Verify),
    /// How the daemon, the teams and the disk are
    Status(command::status::Status),
    /// Teammates' devices that can be reached
    Peers(command::status::Peers),
    /// What keeps podsync from working here, each with its fix
    Doctor(command::doctor::Doctor),
    /// For hook scripts: load a pinned version when the emulator is ready
    RunHook(command::run_hook::RunHook),
    /// End the daemon that a command started in the background
    Stop(command::stop::Stop),
    /// Run the daemon in the foreground
    Daemon(command::daemon::Daemon),
    /// Print the settings in force
    Config(command::config::Config),
    /// See it work: a team and its hub on this machine, start to end
    Demo(command::demo::Demo),
    /// Print a shell's completion script
    Completions(command::completions::Completions),
}

impl Arguments {
    pub(crate) fn is_daemon(&self) -> bool {
        matches!(self.command, Command::Daemon(_))
    }
}

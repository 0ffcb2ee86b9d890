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
pub(crate) mod plugin;
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
pub(crate) mod ui;
pub(crate) mod verify;

//! The composition root: runs the engine, carries out its outputs, serves the control API.
//!
//! The rules are in `core`; storage, network and packing are in their own crates. This crate only connects them.

pub mod addresses;
mod arriving;
mod call;
mod clock;
mod daemon;
mod doctor;
mod earlier;
mod emulator;
mod error;
mod events;
mod gate;
mod holder;
mod hub;
mod init;
mod locks;
mod meter;
mod metered;
mod metrics;
mod node;
mod packs;
mod page;
mod paths;
mod persisted;
mod program;
mod pulls;
mod reach;
mod reaction;
mod server;
mod service;
mod settings;
mod shelf;
mod start;
mod tasks;
mod token;
mod versions;
mod watchdog;

pub use doctor::examine;
pub use emulator::{
    Answering, answers as instance_answers, can_be_saved as instance_can_be_saved, local_port,
    what_answers,
};
pub use holder::{does_not_answer, end_daemon, wait_until_free};
pub use init::{Initialised, NewHome, adopt, init};
pub use paths::{check_may_be_home, is_initialised, socket_path};
pub use podsync_bucket::is_talkative;
pub use podsync_instance::companion;
pub use podsync_net::install_crypto;
pub use podsync_store::{
    MEND_LINK, open_regular, read_regular, read_text, refuse_dangling, shell_word,
};
pub use reach::CUT_OFF;
pub use reaction::{Reaction, Says};
pub use settings::{
    ByteSize, Overrides, Rate, Settings, form as setting_form, variable as setting_variable,
};
pub use start::{Running, start, start_robot};
pub use tasks::Lifetime;
pub use token::Token;

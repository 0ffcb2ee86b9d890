//! The composition root: runs the engine, carries out its outputs, serves the control API.
//!
//! It decides nothing that the engine could: rules live in core, bytes in the other rooms, and here
//! is only what ties them together.

pub mod addresses;
mod arriving;
mod calls;
mod clock;
mod daemon;
mod doctor;
mod eviction;
mod failure;
mod garbage;
mod gate;
mod hub;
mod init;
mod locks;
mod node;
mod packs;
mod report;
mod robot;
mod server;
mod settings;
mod uses;
mod versions;

pub use calls::instance_can_be_saved;
pub use daemon::{Lifetime, Running, start, start_robot};
pub use doctor::{Finding, Verdict, examine};
pub use init::{Initialised, adopt, init, is_initialised, socket_path, wait_until_free};
pub use podsync_bucket::is_talkative;
pub use podsync_net::install_crypto;
pub use robot::Token;
pub use settings::{ByteSize, Overrides, Settings};

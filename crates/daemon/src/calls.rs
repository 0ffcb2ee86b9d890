//! One file per group of calls; each call is a [`Handle`](crate::server::Handle) of the daemon.

mod contents;
mod disk;
mod export;
mod fetch;
mod fitting;
mod holders;
mod load;
mod node;
mod pods;
mod pull;
mod retention;
mod robot;
mod save;
mod share;
mod signer;
mod take;
mod team;
mod verify;
mod views;
mod whereabouts;

pub(crate) use pull::Asked;
pub use take::can_be_saved as instance_can_be_saved;
pub(crate) use take::connect;

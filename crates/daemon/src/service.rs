//! The daemon's services. Each carries out related calls, and holds only what it uses.
//!
//! A service is a struct of handles; it carries out calls as a [`Handle`](crate::call::Handle). Services build on
//! each other in one direction: `find` and `holdings` stand below all others.

pub(crate) mod absent;
pub(crate) mod autosave;
pub(crate) mod catalog;
pub(crate) mod choose;
pub(crate) mod contents;
pub(crate) mod disk;
pub(crate) mod export;
pub(crate) mod find;
pub(crate) mod follow;
pub(crate) mod holdings;
pub(crate) mod load;
pub(crate) mod machine;
pub(crate) mod names;
pub(crate) mod pause;
pub(crate) mod pull;
pub(crate) mod restore;
pub(crate) mod retention;
pub(crate) mod save;
pub(crate) mod share;
pub(crate) mod skew;
pub(crate) mod status;
pub(crate) mod team;
pub(crate) mod verify;
pub(crate) mod views;

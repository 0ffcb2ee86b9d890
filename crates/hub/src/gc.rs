//! Garbage collection of a team's bucket: what may be named and what may go.
//!
//! Nobody takes a lock. An object is condemned by a marker that is never taken back, and is deleted a day
//! later if nothing names it then. So a writer must look for the marker first, and finish within
//! [`generation::COMMIT_DEADLINE`] of that look. Then no deletion can meet a commit that the collector didn't
//! see.

pub mod decide;
pub mod generation;
mod look;
#[cfg(test)]
mod model;
pub mod references;
mod run;

pub use look::{GcError, Seen, last_sweep, look, preview};
pub(crate) use look::{list_objects, references};
pub(crate) use run::sweep_listed;
pub use run::{Outcome, hourly, once, sweep};

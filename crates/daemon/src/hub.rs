//! This device's client of the team's hub. It syncs in the background, and at once if a caller waits.
//!
//! There is no second record of what was shared. The bucket lacks those entries of this device's feed that the hub
//! says it doesn't have. So a restart goes on where the last run stopped.

pub(crate) mod download;
pub(crate) mod state;
pub(crate) mod sync;
pub(crate) mod upload;

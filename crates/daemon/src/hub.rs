//! The team's hub, as this device uses it: kept in step in the background, and asked at once where
//! somebody waits.
//!
//! Nothing here is a second record of what was shared: what the bucket lacks is told by this device's
//! own feed and by how far the hub says that it has it, so a restart goes on where things stopped.

pub(crate) mod bring;
pub(crate) mod confirm;
mod durable;
pub(crate) mod fetch;
mod hear;
pub(crate) mod join;
pub(crate) mod placements;
pub(crate) mod state;
pub(crate) mod sync;
pub(crate) mod upload;

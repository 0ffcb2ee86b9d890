//! The team's hub, as this device uses it: kept in step in the background, and asked at once where
//! somebody waits.
//!
//! Nothing here is a second record of what was shared. This device's own feed, and how far the hub says that it
//! has that feed, tell what the bucket lacks. So a restart goes on where things stopped.

pub(crate) mod download;
pub(crate) mod state;
pub(crate) mod sync;
pub(crate) mod upload;

//! The zip format: its directory as it is read, and archives as they are written.
//!
//! Only what a state needs: stored and deflated members on the way in, stored ones on the way out.

pub(crate) mod directory;
pub(crate) mod local;
pub(crate) mod record;
pub(crate) mod time;

//! A team's settings, which the operator chooses.

use std::sync::Arc;

use podsync_core::TeamId;

use crate::{gc::decide::Retention, storage::Storage};

/// A team that the hub serves.
#[derive(Clone)]
pub struct TeamSettings {
    pub team: TeamId,
    pub bucket: Arc<dyn Storage>,
    /// The most bytes of objects; `None` means no limit.
    pub quota: Option<u64>,
    pub retention: Retention,
    /// When uploads are hashed before a commit names them.
    pub confirm: Confirm,
}

/// When new objects are hashed before a commit names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Confirm {
    /// Where the server takes wrong bytes.
    #[default]
    WhereNeeded,
    Always,
    Never,
}

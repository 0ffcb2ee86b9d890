//! What people asked of their nodes and wait for.

use podsync_core::{DeviceId, PodName, TeamId, VersionId};

/// A command that waits for its reply: what the reply is held against.
#[derive(Debug, Clone)]
pub enum Asked {
    CreateTeam,
    Invite {
        team: TeamId,
    },
    Join {
        team: TeamId,
    },
    Remove {
        team: TeamId,
        device: DeviceId,
    },
    /// `above` is the highest number that counted when it was asked.
    Publish {
        team: TeamId,
        pod: PodName,
        version: VersionId,
        above: u64,
    },
    SavePrivate {
        team: TeamId,
        version: VersionId,
    },
    Other,
}

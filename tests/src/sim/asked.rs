//! Commands of simulated users that wait for a reply.

use podsync_core::{DeviceId, PodName, TeamId, VersionId};

/// A command that waits for its reply, and the data to check the reply with.
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
    /// `above` is the highest number that counted at the time of the command.
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

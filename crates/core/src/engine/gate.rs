//! Which peers may fetch which blobs: the engine's decision, stored where the network reads it
//! without waiting.
//!
//! The engine emits changes and the daemon applies them to a [`Gate`]. The network asks only the
//! gate, so the gate must have every decision of the engine.

use std::collections::{BTreeMap, BTreeSet};

use crate::id::{BlobId, DeviceId, TeamId};

/// A change of who is a member or of what is shared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum GateChange {
    /// All members of a team. Replaces the earlier list.
    Members {
        team: TeamId,
        devices: Vec<DeviceId>,
    },
    /// The robots of a team: any number of runners share their key. Replaces the earlier list.
    Robots {
        team: TeamId,
        devices: Vec<DeviceId>,
    },
    /// These blobs may be served to the team's members.
    Share { team: TeamId, blobs: Vec<BlobId> },
    /// These blobs may no longer be served to the team's members.
    Withdraw { team: TeamId, blobs: Vec<BlobId> },
}

/// Members and shared blobs of every team of a home.
#[derive(Debug, Clone, Default)]
pub struct Gate {
    teams: BTreeMap<TeamId, TeamGate>,
}

#[derive(Debug, Clone, Default)]
struct TeamGate {
    members: BTreeSet<DeviceId>,
    robots: BTreeSet<DeviceId>,
    shared: BTreeSet<BlobId>,
}

impl Gate {
    pub fn apply(&mut self, change: GateChange) {
        match change {
            GateChange::Members { team, devices } => {
                self.teams.entry(team).or_default().members = devices.into_iter().collect();
            }
            GateChange::Robots { team, devices } => {
                self.teams.entry(team).or_default().robots = devices.into_iter().collect();
            }
            GateChange::Share { team, blobs } => {
                self.teams.entry(team).or_default().shared.extend(blobs);
            }
            GateChange::Withdraw { team, blobs } => {
                let shared = &mut self.teams.entry(team).or_default().shared;
                for blob in blobs {
                    shared.remove(&blob);
                }
            }
        }
    }

    /// Whether a device belongs to any team of this home.
    pub fn is_member(&self, device: &DeviceId) -> bool {
        self.teams
            .values()
            .any(|team| team.members.contains(device))
    }

    /// Whether a device is a robot's: several processes may hold its key at once.
    pub fn is_robot(&self, device: &DeviceId) -> bool {
        self.teams.values().any(|team| team.robots.contains(device))
    }

    /// Whether a device belongs to a team that the blob is shared to.
    #[cfg(not(podsync_planted = "serve-strangers"))]
    pub fn may_fetch(&self, device: &DeviceId, blob: &BlobId) -> bool {
        self.teams
            .values()
            .any(|team| team.members.contains(device) && team.shared.contains(blob))
    }

    #[cfg(podsync_planted = "serve-strangers")]
    pub fn may_fetch(&self, _: &DeviceId, blob: &BlobId) -> bool {
        self.teams.values().any(|team| team.shared.contains(blob))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_is_served_to_its_own_team_only() {
        let [red, blue] = [TeamId::of(b"red"), TeamId::of(b"blue")];
        let [alice, bob] = [DeviceId::from_bytes([1; 32]), DeviceId::from_bytes([2; 32])];
        let blob = BlobId::of(b"pack");
        let mut gate = Gate::default();
        gate.apply(GateChange::Members {
            team: red,
            devices: vec![alice],
        });
        gate.apply(GateChange::Members {
            team: blue,
            devices: vec![bob],
        });
        gate.apply(GateChange::Share {
            team: red,
            blobs: vec![blob],
        });
        assert!(gate.may_fetch(&alice, &blob) && !gate.may_fetch(&bob, &blob));
        gate.apply(GateChange::Withdraw {
            team: red,
            blobs: vec![blob],
        });
        assert!(!gate.may_fetch(&alice, &blob));
        gate.apply(GateChange::Members {
            team: red,
            devices: vec![],
        });
        assert!(!gate.is_member(&alice) && gate.is_member(&bob));
    }
}

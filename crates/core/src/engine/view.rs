//! Read-only views of the engine for lists, status and sealing.

use super::Engine;
use crate::{
    catalog::Catalog,
    feed::Feed,
    id::{DeviceId, EpochId, TeamId},
    membership::{KeyRing, Membership, Roster},
    seal::SecretKey,
};

/// The state of a device's feed here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FeedStatus {
    pub device: DeviceId,
    /// The number of its newest entry.
    pub seq: u64,
    /// Whether every entry up to that is here.
    pub complete: bool,
    /// The number with two proved entries. Nothing of the feed counts until an admin removes the
    /// device, which picks a branch.
    pub forked_at: Option<u64>,
}

/// When a device was last online, by its own signed statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DeviceHeard {
    pub device: DeviceId,
    /// Unix milliseconds of the newest statement that it signed.
    pub time_ms: u64,
}

impl Engine {
    /// This device.
    pub fn device(&self) -> DeviceId {
        self.secret.id()
    }

    pub fn teams(&self) -> impl Iterator<Item = TeamId> {
        self.teams.keys().copied()
    }

    pub fn roster(&self, team: &TeamId) -> Option<&Roster> {
        self.membership(team).map(Membership::state)
    }

    pub fn membership(&self, team: &TeamId) -> Option<&Membership> {
        self.teams.get(team).map(|state| &state.team.membership)
    }

    pub fn catalog(&self, team: &TeamId) -> Option<&Catalog> {
        self.teams.get(team).map(|state| &state.team.catalog)
    }

    /// The epoch and key to seal a new manifest with. None while this device lacks the key.
    pub fn current_key(&self, team: &TeamId) -> Option<(EpochId, &SecretKey)> {
        let epoch = self.roster(team)?.current_epoch();
        self.key(team, &epoch).map(|key| (epoch, key))
    }

    /// The key of an epoch, old ones included.
    pub fn key(&self, team: &TeamId, epoch: &EpochId) -> Option<&SecretKey> {
        self.keys(team)?.get(epoch)
    }

    pub fn keys(&self, team: &TeamId) -> Option<&KeyRing> {
        self.teams.get(team).map(|state| &state.team.keys)
    }

    /// Connected devices that are members of this team.
    pub fn connected(&self, team: &TeamId) -> Vec<DeviceId> {
        let connected = self
            .connected
            .keys()
            .filter(|device| self.serves(*team, device));
        connected.copied().collect()
    }

    /// Since when a member is offline, in Unix milliseconds: when its connection ended, or else its last liveness
    /// statement. None if neither is known.
    pub fn offline_since(&self, team: &TeamId, device: &DeviceId) -> Option<u64> {
        let heard = || {
            let liveness = self.teams.get(team)?.team.liveness.get(device)?;
            Some(liveness.value().time_ms)
        };
        self.left_ms.get(device).copied().or_else(heard)
    }

    /// Whether a device's key is a robot's.
    pub(super) fn is_robot(&self, team: TeamId, device: &DeviceId) -> bool {
        self.roster(&team)
            .is_some_and(|roster| roster.is_robot(device))
    }

    pub fn feeds(&self, team: &TeamId) -> Vec<FeedStatus> {
        let feeds = self
            .teams
            .get(team)
            .into_iter()
            .flat_map(|state| state.team.feeds());
        feeds.map(status).collect()
    }

    pub fn feed(&self, team: &TeamId, device: &DeviceId) -> Option<FeedStatus> {
        self.teams.get(team)?.team.feed(device).map(status)
    }

    /// Members' statements that were too far ahead of this device's clock to be kept. Only their time is known, and what
    /// it says about the signer's clock and this one.
    pub fn heard_ahead(&self, team: &TeamId) -> Vec<DeviceHeard> {
        let Some(state) = self.teams.get(team) else {
            return Vec::new();
        };
        let ahead = state.team.ahead.iter();
        ahead
            .filter(|(device, _)| state.team.is_member(device))
            .map(|(device, time_ms)| DeviceHeard {
                device: *device,
                time_ms: *time_ms,
            })
            .collect()
    }

    /// When each device of the team was last heard.
    pub fn last_heard(&self, team: &TeamId) -> Vec<DeviceHeard> {
        let statements = self
            .teams
            .get(team)
            .into_iter()
            .flat_map(|state| &state.team.liveness);
        statements
            .map(|(device, liveness)| DeviceHeard {
                device: *device,
                time_ms: liveness.value().time_ms,
            })
            .collect()
    }
}

fn status(feed: &Feed) -> FeedStatus {
    FeedStatus {
        device: feed.device(),
        seq: feed.head().map_or(0, |head| head.value().seq),
        complete: feed.is_complete(),
        forked_at: feed.fork().map(|fork| fork.seq),
    }
}

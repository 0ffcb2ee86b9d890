//! The team's hub, treated like a peer: what it sends is verified like a peer's data and merged by
//! the same code.
//!
//! The engine itself asks the hub only for a join. The daemon polls the hub, opens its answers with
//! [`crate::wire`] and [`crate::signed`], hands them in as [`super::Input::Hub`], and asks here what to
//! fetch from the hub and what to upload. A slow or absent hub loses nothing, and it cannot roll back
//! what is stored here.

use std::{collections::BTreeMap, sync::Arc};

use super::{Engine, EngineError, input::HubNews};
use crate::{
    feed::{Entry, Feed, Head},
    id::{DeviceId, OpId, TeamId},
    membership::wire::MAX_KNOWN_HEADS,
    signed::{self, Verified},
    wire::{EntryRange, MAX_ENTRY_RANGES},
};

/// Entries of this device's own feed, to commit to the hub.
#[derive(Debug, Clone)]
pub struct OwnEntries {
    /// The signed head that names the last of them.
    pub head: Arc<[u8]>,
    /// Oldest first, without a gap.
    pub entries: Vec<Arc<Entry>>,
}

/// The newest entry of each feed that the hub last reported. It may go back: a bucket may be lost and
/// made anew.
#[derive(Debug, Default)]
pub(super) struct HubFeeds(BTreeMap<DeviceId, u64>);

impl Engine {
    pub(super) fn on_hub(&mut self, team: TeamId, news: HubNews) {
        match news {
            HubNews::Operations(operations) if self.teams.contains_key(&team) => {
                self.take_operations(team, &operations);
            }
            HubNews::Operations(operations) => self.on_hub_join(team, operations),
            HubNews::JoinFailed(why) => self.on_hub_join_failed(team, why),
            HubNews::Heads { heads, liveness } => {
                if let Some(state) = self.teams.get_mut(&team) {
                    state.hub_feeds = HubFeeds::of(&heads);
                }
                self.take_heads(team, heads);
                for statement in liveness {
                    self.take_liveness(team, statement);
                }
                self.state_liveness_if_old(team);
            }
            HubNews::Entries { device, entries } => {
                // If the disk is behind, skip these: the gap remains and is requested again.
                if !self.writes.is_clogged() {
                    self.take_entries(team, &[device], entries);
                }
            }
        }
    }

    /// The membership heads to send in a request to the hub.
    pub fn membership_heads(&self, team: &TeamId) -> Vec<OpId> {
        let heads = self.membership(team).map(|membership| membership.heads());
        heads
            .into_iter()
            .flatten()
            .take(MAX_KNOWN_HEADS)
            .copied()
            .collect()
    }

    /// Whether the hub names a membership head that is unknown here. Fetch operations before feed
    /// heads then: heads of unknown devices are not kept.
    pub fn lacks_operations(&self, team: &TeamId, heads: &[OpId]) -> bool {
        self.membership(team)
            .is_some_and(|membership| heads.iter().any(|head| !membership.contains(head)))
    }

    /// The operations that a hub with these membership heads lacks, parents first.
    pub fn operations_beyond(&self, team: &TeamId, heads: &[OpId]) -> Vec<Arc<[u8]>> {
        self.membership(team)
            .map(|membership| membership.ops_since(heads))
            .unwrap_or_default()
    }

    /// Entries that are missing here and that the hub has: the next request to it. Covers only a few
    /// feeds at a time, since one page may reveal the next gap.
    pub fn hub_gaps(&self, team: &TeamId) -> Vec<EntryRange> {
        let Some(state) = self.teams.get(team) else {
            return Vec::new();
        };
        let gaps = state.team.feeds().flat_map(|feed| {
            let device = feed.device();
            let reach = state.hub_feeds.reach(&device);
            let gaps = feed.gaps().into_iter();
            gaps.filter(move |(from, _)| *from <= reach)
                .map(move |(from, to)| EntryRange {
                    device,
                    from,
                    to: to.min(reach),
                })
        });
        gaps.take(MAX_ENTRY_RANGES).collect()
    }

    /// The newest entry number of a device's feed that the hub has reported; 0 before it was asked.
    pub fn hub_reach(&self, team: &TeamId, device: &DeviceId) -> u64 {
        self.teams
            .get(team)
            .map_or(0, |state| state.hub_feeds.reach(device))
    }

    /// Up to `most` entries of this device's own feed after number `after`, to commit to the hub. None if
    /// there are none. An error if the feed is forked or incomplete here.
    pub fn own_entries(
        &self,
        team: &TeamId,
        after: u64,
        most: usize,
    ) -> Result<Option<OwnEntries>, EngineError> {
        let state = self.teams.get(team);
        match state.and_then(|state| state.team.feed(&self.secret.id())) {
            None => Ok(None),
            Some(feed) if feed.fork().is_some() => Err(EngineError::DeviceMustBeMinted),
            Some(feed) if !feed.is_complete() => Err(EngineError::CatchingUp),
            Some(feed) => Ok(self.entries_to_commit(*team, feed, after, most)),
        }
    }

    fn entries_to_commit(
        &self,
        team: TeamId,
        feed: &Feed,
        after: u64,
        most: usize,
    ) -> Option<OwnEntries> {
        let newest = feed.head()?.value().seq;
        let most = u64::try_from(most).unwrap_or(u64::MAX);
        let last = newest.min(after.saturating_add(most));
        let mut entries: Vec<_> = feed.range(after.saturating_add(1), last).cloned().collect();
        entries.reverse();
        let entry = entries.last()?;
        let head = Head {
            seq: entry.header().seq,
            entry: entry.hash(),
        };
        // This entry was the newest once and its head was signed then. ed25519 is deterministic, so
        // this is the same signature.
        let head = self.secret.sign(team, &head);
        signed::verify::<Head>(&head).ok()?;
        Some(OwnEntries {
            head: head.into(),
            entries,
        })
    }

    /// The newest statement of liveness that this device signed.
    pub fn own_liveness(&self, team: &TeamId) -> Option<Arc<[u8]>> {
        let state = self.teams.get(team)?;
        let statement = state.team.liveness.get(&self.secret.id())?;
        Some(statement.bytes().clone())
    }

    /// The URL of the team's hub.
    pub fn hub_url(&self, team: &TeamId) -> Option<&str> {
        self.roster(team)?.hub_url()
    }

    /// The key with which the hub witnesses joins, as the team's settings name it.
    pub fn hub_key(&self, team: &TeamId) -> Option<DeviceId> {
        self.roster(team)?.hub_key()
    }

    /// Whether the team takes this key for its hub's.
    pub fn is_hub_key(&self, team: &TeamId, key: &DeviceId) -> bool {
        self.roster(team)
            .is_some_and(|roster| roster.is_hub_key(key))
    }
}

impl HubFeeds {
    fn of(heads: &[Verified<Head>]) -> Self {
        let mut feeds = BTreeMap::new();
        for head in heads {
            let reach = feeds.entry(head.signer()).or_insert(0);
            *reach = head.value().seq.max(*reach);
        }
        Self(feeds)
    }

    fn reach(&self, device: &DeviceId) -> u64 {
        self.0.get(device).copied().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;

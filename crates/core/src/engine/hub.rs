//! The team's hub as a member among others: what it shows is believed as far as it checks out, like a
//! peer's word, and merged by the same code.
//!
//! The engine asks it for nothing itself, but for a join: the daemon polls the hub, opens what it says
//! with [`crate::wire`] and [`crate::signed`], hands it in as [`super::Input::Hub`], and reads here what
//! to ask for and what to bring there. So nothing is lost if the hub is slow or away, and nothing can go
//! back: what is kept here never does.

use std::{collections::BTreeMap, sync::Arc};

use super::{Engine, EngineError, input::HubNews};
use crate::{
    feed::{Entry, Feed, Head},
    id::{DeviceId, OpId, TeamId},
    membership::wire::MAX_KNOWN_HEADS,
    signed::{self, Verified},
    wire::{EntryRange, MAX_ENTRY_RANGES},
};

/// Entries of this device's own feed, to be committed.
#[derive(Debug, Clone)]
pub struct OwnEntries {
    /// The signed head that names the last of them.
    pub head: Arc<[u8]>,
    /// Oldest first, without a gap.
    pub entries: Vec<Arc<Entry>>,
}

/// How far the hub has each feed, as it said last. It may go back: a bucket may be lost and made anew.
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
                self.state_liveness_once(team);
            }
            HubNews::Entries { device, entries } => {
                // What the disk can't take in now is asked for again, for the gap is still there.
                if !self.writes.is_clogged() {
                    self.take_entries(team, &[device], entries);
                }
            }
        }
    }

    /// The membership heads to ask the hub with.
    pub fn membership_heads(&self, team: &TeamId) -> Vec<OpId> {
        let heads = self.membership(team).map(|membership| membership.heads());
        heads
            .into_iter()
            .flatten()
            .take(MAX_KNOWN_HEADS)
            .copied()
            .collect()
    }

    /// Whether the hub names a membership head that is unknown here: its operations come before its
    /// feed heads, for those of devices that are unheard of are not kept.
    pub fn lacks_operations(&self, team: &TeamId, heads: &[OpId]) -> bool {
        self.membership(team)
            .is_some_and(|membership| heads.iter().any(|head| !membership.contains(head)))
    }

    /// What the hub lacks if these are its membership heads, parents first.
    pub fn operations_beyond(&self, team: &TeamId, heads: &[OpId]) -> Vec<Arc<[u8]>> {
        self.membership(team)
            .map(|membership| membership.ops_since(heads))
            .unwrap_or_default()
    }

    /// Entries that are missing here and that the hub says it has: what to ask it for next. Not more than
    /// a few feeds' at a time; the page of one may open the next gap.
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

    /// The number of the newest entry of a device's feed that the hub said it has; 0 before it was asked.
    pub fn hub_reach(&self, team: &TeamId, device: &DeviceId) -> u64 {
        self.teams
            .get(team)
            .map_or(0, |state| state.hub_feeds.reach(device))
    }

    /// The entries of this device's own feed after number `after`, at most so many: what to commit. None
    /// where there is nothing. A feed that forked can't be committed, nor can one that isn't whole here yet.
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
        // It was the newest once, and was signed then: ed25519 says the same thing the same way.
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

//! The hub: where nodes that never meet leave operations and feeds for each other.

use std::{collections::BTreeMap, sync::Arc};

use podsync_core::{
    DeviceId, TeamId,
    feed::{Entry, Head},
    membership::{Membership, Operation},
    signed::Verified,
    wire::Liveness,
};

#[derive(Default)]
pub(super) struct Hub {
    pub(super) teams: BTreeMap<TeamId, Shelf>,
}

/// What the hub has of a team.
pub(super) struct Shelf {
    pub(super) membership: Membership,
    pub(super) operations: Vec<Arc<Verified<Operation>>>,
    pub(super) feeds: BTreeMap<DeviceId, (Verified<Head>, Vec<Arc<Entry>>)>,
    pub(super) liveness: BTreeMap<DeviceId, Verified<Liveness>>,
}

impl Shelf {
    pub(super) fn new(membership: Membership, founding: Arc<Verified<Operation>>) -> Self {
        Self {
            membership,
            operations: vec![founding],
            feeds: BTreeMap::new(),
            liveness: BTreeMap::new(),
        }
    }

    /// Takes in a commit; false where it doesn't follow what is there.
    pub(super) fn take(
        &mut self,
        device: DeviceId,
        head: Option<Verified<Head>>,
        entries: &[Arc<Entry>],
    ) -> bool {
        let (Some(head), Some(newest)) = (head, entries.last()) else {
            return false;
        };
        let feed = self.feeds.get(&device).map(|(_, feed)| feed.as_slice());
        let mut before = feed.and_then(<[_]>::last).map(|entry| entry.hash());
        for entry in entries {
            if entry.header().previous != before {
                return false;
            }
            before = Some(entry.hash());
        }
        if head.signer() != device || head.value().entry != newest.hash() {
            return false;
        }
        let (kept, feed) = self
            .feeds
            .entry(device)
            .or_insert_with(|| (head.clone(), Vec::new()));
        *kept = head;
        feed.extend(entries.iter().cloned());
        true
    }
}

//! A node's polls of the hub: what it fetches and uploads there.
//!
//! This hub checks what the real one checks: signatures, chains, and that uploads come from members. It is more
//! lenient in one thing: it takes the earlier entries of a device that has become a reader. A node's whole poll
//! happens at one moment of virtual time, or is lost.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use podsync_core::{
    TeamId,
    engine::{HubNews, Input},
    feed::Entry,
    membership::Membership,
    signed::{Verified, verify},
    wire::EntryRange,
};

use super::{
    chance,
    happening::Happening,
    history::Violation,
    hub::{Hub, Shelf},
    id::NodeId,
    invariants,
    world::World,
};

/// How often a node looks.
const POLLED_EVERY: std::ops::Range<Duration> = Duration::from_secs(20)..Duration::from_secs(40);
/// Entries of a page, fewer than most feeds have.
const PAGE: usize = 4;
/// Entries of a commit, likewise.
const COMMIT: usize = 3;

impl World {
    /// Opens a hub that all nodes poll from now on.
    pub fn open_hub(&mut self) {
        self.hub = Some(Hub::default());
        for node in self.nodes() {
            self.poll_again(node);
        }
    }

    fn poll_again(&mut self, node: NodeId) {
        let after = chance::time(&mut self.rng, &POLLED_EVERY);
        self.enter(after, Happening::Poll { node });
    }

    pub(super) fn poll(&mut self, node: NodeId) -> Result<(), Violation> {
        self.poll_again(node);
        if !self.is_up(node) || self.is_lost() {
            return Ok(());
        }
        let Some(mut hub) = self.hub.take() else {
            return Ok(());
        };
        let engine = self.node(node).engine.as_ref();
        let teams: Vec<_> = engine.into_iter().flat_map(|e| e.teams()).collect();
        let polled = teams
            .into_iter()
            .try_for_each(|team| self.poll_team(&mut hub, node, team));
        self.hub = Some(hub);
        polled
    }

    fn poll_team(&mut self, hub: &mut Hub, node: NodeId, team: TeamId) -> Result<(), Violation> {
        if !self.bring_operations(hub, node, team)? {
            return Ok(());
        }
        let Some(shelf) = hub.teams.get_mut(&team) else {
            return Ok(());
        };
        self.fetch_operations(shelf, node, team)?;
        self.fetch_feeds(shelf, node, team)?;
        self.commit(shelf, node, team)?;
        self.tell_of_bucket(node)
    }

    /// Posts operations that the hub lacks. False if it accepts nothing of this device.
    fn bring_operations(
        &mut self,
        hub: &mut Hub,
        node: NodeId,
        team: TeamId,
    ) -> Result<bool, Violation> {
        let device = self.device(node);
        let Some(engine) = &self.node(node).engine else {
            return Ok(false);
        };
        let known = hub.teams.get(&team);
        let known = known.map_or(&[][..], |shelf| shelf.membership.heads());
        let lacking = engine.operations_beyond(&team, known);
        let mut lacking = lacking.into_iter().map(|bytes| {
            let operation = verify(&bytes).expect("what an engine holds opens again");
            Arc::new(operation)
        });
        let shelf = match hub.teams.entry(team) {
            std::collections::btree_map::Entry::Occupied(shelf) => shelf.into_mut(),
            std::collections::btree_map::Entry::Vacant(place) => {
                let Some(founding) = lacking.next() else {
                    return Ok(false);
                };
                let membership = Membership::new(Verified::clone(&founding));
                let membership = membership.expect("parents come first");
                place.insert(Shelf::new(membership, founding))
            }
        };
        let lacking: Vec<_> = lacking.collect();
        for operation in &lacking {
            let checked =
                invariants::is_durable(&self.ledger, "posts an operation", operation.bytes());
            self.judge(node, checked)?;
        }
        shelf.operations.extend(lacking.iter().cloned());
        shelf.membership.insert_all(lacking);
        Ok(shelf.membership.state().is_member(&device))
    }

    fn fetch_operations(
        &mut self,
        shelf: &Shelf,
        node: NodeId,
        team: TeamId,
    ) -> Result<(), Violation> {
        let Some(engine) = &self.node(node).engine else {
            return Ok(());
        };
        if !engine.lacks_operations(&team, shelf.membership.heads()) {
            return Ok(());
        }
        let theirs = engine.membership_heads(&team);
        let lacking = shelf.membership.ops_since(&theirs);
        let lacking: BTreeSet<_> = lacking.iter().map(|bytes| bytes.as_ref()).collect();
        let operations = shelf.operations.iter();
        let operations =
            operations.filter(|operation| lacking.contains(operation.bytes().as_ref()));
        let news = HubNews::Operations(operations.cloned().collect());
        self.feed(node, Input::Hub { team, news })
    }

    fn fetch_feeds(&mut self, shelf: &Shelf, node: NodeId, team: TeamId) -> Result<(), Violation> {
        let news = HubNews::Heads {
            heads: shelf.feeds.values().map(|(head, _)| head.clone()).collect(),
            liveness: shelf.liveness.values().cloned().collect(),
        };
        self.feed(node, Input::Hub { team, news })?;
        let mut asked: Vec<EntryRange> = Vec::new();
        loop {
            let engine = self.node(node).engine.as_ref();
            let gaps = engine.map(|engine| engine.hub_gaps(&team));
            let gaps = gaps.unwrap_or_default();
            if gaps == asked {
                return Ok(());
            }
            for gap in &gaps {
                let Some((_, feed)) = shelf.feeds.get(&gap.device) else {
                    continue;
                };
                let within =
                    |entry: &&Arc<Entry>| (gap.from..=gap.to).contains(&entry.header().seq);
                let page = feed.iter().rev().filter(within).take(PAGE).cloned();
                let news = HubNews::Entries {
                    device: gap.device,
                    entries: page.collect(),
                };
                self.feed(node, Input::Hub { team, news })?;
            }
            asked = gaps;
        }
    }

    fn commit(&mut self, shelf: &mut Shelf, node: NodeId, team: TeamId) -> Result<(), Violation> {
        let device = self.device(node);
        loop {
            let Some(engine) = &self.node(node).engine else {
                return Ok(());
            };
            let last = shelf
                .feeds
                .get(&device)
                .map_or(0, |(head, _)| head.value().seq);
            let Ok(Some(own)) = engine.own_entries(&team, last, COMMIT) else {
                break;
            };
            let durable = own.entries.iter().map(|entry| entry.bytes());
            let durable = durable.chain([&own.head]).try_for_each(|bytes| {
                invariants::is_durable(&self.ledger, "commits something", bytes)
            });
            self.judge(node, durable)?;
            if !shelf.take(device, verify(&own.head).ok(), &own.entries) {
                let what = "what it commits doesn't follow what it committed".to_owned();
                return Err(self.violation(Some(node), what));
            }
            for entry in &own.entries {
                self.store_in_bucket(team, &entry.header().blobs);
            }
        }
        let engine = self.node(node).engine.as_ref();
        if let Some(statement) = engine.and_then(|engine| engine.own_liveness(&team)) {
            let statement = verify(&statement).expect("what an engine signed opens again");
            shelf.liveness.insert(device, statement);
        }
        Ok(())
    }
}

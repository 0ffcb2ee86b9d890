//! Gossip: brings news at once that an exchange would bring within 45 s.
//!
//! A message is forwarded only if it was new here, so it crosses each link once. Nothing relies on
//! gossip: an exchange brings whatever is lost, too long or out of order.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use serde_bytes::ByteBuf;

use super::{Engine, LIVENESS_EVERY, Output, TeamState, input::GossipId, output::Verdict};
use crate::{
    bounded::Bounded,
    codec::Format,
    feed::{Added, Entry, Head},
    id::{DeviceId, TeamId},
    signed::{self, Verified},
    wire::{Gossip, GossipIn, Liveness, MAX_GOSSIP_LEN},
};

/// The bytes that a gossip message adds to its payload.
const GOSSIP_OVERHEAD: usize = 16;

impl Engine {
    pub(super) fn on_gossip(
        &mut self,
        id: GossipId,
        team: TeamId,
        from: DeviceId,
        message: GossipIn,
    ) {
        let verdict = if self.serves(team, &from) && !self.writes.is_clogged() {
            match message {
                GossipIn::Announcement { head, entry } => {
                    self.hear_announcement(team, from, head, entry)
                }
                GossipIn::Operations(operations) => {
                    match self.on_operations(team, from, operations) {
                        true => Verdict::Accept,
                        false => Verdict::Ignore,
                    }
                }
                GossipIn::Addresses(record) => match self.take_addresses(team, record) {
                    true => Verdict::Accept,
                    false => Verdict::Ignore,
                },
                GossipIn::Liveness(liveness) => match self.take_liveness(team, liveness) {
                    true => Verdict::Accept,
                    false => Verdict::Ignore,
                },
            }
        } else {
            Verdict::Ignore
        };
        self.outputs.push_back(Output::Validate { id, verdict });
    }

    /// Gossips a head and, if there is room, its entry.
    pub(super) fn announce(
        &mut self,
        team: TeamId,
        head: &Verified<Head>,
        entry: Option<&Arc<Entry>>,
    ) {
        let room = MAX_GOSSIP_LEN - GOSSIP_OVERHEAD - head.bytes().len();
        let entry = entry.filter(|entry| entry.bytes().len() <= room);
        let message = Gossip::Announcement {
            head: ByteBuf::from(&head.bytes()[..]),
            entry: entry.map(|entry| ByteBuf::from(&entry.bytes()[..])),
        };
        self.outputs.push_back(Output::Gossip {
            team,
            bytes: message.encode(),
        });
    }

    /// Gossips an operation. Starts exchanges, which also bring an operation that is too long for
    /// gossip, such as a rotation.
    pub(super) fn announce_operation(&mut self, team: TeamId, bytes: &[u8]) {
        if bytes.len() + GOSSIP_OVERHEAD <= MAX_GOSSIP_LEN {
            let message = Gossip::Operations(Bounded::first([ByteBuf::from(bytes)]));
            self.outputs.push_back(Output::Gossip {
                team,
                bytes: message.encode(),
            });
            return;
        }
        let connected: Vec<_> = self.connected.keys().copied().collect();
        for device in connected {
            if self.serves(team, &device) {
                self.exchange(team, device);
            }
        }
    }

    /// Signs a liveness statement before an answer, unless it has one of this hour: after the start, and after this
    /// machine slept or its clock was set. So a peer, or the hub later, learns how current our state is and what our
    /// clock says.
    pub(super) fn state_liveness_if_old(&mut self, team: TeamId) {
        let (me, now_ms) = (self.secret.id(), self.now.wall_ms);
        let is_old = |state: &TeamState| {
            state.team.liveness.get(&me).is_none_or(|known| {
                let age_ms = known.value().time_ms.abs_diff(now_ms);
                Duration::from_millis(age_ms) > LIVENESS_EVERY
            })
        };
        if self.teams.get(&team).is_some_and(is_old) {
            self.state_liveness(team);
        }
    }

    /// Signs and gossips a liveness statement: that this device was online, and a digest of what it
    /// knew.
    pub(super) fn state_liveness(&mut self, team: TeamId) {
        let time_ms = self.now.wall_ms;
        let Some(state) = self.teams.get_mut(&team) else {
            return;
        };
        let me = self.secret.id();
        // A robot signs none: one runner would speak for all others with its key.
        if !state.team.is_member(&me) || state.team.membership.state().is_robot(&me) {
            return;
        }
        let mut hasher = blake3::Hasher::new();
        for bucket in state.team.buckets().iter() {
            hasher.update(&bucket.to_le_bytes());
        }
        let statement = Liveness {
            time_ms,
            heads: *hasher.finalize().as_bytes(),
        };
        let bytes = self.secret.sign(team, &statement);
        // Also if its time is an earlier one: the clock may have been set back.
        if let Ok(liveness) = signed::verify(&bytes) {
            state.team.liveness.insert(me, liveness);
        }
        let message = Gossip::Liveness(ByteBuf::from(bytes));
        self.outputs.push_back(Output::Gossip {
            team,
            bytes: message.encode(),
        });
    }

    fn hear_announcement(
        &mut self,
        team: TeamId,
        from: DeviceId,
        head: Verified<Head>,
        entry: Option<Arc<Entry>>,
    ) -> Verdict {
        let device = head.signer();
        let Some(state) = self.teams.get_mut(&team) else {
            return Verdict::Ignore;
        };
        if state.team.membership.state().member(&device).is_none() {
            // Its join may not have arrived here yet.
            self.ask_operations(team, from);
            return Verdict::Ignore;
        }
        let unheard: BTreeSet<_> = entry
            .iter()
            .flat_map(|entry| entry.header().membership.iter())
            .filter(|id| !state.team.membership.contains(id))
            .collect();
        let behind = !unheard.is_empty();
        let added = state.team.add_head(head);
        if let Some(entry) = entry {
            state.team.add_entry(entry);
        }
        if behind {
            self.ask_operations(team, from);
        }
        match added {
            Added::New | Added::Forked => {
                self.ask_entries(team, from);
                Verdict::Accept
            }
            Added::Known | Added::Unwanted => Verdict::Ignore,
        }
    }

    /// Whether a device is a member, as far as is known here. Others get no answers.
    pub(super) fn serves(&self, team: TeamId, device: &DeviceId) -> bool {
        self.teams
            .get(&team)
            .is_some_and(|state| state.gated.contains(device))
    }
}

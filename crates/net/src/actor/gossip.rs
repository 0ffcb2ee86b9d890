//! Gossip: publishing, receiving and forwarding.
//!
//! No message is forwarded before the daemon has accepted it. Strangers neither send nor receive
//! gossip: their score excludes them, from before their first message. Scores belong to peers, not
//! topics: a member of one team of ours can subscribe to the topic of another. So the daemon must
//! check whether `from` may speak in a team, and payloads that such a peer must not read have to be
//! sealed.

use libp2p::gossipsub::{self, IdentTopic, PublishError};
use podsync_core::{DeviceId, TeamId};

use super::Actor;
use crate::{
    event::{GossipId, NetEvent, Verdict},
    peer_id::{device_of, peer_of},
};

/// Far below the score at which gossipsub ignores a peer and sends it nothing.
const STRANGER_SCORE: f64 = -1000.0;

impl Actor {
    pub(super) fn subscribe(&mut self, team: TeamId) {
        let topic = topic_of(team);
        match self.swarm.behaviour_mut().gossip.subscribe(&topic) {
            Ok(_) => {
                self.topics.insert(topic.hash(), team);
            }
            Err(error) => tracing::warn!(team = team.short(), %error, "cannot subscribe"),
        }
    }

    pub(super) fn unsubscribe(&mut self, team: TeamId) {
        let topic = topic_of(team);
        self.topics.remove(&topic.hash());
        self.swarm.behaviour_mut().gossip.unsubscribe(&topic);
    }

    pub(super) fn publish(&mut self, team: TeamId, bytes: Vec<u8>) {
        match self
            .swarm
            .behaviour_mut()
            .gossip
            .publish(topic_of(team), bytes)
        {
            Ok(_) => {}
            Err(PublishError::NoPeersSubscribedToTopic | PublishError::Duplicate) => {}
            Err(error) => tracing::warn!(team = team.short(), %error, "cannot gossip"),
        }
    }

    pub(super) fn gossiped(&mut self, id: GossipId, message: gossipsub::Message) {
        let from = device_of(&id.from).filter(|from| self.gate.is_member(*from));
        match (from, self.topics.get(&message.topic).copied()) {
            (Some(from), Some(team)) if self.outbox.has_room() => {
                self.outbox.push(NetEvent::Gossip {
                    team,
                    from,
                    bytes: message.data,
                    id,
                });
            }
            _ => self.report(&id, Verdict::Ignore),
        }
    }

    pub(super) fn report(&mut self, id: &GossipId, verdict: Verdict) {
        let gossip = &mut self.swarm.behaviour_mut().gossip;
        gossip.report_message_validation_result(&id.message, &id.from, verdict.into());
    }

    /// Sets a peer's score: strangers neither send nor receive gossip.
    pub(super) fn score(&mut self, device: DeviceId) {
        let score = if self.gate.is_member(device) {
            0.0
        } else {
            STRANGER_SCORE
        };
        self.swarm
            .behaviour_mut()
            .gossip
            .set_application_score(&peer_of(device), score);
    }
}

fn topic_of(team: TeamId) -> IdentTopic {
    IdentTopic::new(format!("/podsync/gossip/1/{team}"))
}

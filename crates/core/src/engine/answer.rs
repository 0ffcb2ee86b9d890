//! Answers requests of peers. Only members get an answer with content.
//!
//! Answers are cut to their bound before they are built. The peer asks again for the rest.

use serde_bytes::ByteBuf;

use super::{Engine, Output, command::Queued, digest::bucket_of, input::ResponderId};
use crate::{
    bounded::Bounded,
    codec::Format,
    id::{DeviceId, OpId, TeamId},
    membership::{
        operation::InviteProof,
        wire::{MembershipResponse, RefusedReason},
    },
    signed::Verified,
    wire::{
        BUCKETS, EntriesRequest, EntriesResponse, HeadsRequest, HeadsResponse, MAX_ENTRIES,
        MAX_ENTRIES_LEN, Refusal, RequestIn,
    },
};

/// The bytes that framing adds for each entry of an answer.
const ITEM_OVERHEAD: usize = 8;

impl Engine {
    pub(super) fn on_request(&mut self, id: ResponderId, device: DeviceId, request: RequestIn) {
        let bytes = match request {
            RequestIn::Heads(request) => self.answer_heads(device, &request).encode(),
            RequestIn::Entries(request) => self.answer_entries(device, &request).encode(),
            RequestIn::Have(request) => self.answer_have(device, request).encode(),
            RequestIn::Operations { team, known } => {
                self.answer_operations(device, team, &known).encode()
            }
            RequestIn::Join { team, proof } => {
                return self.on_join_request(id, device, team, *proof);
            }
        };
        self.outputs.push_back(Output::Respond { id, bytes });
    }

    fn answer_heads(&mut self, device: DeviceId, request: &HeadsRequest) -> HeadsResponse {
        let team = request.team;
        if !self.serves(team, &device) {
            return HeadsResponse::Refused(Refusal::NotAMember);
        }
        self.state_liveness_if_old(team);
        let me = self.secret.id();
        let addresses = self.addresses_for(team, device);
        let Some(state) = self.teams.get_mut(&team) else {
            return HeadsResponse::Refused(Refusal::NotAMember);
        };
        let ours = state.team.buckets();
        let differs: Vec<bool> = (0..BUCKETS)
            .map(|bucket| request.buckets.get(bucket) != ours.get(bucket))
            .collect();
        let same_membership = request.membership == state.team.membership.digest();
        let membership = if same_membership {
            &[][..]
        } else {
            state.team.membership.heads()
        };
        let heads = state
            .team
            .heads()
            .filter(|head| differs[bucket_of(&head.signer())]);
        let response = HeadsResponse::Heads {
            membership: Bounded::first(membership.iter().copied()),
            heads: Bounded::first(heads.map(|head| ByteBuf::from(&head.bytes()[..]))),
            liveness: state
                .team
                .liveness
                .get(&me)
                .map(|liveness| ByteBuf::from(&liveness.bytes()[..])),
            addresses,
        };
        if !same_membership || differs.contains(&true) {
            self.exchange_again(team, device);
        }
        response
    }

    fn answer_entries(&mut self, device: DeviceId, request: &EntriesRequest) -> EntriesResponse {
        if !self.serves(request.team, &device) {
            return EntriesResponse::Refused(Refusal::NotAMember);
        }
        let Some(state) = self.teams.get(&request.team) else {
            return EntriesResponse::Refused(Refusal::NotAMember);
        };
        let feeds = request
            .ranges
            .iter()
            .filter_map(|range| Some((state.team.feed(&range.device)?, range)));
        let mut entries = feeds.flat_map(|(feed, range)| feed.range(range.from, range.to));
        let mut room = MAX_ENTRIES_LEN - ITEM_OVERHEAD;
        let mut fitting = Vec::new();
        let mut more = false;
        for entry in &mut entries {
            let len = entry.bytes().len() + ITEM_OVERHEAD;
            if len > room || fitting.len() == MAX_ENTRIES {
                more = true;
                break;
            }
            room -= len;
            fitting.push(ByteBuf::from(&entry.bytes()[..]));
        }
        EntriesResponse::Entries {
            entries: Bounded::first(fitting),
            more,
        }
    }

    fn answer_operations(
        &self,
        device: DeviceId,
        team: TeamId,
        known: &[OpId],
    ) -> MembershipResponse {
        match self.teams.get(&team) {
            Some(state) if self.serves(team, &device) => {
                MembershipResponse::ops(state.team.membership.ops_since(known))
            }
            // A removed device knows this team already: it may learn of its own removal.
            Some(state) if state.team.membership.state().member(&device).is_some() => {
                let removal = state.team.membership.removal_since(&device, known);
                if removal.is_empty() {
                    MembershipResponse::Refused(RefusedReason::DeviceRemoved)
                } else {
                    MembershipResponse::ops(removal)
                }
            }
            // A stranger must not learn which teams exist here.
            _ => MembershipResponse::Refused(RefusedReason::NotListed),
        }
    }

    /// Queues a newcomer's join request behind this device's other decisions.
    fn on_join_request(
        &mut self,
        id: ResponderId,
        device: DeviceId,
        team: TeamId,
        proof: Verified<InviteProof>,
    ) {
        let refuse = |why| Output::Respond {
            id,
            bytes: MembershipResponse::Refused(why).encode(),
        };
        if proof.value().newcomer.device != device {
            return self.outputs.push_back(refuse(RefusedReason::OtherDevice));
        }
        if !self.teams.contains_key(&team) {
            return self.outputs.push_back(refuse(RefusedReason::UnknownTeam));
        }
        if !self.queue(
            team,
            Queued::Witness {
                responder: id,
                proof: Box::new(proof),
            },
        ) {
            self.outputs.push_back(refuse(RefusedReason::Busy));
        }
    }
}

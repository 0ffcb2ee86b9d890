//! Maps the engine's numbers for commands, transfers, requests and messages to the callers that wait for them.

use std::collections::{BTreeMap, BTreeSet};

use podsync_core::{
    DeviceId,
    engine::{
        Answer, CommandId, EngineError, FetchId, GossipId, Provider, ResponderId, TransferId,
    },
};
use podsync_net::Responder;
use tokio::sync::{oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::handle::{NotReached, TransferProgress, Transferred};

/// The caller that waits for a command.
pub(super) type Reply = oneshot::Sender<Result<Answer, EngineError>>;
/// The caller that waits for a connection.
pub(super) type Waiter = oneshot::Sender<Result<(), NotReached>>;

/// A transfer that somebody waits for.
pub(super) struct Pending {
    pub(super) progress: watch::Sender<TransferProgress>,
    pub(super) end: oneshot::Sender<Transferred>,
}

#[derive(Default)]
pub(super) struct Correlation {
    last_id: u64,
    replies: BTreeMap<CommandId, Reply>,
    /// Commands to join a team.
    joins: BTreeSet<CommandId>,
    transfers: BTreeMap<TransferId, Pending>,
    responders: BTreeMap<ResponderId, Responder>,
    gossip: BTreeMap<GossipId, podsync_net::GossipId>,
    fetches: BTreeMap<FetchId, CancellationToken>,
    waiters: BTreeMap<DeviceId, Vec<Waiter>>,
}

impl Correlation {
    fn fresh(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    pub(super) fn command(&mut self, reply: Reply, is_join: bool) -> CommandId {
        let id = CommandId(self.fresh());
        self.replies.insert(id, reply);
        if is_join {
            self.joins.insert(id);
        }
        id
    }

    pub(super) fn reply(&mut self, id: CommandId, result: Result<Answer, EngineError>) {
        self.joins.remove(&id);
        if let Some(reply) = self.replies.remove(&id) {
            // The caller may be gone. The command is carried out all the same.
            let _ = reply.send(result);
        }
    }

    pub(super) fn is_joining(&self) -> bool {
        !self.joins.is_empty()
    }

    pub(super) fn transfer(&mut self, pending: Pending) -> TransferId {
        let id = TransferId(self.fresh());
        self.transfers.insert(id, pending);
        id
    }

    pub(super) fn progress(&self, id: TransferId, progress: TransferProgress) {
        if let Some(pending) = self.transfers.get(&id) {
            pending.progress.send_replace(progress);
        }
    }

    pub(super) fn end_transfer(
        &mut self,
        id: TransferId,
        result: Result<(), EngineError>,
        from: &[(Provider, u64)],
    ) {
        if let Some(pending) = self.transfers.remove(&id) {
            let _ = pending.end.send(Transferred {
                result,
                from: from.to_vec(),
            });
        }
    }

    /// The transfers that nobody waits for any more.
    pub(super) fn abandoned(&mut self) -> Vec<TransferId> {
        let abandoned = self
            .transfers
            .extract_if(.., |_, pending| pending.end.is_closed());
        abandoned.map(|(id, _)| id).collect()
    }

    pub(super) fn responder(&mut self, responder: Responder) -> ResponderId {
        let id = ResponderId(self.fresh());
        self.responders.insert(id, responder);
        id
    }

    pub(super) fn take_responder(&mut self, id: ResponderId) -> Option<Responder> {
        self.responders.remove(&id)
    }

    pub(super) fn gossip(&mut self, theirs: podsync_net::GossipId) -> GossipId {
        let id = GossipId(self.fresh());
        self.gossip.insert(id, theirs);
        id
    }

    pub(super) fn take_gossip(&mut self, id: GossipId) -> Option<podsync_net::GossipId> {
        self.gossip.remove(&id)
    }

    pub(super) fn fetch(&mut self, id: FetchId) -> CancellationToken {
        let cancel = CancellationToken::new();
        self.fetches.insert(id, cancel.clone());
        cancel
    }

    pub(super) fn cancel_fetch(&mut self, id: FetchId) {
        if let Some(cancel) = self.fetches.remove(&id) {
            cancel.cancel();
        }
    }

    pub(super) fn fetch_ended(&mut self, id: FetchId) {
        self.fetches.remove(&id);
    }

    pub(super) fn wait_for(&mut self, device: DeviceId, waiter: Waiter) {
        let waiters = self.waiters.entry(device).or_default();
        waiters.retain(|waiter| !waiter.is_closed());
        waiters.push(waiter);
    }

    pub(super) fn reached(&mut self, device: DeviceId, result: Result<(), NotReached>) {
        for waiter in self.waiters.remove(&device).unwrap_or_default() {
            let _ = waiter.send(result);
        }
    }
}

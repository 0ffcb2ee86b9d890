//! Carries out each output as the daemon would, in virtual time.

use podsync_core::{
    TeamId,
    engine::{
        Answer, CommandId, EngineError, Event, Input, Output, PersistId, Provider, Record,
        RequestId, TransferId, Verdict,
    },
    wire::Protocol,
};
use podsync_daemon::addresses;
use rand::RngExt;

use super::{
    asked::Asked, chance, disk::Mood, happening::Happening, hash::hash, history::Violation,
    id::NodeId, invariants, node::Requested, parcel::Parcel, world::World,
};

/// The timeout of a request.
const ANSWER_WITHIN: std::time::Duration = std::time::Duration::from_secs(10);

impl World {
    pub(super) fn carry_out(&mut self, node: NodeId, output: Output) -> Result<(), Violation> {
        match output {
            Output::Persist { id, records } => {
                self.persist(node, id, records);
                Ok(())
            }
            Output::Gossip { team, bytes } => self.gossip(node, team, bytes),
            Output::Validate { id, verdict } => {
                let pending = self.node_mut(node).pending_gossip.remove(&id);
                if let Some(gossip) = pending.filter(|_| verdict == Verdict::Accept) {
                    self.pass_on(node, gossip.team, &gossip.bytes, Some(gossip.from));
                }
                Ok(())
            }
            Output::Request {
                id,
                device,
                protocol,
                bytes,
            } => {
                self.request(node, id, device, protocol, bytes);
                Ok(())
            }
            Output::Respond { id, bytes } => self.respond(node, id, bytes),
            Output::Fetch {
                fetch,
                team: _,
                provider,
                blob,
                range,
                total_len,
            } => {
                match provider {
                    Provider::Peer(device) => {
                        self.fetch(node, fetch, device, blob, range, total_len);
                    }
                    Provider::Bucket => self.download(node, fetch, blob, range, total_len),
                }
                Ok(())
            }
            Output::CancelFetch { fetch } => {
                let home = self.node_mut(node);
                home.fetches.remove(&fetch);
                home.downloads.remove(&fetch);
                Ok(())
            }
            Output::Disconnect { device, why: _ } => {
                if let Some(peer) = self.peer(node, &device) {
                    self.note(node, "hangs up", Some(peer.node), 0);
                    self.sessions.remove(&peer.session);
                    self.announce_end(peer.session, node, peer.node);
                }
                Ok(())
            }
            // No ticket names a hub here.
            Output::JoinAtHub { .. } => Ok(()),
            Output::GateChanged(change) => {
                self.node_mut(node).gate.apply(change.clone());
                self.membership_told(node, &change)
            }
            Output::Reply { command, result } => self.reply(node, command, result),
            Output::Event(event) => self.event(node, &event),
        }
    }

    fn persist(&mut self, node: NodeId, id: PersistId, records: Vec<Record>) {
        self.note(node, "is to persist", None, records.len() as u64);
        self.node_mut(node).disk.submit(id, records);
        self.write(node);
    }

    /// Starts a commit of all that waits, if none is under way.
    fn write(&mut self, node: NodeId) {
        let mut takes = chance::time(&mut self.rng, &self.climate.commit);
        let home = self.node_mut(node);
        if !home.disk.begin() {
            return;
        }
        if let Mood::Slow(times) = home.disk.mood {
            takes *= times;
        }
        let life = home.life;
        self.enter(takes, Happening::Written { node, life });
    }

    pub(super) fn written(&mut self, node: NodeId, life: u32) -> Result<(), Violation> {
        if self.node(node).life != life {
            return Ok(());
        }
        let (ids, records, well) = self.node_mut(node).disk.finish();
        self.note(
            node,
            if well {
                "has persisted"
            } else {
                "fails to persist"
            },
            None,
            ids.len() as u64,
        );
        self.now_durable(node, &records)?;
        for id in ids {
            let input = if well {
                Input::Persisted { id }
            } else {
                Input::PersistFailed {
                    id,
                    why: "the disk is full".into(),
                }
            };
            self.feed(node, input)?;
        }
        self.write(node);
        Ok(())
    }

    /// Records in the ledger what has become durable.
    pub(super) fn now_durable(
        &mut self,
        node: NodeId,
        records: &[Record],
    ) -> Result<(), Violation> {
        for record in records {
            let device = self.node(node).device();
            let checked =
                invariants::records_are_their_signers_own(device, record, &mut self.ledger);
            self.judge(node, checked)?;
        }
        Ok(())
    }

    fn request(
        &mut self,
        node: NodeId,
        id: RequestId,
        device: podsync_core::DeviceId,
        protocol: Protocol,
        bytes: Vec<u8>,
    ) {
        let life = self.node(node).life;
        let Some(peer) = self.peer(node, &device) else {
            // A request to a disconnected device fails soon, but not at the same instant.
            let latency = chance::time(&mut self.rng, &self.climate.latency);
            self.node_mut(node).unsent.insert(id);
            self.enter(
                latency,
                Happening::TimedOut {
                    node,
                    life,
                    request: id,
                },
            );
            return;
        };
        self.note(node, "asks", Some(peer.node), protocol as u64);
        self.node_mut(node)
            .requested
            .insert(id, Requested { peer, protocol });
        self.enter(
            ANSWER_WITHIN,
            Happening::TimedOut {
                node,
                life,
                request: id,
            },
        );
        self.send(
            node,
            peer,
            Parcel::Request {
                life,
                id,
                protocol,
                bytes,
            },
        );
    }

    fn reply(
        &mut self,
        node: NodeId,
        command: CommandId,
        result: Result<Answer, EngineError>,
    ) -> Result<(), Violation> {
        let Some(asked) = self.node_mut(node).asked.remove(&command) else {
            return Err(self.violation(
                Some(node),
                format!("{command:?} was answered, but not asked: {result:?}"),
            ));
        };
        self.note(
            node,
            if result.is_ok() { "replies" } else { "refuses" },
            None,
            command.0,
        );
        if let Ok(answer) = &result {
            let home = &self.nodes[node.0];
            let checked = invariants::replies_tell_what_is_durable(home, &asked, answer)
                .and_then(|()| invariants::numbers_go_up(home, &asked, answer, &mut self.ledger));
            self.judge(node, checked)?;
            self.learn(node, &asked);
        }
        self.answers.insert((node, command), result);
        Ok(())
    }

    fn learn(&mut self, node: NodeId, asked: &Asked) {
        match asked {
            Asked::Publish { .. } => self.figures.published += 1,
            Asked::Remove { team, device } if node == NodeId(0) => {
                self.ledger.removed.insert((*team, *device));
            }
            _ => {}
        }
    }

    fn event(&mut self, node: NodeId, event: &Event) -> Result<(), Violation> {
        match event {
            Event::TransferDone { transfer, .. } => self.transferred(node, *transfer, true),
            Event::TransferFailed { transfer, .. } => self.transferred(node, *transfer, false),
            Event::AddressesHeard { device, addresses } => {
                let (device, addresses) = (*device, addresses.clone());
                self.tell(node, addresses::Input::Announced { device, addresses })
            }
            _ => Ok(()),
        }
    }

    fn transferred(
        &mut self,
        node: NodeId,
        transfer: TransferId,
        done: bool,
    ) -> Result<(), Violation> {
        self.note(
            node,
            if done {
                "has pulled"
            } else {
                "gives up pulling"
            },
            None,
            transfer.0,
        );
        let Some(wanted) = self.node_mut(node).transfers.remove(&transfer) else {
            return Err(self.violation(
                Some(node),
                format!("{transfer:?} ended twice, or was never asked for"),
            ));
        };
        self.ended.insert((node, transfer), done);
        if !done {
            return Ok(());
        }
        self.figures.transfers += 1;
        let checked = invariants::a_finished_transfer_has_everything(self.node(node), &wanted);
        self.judge(node, checked)
    }

    fn gossip(&mut self, node: NodeId, team: TeamId, bytes: Vec<u8>) -> Result<(), Violation> {
        self.note(node, "gossips", None, bytes.len() as u64);
        let checked = invariants::gossip_is_durable(&self.ledger, &bytes);
        self.judge(node, checked)?;
        self.node_mut(node).seen.insert(hash(&bytes));
        self.pass_on(node, team, &bytes.into(), None);
        Ok(())
    }

    /// Whether this message is lost.
    pub(super) fn is_lost(&mut self) -> bool {
        let loss = self.climate.loss;
        loss > 0.0 && self.rng.random_bool(loss)
    }
}

//! Commands of simulated users, and their results.

use std::time::Duration;

use podsync_core::{
    BlobId, DeviceId, PodName, TeamId, TeamName, VersionId,
    engine::{
        Answer, Command, CommandId, EngineError, Input, InviteOptions, Publish, SavePrivate,
        Sources, TransferId, Want, WantedBlob,
    },
    feed::BlobRef,
    membership::Role,
    ticket::Ticket,
};
use rand::RngExt;

use super::{asked::Asked, chance, genesis, history::Violation, id::NodeId, view, world::World};

/// How long a user waits for an answer before the run fails.
const PATIENCE: Duration = Duration::from_secs(120);
/// Bytes of a manifest here; it has no content.
const MANIFEST_LEN: u64 = 5_000;

impl World {
    /// Gives a command. Its reply is found with [`World::answer`].
    pub fn ask(&mut self, node: NodeId, command: Command) -> Result<CommandId, Violation> {
        let asked = self.what_is_asked(node, &command);
        let home = self.node_mut(node);
        let id = CommandId(home.mint());
        home.asked.insert(id, asked);
        self.note(node, "is told", None, id.0);
        self.feed(node, Input::Command { id, command })?;
        Ok(id)
    }

    fn what_is_asked(&mut self, node: NodeId, command: &Command) -> Asked {
        match command {
            Command::CreateTeam { .. } => Asked::CreateTeam,
            Command::Invite(options) => Asked::Invite { team: options.team },
            Command::Join { ticket, .. } => Asked::Join { team: ticket.team },
            Command::Remove { team, device } => Asked::Remove {
                team: *team,
                device: *device,
            },
            Command::Publish(publish) => {
                let (team, pod, version) = (publish.team, publish.pod.clone(), publish.version);
                let device = self.device(node);
                self.ledger
                    .published
                    .insert((team, version), (device, pod.clone()));
                for blob in publish.packs.iter().chain([&publish.manifest]) {
                    self.ledger.blobs.entry(blob.id).or_default().insert(team);
                }
                let engine = self.node(node).engine.as_ref();
                let above = engine.map_or(0, |engine| view::highest_number(engine, team, &pod));
                Asked::Publish {
                    team,
                    pod,
                    version,
                    above,
                }
            }
            Command::SavePrivate(private) => Asked::SavePrivate {
                team: private.team,
                version: private.version,
            },
            _ => Asked::Other,
        }
    }

    /// The reply to a command; none yet, or none at all if the node crashed.
    pub fn answer(&self, node: NodeId, command: CommandId) -> Option<&Result<Answer, EngineError>> {
        self.answers.get(&(node, command))
    }

    /// Gives a command and lets time pass until it is answered.
    pub fn ask_and_wait(
        &mut self,
        node: NodeId,
        command: Command,
    ) -> Result<Result<Answer, EngineError>, Violation> {
        let id = self.ask(node, command)?;
        self.run_until(PATIENCE, |world| world.answer(node, id).is_some())?;
        let answer = self.answers.get(&(node, id)).cloned();
        answer.ok_or_else(|| self.violation(Some(node), format!("{id:?} is not answered")))
    }

    /// Gives a command that must succeed.
    pub fn must(&mut self, node: NodeId, command: Command) -> Result<Answer, Violation> {
        let shown = format!("{command:?}");
        self.ask_and_wait(node, command)?
            .map_err(|error| self.violation(Some(node), format!("{shown} was refused: {error}")))
    }

    pub fn create_team(&mut self, node: NodeId, name: &str) -> Result<TeamId, Violation> {
        let name = TeamName::new(name).expect("a good name");
        let (member, label) = (genesis::member(node.0), genesis::label(node.0));
        match self.must(
            node,
            Command::CreateTeam {
                name,
                member,
                label,
            },
        )? {
            Answer::TeamCreated { team, .. } => Ok(team),
            other => {
                Err(self.violation(Some(node), format!("a team was asked for, not {other:?}")))
            }
        }
    }

    pub fn invite(
        &mut self,
        node: NodeId,
        team: TeamId,
        role: Role,
        uses: u32,
    ) -> Result<Ticket, Violation> {
        let expires_ms = self.clock().wall_ms + 86_400_000;
        let options = InviteOptions {
            team,
            role,
            member: None,
            expires_ms,
            uses,
            robot: None,
            addresses: Vec::new(),
        };
        match self.must(node, Command::Invite(options))? {
            Answer::Invited { ticket } => Ok(*ticket),
            other => Err(self.violation(
                Some(node),
                format!("an invite was asked for, not {other:?}"),
            )),
        }
    }

    pub fn join(&self, node: NodeId, ticket: &Ticket) -> Command {
        Command::Join {
            ticket: Box::new(ticket.clone()),
            member: genesis::member(node.0),
            label: genesis::label(node.0),
            patience: Duration::from_secs(90),
        }
    }

    /// A new version with packs of these lengths, whole in the node's store. None where the node
    /// can't read the team's key yet.
    pub fn saved(
        &mut self,
        node: NodeId,
        team: TeamId,
        pod: &str,
        packs: &[u64],
    ) -> Result<Option<Publish>, Violation> {
        let Some(epoch) = self
            .node(node)
            .engine
            .as_ref()
            .and_then(|engine| view::epoch(engine, team))
        else {
            return Ok(None);
        };
        let mut blob = |len| BlobRef {
            id: BlobId::from_bytes(chance::seed(&mut self.rng)),
            len,
        };
        let manifest = blob(MANIFEST_LEN);
        let packs: Vec<_> = packs.iter().map(|len| blob(*len)).collect();
        for blob in packs.iter().chain([&manifest]) {
            self.node_mut(node)
                .store
                .put(blob.id, blob.len, 0..blob.len);
            self.feed(
                node,
                Input::Held {
                    blob: blob.id,
                    len: blob.len,
                    bytes: 0..blob.len,
                },
            )?;
        }
        Ok(Some(Publish {
            team,
            pod: PodName::new(pod).expect("a good name"),
            version: VersionId::from_bytes(chance::seed(&mut self.rng)),
            epoch,
            manifest,
            state_len: packs.iter().map(|pack| pack.len).sum(),
            packs,
            message: "as it was".into(),
            services: vec!["s3".into(), "sqs".into()],
            emulator: None,
            created_ms: self.clock().wall_ms,
            entry_count: 1,
            tags: Vec::new(),
            is_older: false,
            replaces: None,
        }))
    }

    /// Saves a version and shares it.
    pub fn publish(
        &mut self,
        node: NodeId,
        team: TeamId,
        pod: &str,
        packs: &[u64],
    ) -> Result<VersionId, Violation> {
        let publish = self.saved(node, team, pod, packs)?;
        let publish = publish
            .ok_or_else(|| self.violation(Some(node), format!("{team:?} has no key here")))?;
        let version = publish.version;
        self.must(node, Command::Publish(Box::new(publish)))?;
        Ok(version)
    }

    /// The same version as a private one.
    pub fn private(publish: &Publish) -> SavePrivate {
        SavePrivate {
            team: publish.team,
            pod: publish.pod.clone(),
            version: publish.version,
            manifest: publish.manifest,
            message: publish.message.clone(),
            services: publish.services.clone(),
            emulator: None,
            created_ms: publish.created_ms,
            state_len: publish.state_len,
            entry_count: publish.entry_count,
        }
    }

    /// Starts to pull the missing parts of a version that a node knows.
    pub fn pull(
        &mut self,
        node: NodeId,
        team: TeamId,
        version: VersionId,
    ) -> Result<Option<TransferId>, Violation> {
        let Some((blobs, prefer)) = self.lacking(node, team, version) else {
            return Ok(None);
        };
        let home = self.node_mut(node);
        let transfer = TransferId(home.mint());
        home.transfers.insert(transfer, blobs.clone());
        self.note(node, "pulls", None, transfer.0);
        let patience = Duration::from_secs(60);
        self.feed(
            node,
            Input::Want(Want {
                transfer,
                team,
                blobs,
                prefer: Some(prefer),
                sources: Sources::Any,
                patience,
            }),
        )?;
        Ok(Some(transfer))
    }

    fn lacking(
        &self,
        node: NodeId,
        team: TeamId,
        version: VersionId,
    ) -> Option<(Vec<WantedBlob>, DeviceId)> {
        let home = self.node(node);
        let catalog = view::catalog(home.engine.as_ref()?, team)?;
        let record = view::versions(catalog).find(|record| record.version() == version)?;
        let blobs = record.packs().iter().copied().chain([record.manifest()]);
        let lacking = |blob: BlobRef| {
            let missing = home.store.missing(&blob.id, blob.len);
            (!missing.is_empty()).then_some(WantedBlob {
                blob: blob.id,
                len: blob.len,
                missing,
            })
        };
        Some((blobs.filter_map(lacking).collect(), record.device()))
    }

    /// Whether a transfer has ended, and if so, well.
    pub fn transfer(&self, node: NodeId, transfer: TransferId) -> Option<bool> {
        self.ended.get(&(node, transfer)).copied()
    }

    /// Whether a node lists a version.
    pub fn lists(&self, node: NodeId, team: TeamId, version: VersionId) -> bool {
        let catalog = self
            .node(node)
            .engine
            .as_ref()
            .and_then(|engine| view::catalog(engine, team));
        catalog.is_some_and(|catalog| {
            view::versions(catalog).any(|record| record.version() == version)
        })
    }

    /// The versions that a node lists.
    pub fn versions(&self, node: NodeId, team: TeamId) -> Vec<(PodName, VersionId)> {
        let catalog = self
            .node(node)
            .engine
            .as_ref()
            .and_then(|engine| view::catalog(engine, team));
        let versions = catalog.into_iter().flat_map(view::versions);
        versions
            .map(|record| (record.publication.pod.clone(), record.version()))
            .collect()
    }

    /// How many operations a node holds of a team.
    pub fn operations(&self, node: NodeId, team: TeamId) -> usize {
        let engine = self.node(node).engine.as_ref();
        engine
            .and_then(|engine| engine.membership(&team))
            .map_or(0, |membership| membership.op_count())
    }

    pub fn is_member(&self, node: NodeId, team: TeamId, device: DeviceId) -> bool {
        let engine = self.node(node).engine.as_ref();
        engine
            .and_then(|engine| view::roster(engine, team))
            .is_some_and(|roster| roster.is_member(&device))
    }

    /// A pack length of one of the kinds that there are: tiny, odd, or full.
    pub(super) fn pack_len(&mut self) -> u64 {
        match self.rng.random_range(0..4) {
            0 => self.rng.random_range(1..100_000),
            1 => self.rng.random_range(1..40) << 20,
            _ => self.rng.random_range(1..=32 << 20),
        }
    }
}

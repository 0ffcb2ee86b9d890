//! A random run: users and accidents, until everything is repaired and quiet.
//!
//! The seed decides what happens. At the end of a run the network is whole, the disks work and all
//! nodes are up. Then nothing may be left open, and all nodes must have the same state.

use std::time::Duration;

use podsync_core::{
    DeviceId, PodName, TagName, TeamId, VersionId, engine::Command, membership::Role,
};
use rand::RngExt;

use super::{
    Climate, Conduct, Mood, chance, history::Violation, id::NodeId, invariants, world::World,
};

/// Pods that people save.
const PODS: [&str; 3] = ["orders", "payments", "search"];
/// How long a mended world may take to agree: some rounds of the exchange that runs every 45 s.
const SETTLES_WITHIN: Duration = Duration::from_secs(20 * 60);
/// How often agreement is looked for.
const LOOK_EVERY: Duration = Duration::from_secs(20);

impl World {
    /// A team by tickets: the first node founds it, all others join by one invite.
    pub fn gather(&mut self, count: usize) -> Result<TeamId, Violation> {
        let founder = self.add()?;
        let team = self.create_team(founder, "everybody")?;
        let ticket = self.invite(founder, team, Role::Publisher, count as u32)?;
        for _ in 1..count {
            let newcomer = self.add()?;
            for node in self.nodes().take(newcomer.0).collect::<Vec<_>>() {
                self.link(node, newcomer);
            }
            let join = self.join(newcomer, &ticket);
            self.must(newcomer, join)?;
        }
        Ok(team)
    }

    /// Runs random users and accidents for a while.
    pub fn live(&mut self, team: TeamId, span: Duration) -> Result<(), Violation> {
        let until = self.now + span;
        while self.now < until {
            let pause = chance::time(&mut self.rng, &(Duration::ZERO..Duration::from_secs(15)));
            self.run_for(pause)?;
            match self.rng.random_range(0..100) {
                0..70 => self.somebody_works(team)?,
                70..76 => self.somebody_administers(team)?,
                _ => self.something_breaks()?,
            }
        }
        Ok(())
    }

    fn somebody_works(&mut self, team: TeamId) -> Result<(), Violation> {
        let node = self.anybody();
        if !self.is_up(node) {
            return Ok(());
        }
        match self.rng.random_range(0..10) {
            0..4 => self.share_something(node, team),
            4 => self.save_something(node, team),
            5 => self.tag_something(node, team),
            6 => self.drop_something(node, team),
            _ => self.pull_something(node, team),
        }
    }

    fn share_something(&mut self, node: NodeId, team: TeamId) -> Result<(), Violation> {
        let pod = PODS[self.rng.random_range(0..PODS.len())];
        let packs: Vec<_> = (0..self.rng.random_range(0..4))
            .map(|_| self.pack_len())
            .collect();
        if let Some(mut publish) = self.saved(node, team, pod, &packs)? {
            if self.rng.random_bool(0.2) {
                publish.tags.push(tag());
            }
            self.ask(node, Command::Publish(Box::new(publish)))?;
        }
        Ok(())
    }

    fn save_something(&mut self, node: NodeId, team: TeamId) -> Result<(), Violation> {
        let Some(publish) = self.saved(node, team, PODS[0], &[1 << 20])? else {
            return Ok(());
        };
        self.ask(
            node,
            Command::SavePrivate(Box::new(Self::private(&publish))),
        )?;
        if self.rng.random_bool(0.5) {
            let replaces = Some(publish.version);
            let version = VersionId::from_bytes(chance::seed(&mut self.rng));
            let publish = podsync_core::engine::Publish {
                version,
                replaces,
                ..publish
            };
            self.ask(node, Command::Publish(Box::new(publish)))?;
        }
        Ok(())
    }

    fn tag_something(&mut self, node: NodeId, team: TeamId) -> Result<(), Violation> {
        let Some((pod, version)) = self.any_version(node, team) else {
            return Ok(());
        };
        let version = self.rng.random_bool(0.8).then_some(version);
        self.ask(
            node,
            Command::Tag {
                team,
                pod,
                tag: tag(),
                version,
            },
        )?;
        Ok(())
    }

    fn drop_something(&mut self, node: NodeId, team: TeamId) -> Result<(), Violation> {
        let Some((pod, version)) = self.any_version(node, team) else {
            return Ok(());
        };
        self.ask(node, Command::Drop { team, pod, version })?;
        Ok(())
    }

    fn pull_something(&mut self, node: NodeId, team: TeamId) -> Result<(), Violation> {
        let Some((_, version)) = self.any_version(node, team) else {
            return Ok(());
        };
        self.pull(node, team, version)?;
        Ok(())
    }

    fn any_version(&mut self, node: NodeId, team: TeamId) -> Option<(PodName, VersionId)> {
        let versions = self.versions(node, team);
        chance::one(&mut self.rng, &versions).cloned()
    }

    /// The founder alone removes, and never itself: what it reports as done must then be so for all.
    fn somebody_administers(&mut self, team: TeamId) -> Result<(), Violation> {
        let founder = NodeId(0);
        if !self.is_up(founder) {
            return Ok(());
        }
        let device = self.anybodys_device();
        if device == self.device(founder) {
            return Ok(());
        }
        let command = match self.rng.random_range(0..6) {
            0 => Command::Remove { team, device },
            1 => Command::Rotate { team },
            2 => Command::SetRole {
                team,
                device,
                role: Role::Reader,
            },
            3 => Command::SetRole {
                team,
                device,
                role: Role::Admin,
            },
            _ => Command::SetRole {
                team,
                device,
                role: Role::Publisher,
            },
        };
        self.ask(founder, command)?;
        Ok(())
    }

    fn something_breaks(&mut self) -> Result<(), Violation> {
        let node = self.anybody();
        match self.rng.random_range(0..12) {
            0..3 => self.crash(node),
            3..6 => self.start(node),
            6 => {
                let far: Vec<_> = self.nodes().filter(|node| node.0 % 2 == 1).collect();
                self.partition(far);
                Ok(())
            }
            7 | 8 => {
                self.heal();
                Ok(())
            }
            9 => {
                self.set_mood(node, Mood::Failing);
                Ok(())
            }
            10 => {
                self.set_mood(node, Mood::Slow(20));
                Ok(())
            }
            _ => {
                self.set_mood(node, Mood::Sound);
                Ok(())
            }
        }
    }

    fn anybody(&mut self) -> NodeId {
        NodeId(self.rng.random_range(0..self.nodes.len()))
    }

    fn anybodys_device(&mut self) -> DeviceId {
        let node = self.anybody();
        self.device(node)
    }

    /// Repairs everything, waits until all is quiet, and checks that all nodes agree.
    pub fn mend_and_agree(&mut self) -> Result<(), Violation> {
        self.heal();
        self.set_climate(Climate::fair());
        for node in self.nodes() {
            self.set_mood(node, Mood::Sound);
            self.set_conduct(node, Conduct::Honest);
            self.start(node)?;
        }
        let until = self.now + SETTLES_WITHIN;
        loop {
            self.run_for(LOOK_EVERY)?;
            let Err(violation) = self.check_the_end() else {
                return Ok(());
            };
            if self.now >= until {
                return Err(violation);
            }
        }
    }

    fn check_the_end(&self) -> Result<(), Violation> {
        for node in self.nodes() {
            let home = self.node(node);
            if let Some((id, asked)) = home.asked.first_key_value() {
                return Err(
                    self.violation(Some(node), format!("{id:?} is never answered: {asked:?}"))
                );
            }
            if let Some(id) = home.transfers.keys().next() {
                return Err(self.violation(Some(node), format!("{id:?} never ends")));
            }
        }
        invariants::one_world_in_the_end(self.nodes.iter(), &self.ledger)
            .map_err(|broken| self.violation(None, broken.0))
    }
}

fn tag() -> TagName {
    TagName::new("baseline").expect("a good name")
}

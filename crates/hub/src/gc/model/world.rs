//! One world: who acts next, how much time passes, who is killed, and what must hold at the end.

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::AddAssign,
    pin::Pin,
    sync::{Arc, Mutex},
    task::{Context, Waker},
    time::Duration,
};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::{
    bucket::SimBucket,
    team::{self, DEVICES, Team},
    writer::Device,
};
use crate::{
    gc::{decide::Retention, sweep},
    keys::ObjectKey,
    stored::{HEADS, SEGMENTS},
};

const SWEEPERS: usize = 2;
/// Of a killed device's requests some are still at the hub; no more than this many.
const MAX_ORPHANS: usize = 4;
/// Turns that a sweeper sleeps through at times, while everybody else goes on.
const NAP: u64 = 400;

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What happened.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Tally {
    pub(super) steps: u64,
    pub(super) commits: u64,
    pub(super) refused: u64,
    pub(super) drops: u64,
    pub(super) deletions: u64,
    pub(super) revived: u64,
    pub(super) named_and_condemned: u64,
    /// Objects that were put right, and those that nothing named any more when they were.
    pub(super) mended: u64,
    pub(super) mended_late: u64,
    pub(super) crashes: u64,
}

impl AddAssign for Tally {
    fn add_assign(&mut self, other: Self) {
        self.steps += other.steps;
        self.commits += other.commits;
        self.refused += other.refused;
        self.drops += other.drops;
        self.deletions += other.deletions;
        self.revived += other.revived;
        self.named_and_condemned += other.named_and_condemned;
        self.mended += other.mended;
        self.mended_late += other.mended_late;
        self.crashes += other.crashes;
    }
}

pub(super) struct World {
    seed: u64,
    chance: ChaCha8Rng,
    bucket: SimBucket,
    team: Arc<Team>,
    devices: Vec<Device>,
    writers: Vec<Task>,
    orphans: Vec<Task>,
    sweepers: Vec<Task>,
    /// A sweeper, and the step that it sleeps until.
    asleep: (usize, u64),
    tally: Arc<Mutex<Tally>>,
}

impl World {
    pub(super) fn new(seed: u64) -> Self {
        let (bucket, team) = (SimBucket::new(), Arc::new(Team::new()));
        let tally = Arc::new(Mutex::new(Tally::default()));
        let device = |number| Device {
            number,
            team: team.id(),
            disk: Arc::default(),
            bucket: bucket.clone(),
            tally: tally.clone(),
        };
        let mut world = Self {
            seed,
            chance: ChaCha8Rng::seed_from_u64(seed),
            devices: (0..DEVICES).map(device).collect(),
            bucket,
            team,
            writers: Vec::new(),
            orphans: Vec::new(),
            sweepers: Vec::new(),
            asleep: (0, 0),
            tally,
        };
        for number in 0..usize::from(DEVICES) {
            let writer = world.writer(number);
            world.writers.push(writer);
        }
        for _ in 0..SWEEPERS {
            let sweeper = world.sweeper();
            world.sweepers.push(sweeper);
        }
        world
    }

    pub(super) fn play(&mut self, steps: u64) {
        while self.bucket.state().steps < steps {
            self.let_time_pass();
            match self.chance.random_range(0..100) {
                0 => self.kill(),
                1..=59 => {
                    let at = self.chance.random_range(0..self.writers.len());
                    poll(&mut self.writers[at]);
                }
                60..=69 if !self.orphans.is_empty() => {
                    let at = self.chance.random_range(0..self.orphans.len());
                    if poll(&mut self.orphans[at]) {
                        drop(self.orphans.swap_remove(at));
                    }
                }
                _ => {
                    let at = self.chance.random_range(0..self.sweepers.len());
                    let now = self.bucket.state().steps;
                    if self.asleep.1 < now && self.chance.random_bool(0.01) {
                        self.asleep = (at, now + NAP);
                    }
                    if self.asleep.0 == at && now < self.asleep.1 {
                        continue;
                    }
                    if poll(&mut self.sweepers[at]) {
                        self.sweepers[at] = self.sweeper();
                    }
                }
            }
        }
    }

    /// Everybody but sweepers stops, time passes: what is named is there, and nothing else.
    pub(super) fn finish(mut self) -> Tally {
        self.orphans.clear();
        self.sweepers.clear();
        self.settle();
        for hours in [2, 49, 25, 2] {
            self.pass(Duration::from_secs(hours * 3600));
            let mut sweeper = self.sweeper();
            while !poll(&mut sweeper) {}
        }
        let state = self.bucket.state();
        let named: BTreeSet<ObjectKey> = state.truth.live.values().flatten().copied().collect();
        let present: BTreeSet<ObjectKey> = state
            .objects
            .keys()
            .filter_map(|key| key.parse().ok())
            .collect();
        assert!(named.is_subset(&present), "LOST, seed {}", self.seed);
        let garbage: Vec<_> = present.difference(&named).collect();
        assert!(garbage.is_empty(), "seed {}: {garbage:?} stays", self.seed);
        let count = |folder| {
            state
                .objects
                .keys()
                .filter(|key| key.starts_with(folder))
                .count()
        };
        let segments: BTreeMap<_, _> = state
            .truth
            .newest
            .values()
            .map(|(_, stored)| (stored.segments.len(), ()))
            .collect();
        assert_eq!(count(HEADS), state.truth.newest.len(), "seed {}", self.seed);
        let named = state.truth.newest.values();
        let named: usize = named.map(|(_, stored)| stored.segments.len()).sum();
        assert_eq!(count(SEGMENTS), named, "seed {}: {segments:?}", self.seed);
        let mut tally = *self.tally.lock().unwrap();
        let truth = &state.truth;
        tally.steps = state.steps;
        tally.commits = truth.commits;
        tally.drops = truth.ended.len() as u64;
        tally.deletions = truth.deletions;
        tally.revived = truth.revived;
        tally.named_and_condemned = truth.named_and_condemned;
        tally
    }

    /// Each device commits what it has begun, so that nothing is half way.
    fn settle(&mut self) {
        for number in 0..usize::from(DEVICES) {
            self.writers[number] = self.writer(number);
            let made = self.devices[number].disk().made.len();
            let begun = self.bucket.state().steps;
            while self.devices[number].disk().committed <= made {
                poll(&mut self.writers[number]);
                let steps = self.bucket.state().steps - begun;
                assert!(steps < 100_000, "seed {}: no commit succeeds", self.seed);
            }
        }
        // What they began next was not sent.
        self.writers.clear();
        for device in &self.devices {
            let mut disk = device.disk();
            let committed = disk.committed;
            disk.made.truncate(committed);
        }
    }

    fn writer(&mut self, number: usize) -> Task {
        let device = self.devices[number].clone();
        let life = {
            let mut disk = device.disk();
            disk.life += 1;
            disk.life
        };
        let chance = ChaCha8Rng::seed_from_u64(self.chance.random());
        Box::pin(device.live(life, chance))
    }

    fn sweeper(&self) -> Task {
        let (bucket, team) = (self.bucket.clone(), self.team.clone());
        Box::pin(async move {
            // A sweep that fails does nothing more; the next one looks anew.
            let _ = sweep(&bucket, Some(team.membership.state()), Retention::default()).await;
        })
    }

    fn kill(&mut self) {
        self.tally.lock().unwrap().crashes += 1;
        let at = self.chance.random_range(0..self.writers.len() + SWEEPERS);
        match at.checked_sub(self.writers.len()) {
            Some(sweeper) => self.sweepers[sweeper] = self.sweeper(),
            None => {
                let anew = self.writer(at);
                let old = std::mem::replace(&mut self.writers[at], anew);
                // What it had sent to the hub may still be worked on there.
                if self.chance.random_bool(0.5) && self.orphans.len() < MAX_ORPHANS {
                    self.orphans.push(old);
                }
            }
        }
    }

    /// Mostly seconds, sometimes hours: then an unfinished writer has stalled.
    fn let_time_pass(&mut self) {
        let seconds = match self.chance.random_range(0..1000) {
            0..=959 => self.chance.random_range(0..20),
            960..=989 => self.chance.random_range(0..3_600),
            _ => self.chance.random_range(0..40 * 3_600),
        };
        self.pass(Duration::from_secs(seconds));
    }

    fn pass(&self, time: Duration) {
        self.bucket.state().now += time;
    }
}

/// Whether it has ended.
fn poll(task: &mut Task) -> bool {
    let mut context = Context::from_waker(Waker::noop());
    task.as_mut().poll(&mut context).is_ready()
}

#[test]
fn a_team_has_an_admin_and_publishers() {
    let team = Team::new();
    for number in 0..DEVICES {
        let may = team.membership.state().may_publish(&team::device(number));
        assert!(may);
    }
}

//! A team of many devices that ask a hub what is new, each by a connection of its own.

use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use anyhow::{Context, Result, ensure};
use podsync_api::hub::{PostLiveness, PostOperations};
use podsync_bucket::{HeadsAnswer, Hub};
use podsync_core::{
    DeviceLabel, MemberName, TeamId, TeamName,
    keys::DeviceSecret,
    membership::{
        Author, Enrolment, KeyRing, Membership, Operation, Role,
        author::{NewTeam, found},
    },
    seal::SecretKey,
    signed::verify,
    wire::Liveness,
};
use tokio::{task::JoinSet, time::sleep_until};

use super::measure::Samples;

/// How often a daemon asks, and how often it says that it is there.
pub(super) const POLL_EVERY: Duration = Duration::from_secs(30);
const LIVENESS_EVERY: Duration = Duration::from_secs(3600);
/// Operations in one post: a body has 8 MiB.
const POSTED: usize = 256;

pub(super) struct Crowd {
    pub(super) team: TeamId,
    operations: Vec<Vec<u8>>,
    devices: Vec<u32>,
}

/// What came of a time of asking.
#[derive(Default)]
pub(super) struct Polled {
    /// Milliseconds of each poll, as its device saw them.
    pub(super) took: Samples,
    pub(super) polls: u64,
    /// Those that brought something new.
    pub(super) changed: u64,
}

impl Crowd {
    pub(super) fn of(count: u32) -> Result<Self> {
        let founder = device(0);
        let first = enrolment(0)?;
        let team = NewTeam {
            name: TeamName::new("crowd")?,
            member: first.member,
            label: first.label,
            recovery: device(u32::MAX).public(),
        };
        let key = SecretKey::from_bytes([7; 32]);
        let founding = found(&founder, team, &key, [5; 32], &[6; 32])?;
        let mut membership = Membership::new(verify(&founding)?)?;
        let mut keys = KeyRing::default();
        keys.insert(key);
        let mut operations = vec![founding];
        for number in 1..count {
            let author = Author::new(&founder, &membership, &keys);
            let add = author.add(enrolment(number)?, Role::Publisher, &seed(number))?;
            membership.insert(verify::<Operation>(&add)?);
            operations.push(add);
        }
        Ok(Self {
            team: membership.team(),
            operations,
            devices: (0..count).collect(),
        })
    }

    /// Tells the hub who is in the team.
    pub(super) async fn introduce(&self, url: &str) -> Result<()> {
        let founder = self.client(0, url)?;
        for operations in self.operations.chunks(POSTED) {
            let operations = operations.iter().map(Into::into).collect();
            founder
                .post_operations(&PostOperations { operations })
                .await?;
        }
        Ok(())
    }

    /// The bucket's objects of statements that everybody has made once, as keys and bytes.
    pub(super) fn statements(&self) -> Result<Vec<(String, Vec<u8>)>> {
        let made = self.devices.iter().map(|number| {
            let key = podsync_hub::stored::liveness_key(&device(*number).id());
            Ok((key, statement(self.team, *number, now_ms()?)))
        });
        made.collect()
    }

    pub(super) fn clients(&self, url: &str) -> Result<Vec<Arc<Hub>>> {
        let clients = self.devices.iter();
        clients
            .map(|number| Ok(Arc::new(self.client(*number, url)?)))
            .collect()
    }

    fn client(&self, number: u32, url: &str) -> Result<Hub> {
        Ok(Hub::new(url.parse()?, self.team, device(number))?)
    }

    /// Everybody asks every 30 s, one after the other, for `window`; as many say that they are there as do in that
    /// time, and none whom an earlier `round` heard. `age` is how old an answer may be.
    pub(super) async fn poll(
        &self,
        clients: &[Arc<Hub>],
        window: Duration,
        age: Duration,
        round: u32,
    ) -> Result<Polled> {
        let begun = tokio::time::Instant::now();
        let count = u32::try_from(clients.len())?;
        let mut asking = JoinSet::new();
        for (number, client) in (0..).zip(clients) {
            let first = begun + POLL_EVERY * number / count;
            asking.spawn(ask(Arc::clone(client), first, begun + window, age));
        }
        let speaking =
            (window.as_secs_f64() / LIVENESS_EVERY.as_secs_f64() * f64::from(count)) as u32;
        for turn in 0..speaking {
            let number = (round * speaking + turn) % count;
            let client = Arc::clone(&clients[number as usize]);
            let (at, team) = (begun + window * turn / speaking, self.team);
            asking.spawn(async move {
                sleep_until(at).await;
                let statement = statement(team, number, now_ms()?).into();
                client.post_liveness(&PostLiveness { statement }).await?;
                Ok(Polled::default())
            });
        }
        let mut all = Polled::default();
        while let Some(one) = asking.join_next().await {
            let one = one??;
            all.polls += one.polls;
            all.changed += one.changed;
            one.took.iter().for_each(|took| all.took.push(took));
        }
        ensure!(all.polls > 0, "nobody asked in {} s", window.as_secs());
        Ok(all)
    }
}

/// One device's polls.
async fn ask(
    client: Arc<Hub>,
    first: tokio::time::Instant,
    end: tokio::time::Instant,
    age: Duration,
) -> Result<Polled> {
    let (mut polled, mut etag, mut at) = (Polled::default(), None::<String>, first);
    while at < end {
        sleep_until(at).await;
        let begun = Instant::now();
        let answer = client.heads_within(etag.as_deref(), age).await?;
        polled.took.push(begun.elapsed().as_secs_f64() * 1e3);
        polled.polls += 1;
        if let HeadsAnswer::Changed { etag: new, .. } = answer {
            polled.changed += 1;
            etag = new;
        }
        at += POLL_EVERY;
    }
    Ok(polled)
}

fn statement(team: TeamId, number: u32, time_ms: u64) -> Vec<u8> {
    let heads = seed(number);
    device(number).sign(team, &Liveness { time_ms, heads })
}

fn now_ms() -> Result<u64> {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH)?;
    since
        .as_millis()
        .try_into()
        .context("a clock that is far off")
}

fn seed(number: u32) -> [u8; 32] {
    let mut seed = [1; 32];
    seed[..4].copy_from_slice(&number.to_le_bytes());
    seed
}

fn device(number: u32) -> DeviceSecret {
    DeviceSecret::from_seed(seed(number))
}

fn enrolment(number: u32) -> Result<Enrolment> {
    let keys = device(number).public();
    Ok(Enrolment {
        device: keys.device,
        box_key: keys.box_key,
        member: MemberName::new(format!("member-{number}"))?,
        label: DeviceLabel::new("laptop")?,
    })
}

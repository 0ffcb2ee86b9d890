//! Many devices that ask one replica on one core what is new, and what that costs in requests to the bucket.
//!
//! Two windows in one run: as daemons asked before, where every poll is a look at the bucket, and as they ask
//! now, content with what the hub saw some seconds ago.

use std::{thread, time::Duration};

use anyhow::{Context, Result};
use podsync_hub::{
    s3::{Addressing, Credentials, S3Bucket, S3Settings},
    storage::Storage,
};

use crate::{
    Setup,
    crowd::{Crowd, POLL_EVERY, Polled},
    report::{Bar, Goal, Report},
    servers::{Kind, Replica, Server},
};

/// How long each window is.
const WINDOW: Duration = Duration::from_secs(90);
/// How old an answer may be for a daemon that nobody waits for.
const AGE: Duration = Duration::from_secs(5);
/// The hub reads again what is younger than this, so a bucket that was just filled isn't at rest.
const AT_REST: Duration = Duration::from_secs(65);
/// What is told on paper.
const ON_PAPER: f64 = 10_000.0;
const LATENCY: Bar = Bar::AtMost(50.0);
const MEMORY: Bar = Bar::AtMost(150.0);
const REQUESTS: Bar = Bar::AtMost(0.5);

pub(crate) fn measure(setup: &Setup) -> Result<Report> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let crowd = Crowd::of(setup.devices)?;
    let server = Kind::Embedded.start(setup, &crowd.team.to_string())?;
    runtime.block_on(fill(&server, &crowd))?;
    let replica = server.replica(setup, &crowd.team.to_string())?;
    runtime.block_on(crowd.introduce(&replica.url))?;
    let clients = crowd.clients(&replica.url)?;
    thread::sleep(AT_REST);
    let alone = replica.resident()?;

    let window = |age, round| -> Result<Seen> {
        let before = Counted::of(&replica)?;
        let polled = runtime.block_on(crowd.poll(&clients, WINDOW, age, round))?;
        Ok(Seen {
            polled,
            counted: Counted::of(&replica)?.since(&before),
        })
    };
    let (fresh, recent) = (window(Duration::ZERO, 0)?, window(AGE, 1)?);
    let devices = f64::from(setup.devices);
    let per_hour = |seen: &Seen| seen.counted.requests / devices * 3600.0 / WINDOW.as_secs_f64();
    let resident = replica.resident()?;
    let peak = replica.process().peak().context("the replica ended")? as f64;
    let line = |name: &str, seen: &Seen| {
        vec![
            name.to_owned(),
            format!("{:.1}", seen.polled.took.quantile(0.5)),
            format!("{:.1}", seen.polled.took.quantile(0.99)),
            format!("{:.3}", seen.counted.cpu / seen.polled.polls as f64 * 1e3),
            format!("{:.2}", per_hour(seen)),
            format!("{} of {}", seen.polled.changed, seen.polled.polls),
        ]
    };
    let lines = vec![
        line("every poll looks at the bucket", &fresh),
        line("5 s old is good enough", &recent),
    ];
    let cpu = recent.counted.cpu / recent.polled.polls as f64;
    let paper = OnPaper {
        cores: cpu * ON_PAPER / POLL_EVERY.as_secs_f64(),
        memory: alone + (resident - alone).max(0.0) / devices * ON_PAPER,
    };
    Ok(Report {
        title: format!("{devices} devices that ask one replica on one core every 30 s"),
        head: vec![
            "",
            "p50, ms",
            "p99, ms",
            "replica's CPU a poll, ms",
            "requests to the bucket a device and hour",
            "polls with news",
        ],
        lines,
        notes: vec![
            format!(
                "Memory of the replica: {:.0} MB with everybody's connection, {:.0} MB before, {:.0} MB at most.",
                resident / 1e6,
                alone / 1e6,
                peak / 1e6
            ),
            paper.words(),
        ],
        goals: goals(
            recent.polled.took.quantile(0.99),
            peak,
            per_hour(&recent) / per_hour(&fresh),
        ),
    })
}

fn goals(p99: f64, peak: f64, requests: f64) -> Vec<Goal> {
    let goal = |what: &str, figure, bar, digits, unit| Goal {
        what: format!("polling: {what}"),
        figure,
        bar,
        digits,
        unit,
    };
    vec![
        goal("p99", p99, LATENCY, 1, " ms"),
        goal("the replica's memory at most", peak / 1e6, MEMORY, 0, " MB"),
        goal(
            "requests to the bucket beside those where every poll looks",
            requests,
            REQUESTS,
            2,
            " x",
        ),
    ]
}

/// Everybody said once that it is there: by the bucket's own way, which a thousand posts would be long for.
async fn fill(server: &Server, crowd: &Crowd) -> Result<()> {
    let bucket = S3Bucket::new(S3Settings {
        endpoint: Some(server.bucket.endpoint.parse()?),
        public_endpoint: None,
        region: server.bucket.region.clone(),
        bucket: server.bucket.name.clone(),
        addressing: Addressing::Path,
        credentials: Credentials::Static {
            access_key: server.bucket.access_key.clone(),
            secret_key: server.bucket.secret_key.clone(),
        },
        known: true,
    })?;
    bucket.ensure().await?;
    for (key, statement) in crowd.statements()? {
        bucket.put(&key, statement.into()).await?;
    }
    Ok(())
}

/// What a window showed.
struct Seen {
    polled: Polled,
    counted: Counted,
}

/// What the replica spent by now.
struct Counted {
    cpu: f64,
    requests: f64,
}

impl Counted {
    fn of(replica: &Replica) -> Result<Self> {
        Ok(Self {
            cpu: replica.process().cpu_seconds()?,
            requests: replica.bucket_requests()?,
        })
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            cpu: self.cpu - before.cpu,
            requests: self.requests - before.requests,
        }
    }
}

/// What ten thousand devices would take of one replica, by the slope that was measured.
struct OnPaper {
    cores: f64,
    memory: f64,
}

impl OnPaper {
    fn words(&self) -> String {
        format!(
            "10,000 devices on paper: {:.2} cores and {:.0} MB of one replica, in teams of at most 1,024. The looks at each bucket stay as many as they are.",
            self.cores,
            self.memory / 1e6
        )
    }
}

//! `podsync watch`: what happens, one line an event, and a program that is run for each.

use std::{collections::BTreeSet, path::PathBuf, pin::pin, time::Duration};

use backon::{ConstantBuilder, Retryable};
use clap::{Args, builder::PossibleValuesParser, builder::TypedValueParser};
use clap_complete::ArgValueCandidates;
use podsync_api::{
    ApiError, EventStream,
    events::{Event, Happened, Kind, TransferState},
};
use podsync_core::{PodName, TeamName};
use podsync_daemon::{Reaction, Says};

use crate::{
    complete,
    context::{Connection, Context, Needs},
    output::{bytes, nobody_reads, printable},
};

/// How long to wait before looking again for a daemon that is gone.
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(200);

#[derive(Debug, Args)]
pub(crate) struct Watch {
    /// Only what is about this pod [default: everything]
    #[arg(add = ArgValueCandidates::new(complete::pods))]
    pod: Option<PodName>,
    /// Only events of these kinds [default: all but `transfer`]
    #[arg(long, value_delimiter = ',', value_name = "KIND", value_parser = kinds())]
    kinds: Vec<Kind>,
    /// For each event run this with `sh -c`, one at a time, with the event in PODSYNC_EVENT, PODSYNC_POD,
    /// PODSYNC_REFERENCE and others
    #[arg(long, value_name = "CMD")]
    exec: Option<String>,
    /// End CMD if it takes longer
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = crate::time::length)]
    exec_limit: Duration,
}

fn kinds() -> impl TypedValueParser<Value = Kind> {
    let names = Kind::ALL.map(Kind::as_str);
    PossibleValuesParser::new(names).map(|name| {
        let kind = Kind::ALL.into_iter().find(|kind| kind.as_str() == name);
        kind.unwrap_or(Kind::Unknown)
    })
}

pub(crate) async fn run(context: &Context, watch: Watch) -> Result<(), ApiError> {
    let connection = Connection::open(context, Needs::Network).await?;
    let watching = Watching {
        home: context.home()?,
        wanted: Wanted {
            kinds: watch.wanted_kinds(),
            team: context.global.team.clone(),
            pod: watch.pod,
        },
        exec: watch.exec,
        exec_limit: watch.exec_limit,
        connection: &connection,
    };
    let watched = watching.until_nobody_reads().await;
    connection.close().await;
    watched
}

impl Watch {
    fn wanted_kinds(&self) -> BTreeSet<Kind> {
        if self.kinds.is_empty() {
            let all = Kind::ALL.into_iter();
            return all.filter(|kind| *kind != Kind::Transfer).collect();
        }
        self.kinds.iter().copied().collect()
    }
}

struct Watching<'a> {
    connection: &'a Connection<'a>,
    home: PathBuf,
    wanted: Wanted,
    exec: Option<String>,
    exec_limit: Duration,
}

/// Which events the user wants to see.
struct Wanted {
    kinds: BTreeSet<Kind>,
    team: Option<TeamName>,
    pod: Option<PodName>,
}

impl Wanted {
    fn has(&self, what: &Happened) -> bool {
        let is_of = |wanted: Option<&str>, of: Option<&str>| wanted.is_none() || wanted == of;
        let (team, pod) = (self.team.as_ref(), self.pod.as_ref());
        // That something may have been missed is about everything.
        let is_about = what.kind() == Kind::Missed
            || is_of(
                team.map(TeamName::as_str),
                what.team().map(TeamName::as_str),
            ) && is_of(pod.map(PodName::as_str), what.pod().map(PodName::as_str));
        self.kinds.contains(&what.kind()) && is_about
    }
}

impl Watching<'_> {
    async fn until_nobody_reads(&self) -> Result<(), ApiError> {
        let mut events = self.connection.events(None).await?;
        let context = self.connection.context;
        context.printer.note("Watching. Ctrl-C ends it.");
        let stop = &context.stop;
        let mut unread = pin!(nobody_reads());
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                () = stop.cancelled() => return Ok(()),
                () = &mut unread => return Ok(()),
            };
            match event {
                Some(event) => {
                    if !self.heard(&event?).await? {
                        return Ok(());
                    }
                }
                None => {
                    let after = events.last_id().map(str::to_owned);
                    events = tokio::select! {
                        again = self.wait_for_the_daemon(after) => again,
                        () = stop.cancelled() => return Ok(()),
                        () = &mut unread => return Ok(()),
                    };
                }
            }
        }
    }

    /// False if the reader has closed stdout.
    async fn heard(&self, event: &Event) -> Result<bool, ApiError> {
        if !self.wanted.has(&event.what) {
            return Ok(true);
        }
        let printer = &self.connection.context.printer;
        let is_read = printer.line(event, |event| {
            let time = std::time::UNIX_EPOCH + Duration::from_millis(event.time_ms);
            let time = humantime::format_rfc3339_seconds(time);
            format!("{time} {:<8} {}", event.what.kind(), words(&event.what))
        })?;
        if let Some(script) = &self.exec
            && let Err(error) = self.react(script, event).await
        {
            printer.warn(&error.message);
        }
        Ok(is_read)
    }

    async fn react(&self, script: &str, event: &Event) -> Result<(), ApiError> {
        let mut program = std::process::Command::new("sh");
        program.args(["-c", script]);
        let reaction = Reaction {
            program,
            name: "the command of --exec",
            limit: self.exec_limit,
            home: &self.home,
            says: Says::OnStderr,
        };
        reaction.run(event, &self.connection.context.stop).await
    }

    /// It may be back in a moment, or tomorrow.
    async fn wait_for_the_daemon(&self, after: Option<String>) -> EventStream {
        let printer = &self.connection.context.printer;
        printer.note("The daemon has ended. Waiting for the next one.");
        let policy = ConstantBuilder::default()
            .with_delay(LOOK_AGAIN_AFTER)
            .without_max_times();
        loop {
            let asked = || self.connection.events(after.as_deref());
            if let Ok(events) = asked.retry(policy).await {
                printer.note("The daemon is back.");
                return events;
            }
        }
    }
}

fn words(what: &Happened) -> String {
    let text = match what {
        Happened::Shared(it) => {
            format!("{} by {}{}", it.reference, it.author, said(&it.message))
        }
        Happened::Pulled(it) => {
            let fetched = bytes(it.fetched);
            format!("{} by {}, {fetched} downloaded", it.reference, it.author)
        }
        Happened::Saved(it) => format!("{}{}", it.reference, said(&it.message)),
        Happened::Loaded(it) => match it.failed.len() {
            0 => format!("{} into {}", it.reference, it.endpoint),
            n => format!(
                "{} into {}, without {n} of its services",
                it.reference, it.endpoint
            ),
        },
        Happened::Dropped(it) => format!("{} by {}", it.reference, it.by),
        Happened::Tagged(it) => match &it.reference {
            Some(reference) => format!("{reference} is {}:{}, by {}", it.pod, it.tag, it.by),
            None => format!("{}:{} is no more, by {}", it.pod, it.tag, it.by),
        },
        Happened::Joined(it) => format!("{} is in {} as {}", it.name, it.team, it.role),
        Happened::Removed(it) => format!("{} is out of {}", it.name, it.team),
        Happened::Fork(it) => format!(
            "{} published contradicting versions in {}. podsync ignores them",
            it.name, it.team
        ),
        Happened::Trouble(it) => match &it.hint {
            Some(hint) => format!("{} (hint: {hint})", it.message),
            None => it.message.clone(),
        },
        Happened::Eviction(it) => format!(
            "{} left this machine, {} freed, also at {}",
            it.reference,
            bytes(it.bytes),
            it.elsewhere.join(", ")
        ),
        Happened::Transfer(it) => {
            let state = match it.state {
                TransferState::Running => "",
                TransferState::Done => ", done",
                TransferState::Failed => ", failed",
            };
            format!(
                "{} {} of {}{state}",
                it.reference,
                bytes(it.bytes),
                bytes(it.of)
            )
        }
        Happened::Peer(it) if it.connected => format!("{} is connected", it.name),
        Happened::Peer(it) => format!("{} is gone", it.name),
        Happened::Missed(_) => "some events were lost: look at the state anew".to_owned(),
        Happened::Unknown => "something that only a newer podsync knows of".to_owned(),
    };
    printable(&text)
}

fn said(message: &str) -> String {
    match message {
        "" => String::new(),
        message => format!(": {message}"),
    }
}

#[cfg(test)]
mod tests {
    use podsync_api::events::{Missed, PeerChanged};
    use podsync_core::DeviceId;

    use super::*;

    #[test]
    fn a_pods_watcher_hears_of_that_pod_and_of_what_it_missed() {
        let wanted = Wanted {
            kinds: Kind::ALL.into_iter().collect(),
            team: None,
            pod: Some("orders".parse().unwrap()),
        };
        assert!(wanted.has(&Happened::Missed(Missed {})));
        assert!(!wanted.has(&Happened::Peer(PeerChanged {
            device: DeviceId::from_bytes([1; 32]),
            name: "bob/laptop".to_owned(),
            connected: true,
            address: None,
        })));
        assert!(!wanted.has(&Happened::Unknown));
    }
}

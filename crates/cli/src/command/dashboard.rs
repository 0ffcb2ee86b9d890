//! `podsync` alone: who this is, what is new since the last look, what waits, what is wrong, and what to do next.
//!
//! A version is new if its author's clock puts it after the user's last look.

use std::{
    path::Path,
    time::{SystemTime, UNIX_EPOCH},
};

use podsync_api::{ApiError, Client, TeamChoice, node, pods, team};
use serde::Serialize;

use crate::{
    command::{load, pause::how_long, status::not_reached},
    context::{Connection, Context, Needs},
    files::{read_text, write_whole},
    output::{
        Column::{Name, Text, Whole},
        ago, count, printable, table, wrapped,
    },
};

/// New versions that are named; the rest is a number.
const MAX_NEW: usize = 8;
/// Where the time of the last look lies in the home.
const LOOKED: &str = "looked";
/// More bytes than a time has.
const MAX_LOOKED_LEN: u64 = 64;

#[derive(Debug, Default, Serialize)]
pub(crate) struct Dashboard {
    /// Unix milliseconds; none at the first look.
    pub(crate) last_look_ms: Option<u64>,
    pub(crate) daemon: String,
    pub(crate) teams: Vec<TeamNow>,
    pub(crate) wrong: Vec<String>,
    pub(crate) next: String,
}

/// A team, as it is now.
#[derive(Debug, Serialize)]
pub(crate) struct TeamNow {
    pub(crate) name: String,
    /// `bob/laptop`.
    pub(crate) you: Option<String>,
    pub(crate) members: usize,
    pub(crate) admins: usize,
    pub(crate) connected: usize,
    pub(crate) pods: usize,
    pub(crate) new: Vec<pods::Version>,
    pub(crate) waiting: Vec<String>,
}

pub(crate) async fn run(context: &Context) -> Result<(), ApiError> {
    let home = context.home()?;
    if !podsync_daemon::is_initialised(&home) {
        let next = "`podsync team create NAME` creates a team, `podsync team join` joins one with a ticket";
        let dashboard = Dashboard {
            daemon: "this machine has no podsync home yet".to_owned(),
            next: next.to_owned(),
            ..Dashboard::default()
        };
        return context.printer.result(&dashboard, words);
    }
    let connection = Connection::open(context, Needs::Home).await?;
    let looked = look(&connection, &home).await;
    connection.close().await;
    context.printer.result(&looked?, words)?;
    // If the write fails, the next look shows the same again.
    let _ = write_whole(&home.join(LOOKED), now_ms().to_string().as_bytes());
    Ok(())
}

async fn look(connection: &Connection<'_>, home: &Path) -> Result<Dashboard, ApiError> {
    let status = connection.watch(&node::GetStatus {}).await?;
    let kept = read_text(&home.join(LOOKED), MAX_LOOKED_LEN).ok();
    let mut dashboard = Dashboard {
        last_look_ms: kept.and_then(|text| text.trim().parse().ok()),
        daemon: match (&status.paused, status.transient) {
            (Some(paused), _) => format!("paused {}", how_long(paused)),
            (None, true) => "no daemon is running: teammates cannot reach this machine".to_owned(),
            (None, false) => format!("daemon running, pid {}", status.pid),
        },
        wrong: status.warnings.clone(),
        ..Dashboard::default()
    };
    for team in &status.teams {
        let choice = TeamChoice::Id(team.id.to_string());
        let client = Client::new(&podsync_daemon::socket_path(home), choice)?;
        let mut now = team_now(&client, team, dashboard.last_look_ms).await?;
        now.waiting
            .extend(team.hub.as_ref().and_then(|hub| unsent(hub, &status)));
        dashboard.teams.push(now);
    }
    dashboard.next = next(&dashboard);
    Ok(dashboard)
}

async fn team_now(
    client: &Client,
    team: &node::TeamStatus,
    since: Option<u64>,
) -> Result<TeamNow, ApiError> {
    let members = client.call(&team::ListMembers {}).await?;
    let pods = client.call(&pods::ListPods {}).await?;
    let me = members.iter().find(|member| member.this_device);
    let tips = pods.iter().flat_map(|pod| &pod.tips);
    let (shared, private): (Vec<_>, Vec<_>) = tips.partition(|tip| tip.number.is_some());
    let is_new = |tip: &&pods::Version| {
        since.is_none_or(|since| tip.created_ms > since)
            && me.is_none_or(|me| tip.author != me.member.as_str())
    };
    let mut new: Vec<_> = shared.into_iter().filter(is_new).cloned().collect();
    new.sort_by_key(|tip| std::cmp::Reverse(tip.created_ms));
    let waiting = private
        .iter()
        .map(|tip| format!("{} is on this machine only", tip.reference))
        .collect();
    Ok(TeamNow {
        name: team.name.to_string(),
        you: me.map(|me| format!("{}/{}", me.member, me.label)),
        members: team.members,
        admins: team.admins,
        connected: members.iter().filter(|member| member.connected).count(),
        pods: pods.len(),
        new,
        waiting,
    })
}

/// What waits for the team's bucket, as far as that is known.
fn unsent(hub: &node::HubStatus, status: &node::Status) -> Option<String> {
    match hub.waiting {
        Some(0) => None,
        Some(entries) => {
            let entries = usize::try_from(entries).unwrap_or(usize::MAX);
            Some(format!(
                "{} for the team's bucket",
                count(entries, "change")
            ))
        }
        None => Some(format!(
            "what the team's bucket lacks is not known: the hub was {}",
            not_reached(status.transient)
        )),
    }
}

pub(crate) fn next(dashboard: &Dashboard) -> String {
    // A command has to be told which of several teams it is for.
    let of = |team: &TeamNow| match dashboard.teams.len() {
        1 => String::new(),
        _ => format!(" --team {}", team.name),
    };
    let mut teams = dashboard.teams.iter();
    if let Some((team, new)) = teams.find_map(|team| Some((team, team.new.first()?))) {
        return format!("`{}{}`", load::command_for(new), of(team));
    }
    let Some(team) = dashboard.teams.first() else {
        return "`podsync team create NAME`, or `podsync team join` with a ticket".to_owned();
    };
    let of = of(team);
    let waits = team.waiting.iter().find_map(|line| line.split_once(":+"));
    match waits {
        Some((pod, _)) => format!("`podsync share {pod}{of}`"),
        None if team.admins == 0 => format!(
            "`podsync team recover{of}` makes this device an admin with the team's recovery key"
        ),
        None if team.members < 2 => {
            format!("`podsync team invite{of}` prints a ticket for a teammate")
        }
        None if team.pods == 0 => format!("`podsync save NAME{of} --share`"),
        None => format!("`podsync list{of}`"),
    }
}

pub(crate) fn words(dashboard: &Dashboard) -> String {
    let mut parts = Vec::new();
    let mut head = Vec::new();
    for team in &dashboard.teams {
        let you = team.you.as_deref().unwrap_or("not a member any more");
        let about = format!(
            "{you} in {} ({}, {} connected, {})",
            team.name,
            count(team.members, "member"),
            team.connected,
            count(team.pods, "pod")
        );
        head.push(wrapped("", &about));
    }
    head.push(wrapped("", &dashboard.daemon));
    parts.push(head.join("\n"));
    let new: Vec<_> = dashboard.teams.iter().flat_map(|team| &team.new).collect();
    if !new.is_empty() {
        let since = dashboard
            .last_look_ms
            .map(|ms| format!(" since your last look, {}", ago(ms)));
        let rows = new.iter().take(MAX_NEW).map(|version| {
            [
                format!("  {}", version.reference),
                version.author.clone(),
                ago(version.created_ms),
                version.message.clone(),
            ]
        });
        let title = format!("New{}:", since.unwrap_or_default());
        let rows = table([Whole(""), Name(""), Whole(""), Text("")], rows);
        let rows = rows.trim_start_matches('\n');
        let more = new.len().saturating_sub(MAX_NEW);
        let more = if more > 0 {
            format!("\n  and {more} more: `podsync list`")
        } else {
            String::new()
        };
        parts.push(format!("{title}\n{rows}{more}"));
    }
    let waiting: Vec<_> = dashboard
        .teams
        .iter()
        .flat_map(|team| &team.waiting)
        .collect();
    for (title, lines) in [
        ("Waiting:", waiting),
        ("Wrong:", dashboard.wrong.iter().collect()),
    ] {
        if !lines.is_empty() {
            let lines: Vec<_> = lines
                .iter()
                .map(|line| wrapped("  ", &printable(line)))
                .collect();
            parts.push(format!("{title}\n{}", lines.join("\n")));
        }
    }
    parts.push(format!("Next: {}", dashboard.next));
    parts.join("\n\n")
}

fn now_ms() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    u64::try_from(now.unwrap_or_default().as_millis()).unwrap_or(u64::MAX)
}

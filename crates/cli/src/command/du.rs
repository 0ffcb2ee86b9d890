//! `podsync du`: what pods and versions take of this machine's disk.

use clap::Args;
use clap_complete::ArgValueCandidates;
use podsync_api::{ApiError, disk};
use podsync_core::PodName;

use crate::{
    call::call,
    complete,
    context::{Context, Needs},
    output::{Column::Whole, ago, bytes, printable, table},
};

#[derive(Debug, Args)]
pub(crate) struct Du {
    /// Show the versions of this pod [default: all pods]
    #[arg(add = ArgValueCandidates::new(complete::pods))]
    pod: Option<PodName>,
}

pub(crate) async fn run(context: &Context, du: Du) -> Result<(), ApiError> {
    let by_version = du.pod.is_some();
    let request = disk::GetUsage { pod: du.pod };
    let usage = call(context, Needs::Network, &request).await?;
    if let Some(why) = &usage.bucket_unknown {
        let why = printable(why);
        context.printer.warn(format_args!(
            "podsync could not ask the bucket what it has: {why}"
        ));
    }
    context
        .printer
        .result(&usage, |usage| words(usage, by_version))
}

pub(crate) fn words(usage: &disk::Usage, by_version: bool) -> String {
    match by_version {
        true => versions(usage),
        false => format!("{}{}", pods(usage), total(usage)),
    }
}

fn pods(usage: &disk::Usage) -> String {
    if usage.pods.is_empty() {
        return String::new();
    }
    let mut teams: Vec<_> = usage.pods.iter().map(|pod| &pod.team).collect();
    teams.dedup();
    let row = |pod: &disk::PodUsage| {
        let name = match &pod.team {
            Some(team) if teams.len() > 1 => format!("{team}/{}", pod.pod),
            _ => pod.pod.to_string(),
        };
        [
            name,
            pod.versions.len().to_string(),
            bytes(pod.own),
            bytes(pod.shared),
            bytes(pod.evictable),
        ]
    };
    let head = ["POD", "VERSIONS", "OWN", "SHARED", "EVICTABLE"].map(Whole);
    format!("{}\n", table(head, usage.pods.iter().map(row)))
}

fn versions(usage: &disk::Usage) -> String {
    let each = usage.pods.iter().flat_map(|pod| &pod.versions);
    let row = |version: &disk::VersionUsage| {
        let is_checkpoint = version.reference.starts_with("checkpoint:");
        let evictable = match (version.evictable, version.pinned) {
            (true, _) => "yes",
            (false, true) => "pinned",
            (false, false) if is_checkpoint => "for undo",
            (false, false) => "only copy",
        };
        [
            version.reference.clone(),
            bytes(version.own),
            bytes(version.shared),
            evictable.to_owned(),
            ago(version.last_used_ms),
        ]
    };
    let head = ["VERSION", "OWN", "SHARED", "EVICTABLE", "LAST USED"].map(Whole);
    table(head, each.map(row))
}

fn total(usage: &disk::Usage) -> String {
    let (held, evictable) = (bytes(usage.held), bytes(usage.evictable));
    let in_use = match usage.budget {
        Some(budget) => format!("{held} of {} in use", bytes(budget)),
        None => format!("{held} in use (no disk budget)"),
    };
    format!(
        "{in_use}, {evictable} of it evictable, {} free.",
        bytes(usage.free)
    )
}

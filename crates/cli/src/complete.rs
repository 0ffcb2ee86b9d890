//! Names that a shell offers while somebody types: of pods, versions, tags, members, teams, invites and settings.
//!
//! It asks only a daemon that already runs, and only briefly: the user who pressed Tab is waiting.

use std::{ffi::OsStr, path::PathBuf, time::Duration};

use clap_complete::CompletionCandidate;
use podsync_api::{Call, Client, TeamChoice, node, pods, team};
use podsync_core::{PodName, TeamName};
use podsync_daemon::{Settings, socket_path};

use crate::{output::printable, place::home_at};

/// A shell sets this variable to ask for names instead of running a command.
pub(crate) const VARIABLE: &str = "PODSYNC_COMPLETE";
/// The longest that a key press may take.
const PATIENCE: Duration = Duration::from_millis(300);

pub(crate) fn pods() -> Vec<CompletionCandidate> {
    let pods = ask(&pods::ListPods {}).unwrap_or_default();
    let named = pods.iter().map(|pod| {
        let newest = pod.tips.first().map(about);
        CompletionCandidate::new(pod.name.to_string()).help(newest)
    });
    named.collect()
}

/// Pods; after the colon the versions and tags of that pod.
pub(crate) fn references(current: &OsStr) -> Vec<CompletionCandidate> {
    let typed = current.to_string_lossy();
    let Some((pod, _)) = typed.split_once(':') else {
        return pods()
            .into_iter()
            .filter(|pod| begins(pod, &typed))
            .collect();
    };
    let Ok(pod) = PodName::new(pod) else {
        return Vec::new();
    };
    let versions = ask(&pods::ListVersions { pod: pod.clone() }).unwrap_or_default();
    let mut found = Vec::new();
    for version in &versions {
        let about = Some(about(version));
        for tag in &version.tags {
            found.push(CompletionCandidate::new(format!("{pod}:{tag}")).help(about.clone()));
        }
        found.push(CompletionCandidate::new(version.reference.clone()).help(about));
    }
    found.retain(|candidate| begins(candidate, &typed));
    found
}

/// All tags of the pod that is named before, and those of every pod's newest versions.
pub(crate) fn tags(current: &OsStr) -> Vec<CompletionCandidate> {
    let typed = current.to_string_lossy();
    let pods = ask(&pods::ListPods {}).unwrap_or_default();
    let named = pod_to_tag(std::env::args(), &pods);
    let versions = named.and_then(|pod| ask(&pods::ListVersions { pod }));
    let versions = versions.unwrap_or_default();
    let tips = pods.iter().flat_map(|pod| &pod.tips);
    let mut tags: Vec<_> = tips
        .chain(&versions)
        .flat_map(|version| &version.tags)
        .map(ToString::to_string)
        .collect();
    tags.sort_unstable();
    tags.dedup();
    tags.retain(|tag| tag.starts_with(&*typed));
    tags.into_iter().map(CompletionCandidate::new).collect()
}

/// The pod of the version that the line gives a tag: nothing has parsed it yet.
fn pod_to_tag(mut words: impl Iterator<Item = String>, pods: &[pods::Pod]) -> Option<PodName> {
    words.find(|word| word == "tag")?;
    words.find_map(|word| {
        let named = word.split([':', '@']).next()?;
        let pod = pods.iter().find(|pod| pod.name.as_str() == named)?;
        Some(pod.name.clone())
    })
}

pub(crate) fn members() -> Vec<CompletionCandidate> {
    let members = ask(&team::ListMembers {}).unwrap_or_default();
    let mut names: Vec<_> = members
        .iter()
        .map(|member| member.member.to_string())
        .collect();
    names.sort_unstable();
    names.dedup();
    names.into_iter().map(CompletionCandidate::new).collect()
}

pub(crate) fn teams() -> Vec<CompletionCandidate> {
    let status = ask(&node::GetStatus {});
    let teams = status.map(|status| status.teams).unwrap_or_default();
    let named = teams
        .iter()
        .map(|team| CompletionCandidate::new(team.name.to_string()));
    named.collect()
}

pub(crate) fn invites() -> Vec<CompletionCandidate> {
    let invites = ask(&team::ListInvites {}).unwrap_or_default();
    let named = invites.iter().map(|invite| {
        let about = printable(&format!("{} by {}", invite.role, invite.by));
        CompletionCandidate::new(invite.id.short()).help(Some(about.into()))
    });
    named.collect()
}

pub(crate) fn settings() -> Vec<CompletionCandidate> {
    let all = Settings::default().to_toml().parse::<toml::Table>();
    let keys = all.unwrap_or_default().into_iter().map(|(key, _)| key);
    keys.map(CompletionCandidate::new).collect()
}

fn begins(candidate: &CompletionCandidate, typed: &str) -> bool {
    candidate.get_value().to_string_lossy().starts_with(typed)
}

fn about(version: &pods::Version) -> clap::builder::StyledStr {
    let text = format!("{} {}", version.author, version.message);
    printable(text.trim()).into()
}

/// `None` if no daemon answers in time.
fn ask<C: Call>(call: &C) -> Option<C::Answer> {
    let home = home_at(
        flag("--home")
            .map(PathBuf::from)
            .or_else(|| variable("PODSYNC_HOME")),
    )
    .ok()?;
    let socket = socket_path(&home);
    if !socket.exists() {
        return None;
    }
    let team = flag("--team").or_else(|| std::env::var("PODSYNC_TEAM").ok());
    let team = team.and_then(|team| TeamName::new(team).ok());
    let team = team.map_or(TeamChoice::Only, TeamChoice::Named);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .ok()?;
    runtime.block_on(async {
        let client = Client::new(&socket, team).ok()?;
        let answer = tokio::time::timeout(PATIENCE, client.call(call)).await;
        answer.ok()?.ok()
    })
}

fn variable(name: &str) -> Option<PathBuf> {
    std::env::var_os(name).map(PathBuf::from)
}

/// The value of a flag on the line that is being typed: nothing has parsed that yet.
fn flag(name: &str) -> Option<String> {
    let mut words = std::env::args();
    while let Some(word) = words.next() {
        if word == name {
            return words.next();
        }
        if let Some(value) = word
            .strip_prefix(name)
            .and_then(|rest| rest.strip_prefix('='))
        {
            return Some(value.to_owned());
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use clap::{Arg, Command, CommandFactory};
    use clap_complete::{ArgValueCandidates, ArgValueCompleter};

    use crate::dispatch::Arguments;

    /// What only the user knows: new names, paths, secrets and values.
    const FREE: [&str; 7] = [
        "config set value",
        "export path",
        "man folder",
        "team create name",
        "team join ticket",
        "team recover key",
        "team set-hub url",
    ];

    #[test]
    fn every_argument_that_names_what_is_there_is_completed() {
        let mut free = BTreeSet::new();
        find_free(&Arguments::command(), "", &mut free);
        assert_eq!(free, BTreeSet::from(FREE.map(str::to_owned)));
    }

    /// Finds the arguments without a completer.
    fn find_free(command: &Command, path: &str, free: &mut BTreeSet<String>) {
        let arguments = command.get_positionals().filter(|arg| !is_completed(arg));
        free.extend(arguments.map(|arg| format!("{path}{}", arg.get_id())));
        for below in command.get_subcommands() {
            find_free(below, &format!("{path}{} ", below.get_name()), free);
        }
    }

    fn is_completed(argument: &Arg) -> bool {
        argument.get::<ArgValueCandidates>().is_some()
            || argument.get::<ArgValueCompleter>().is_some()
            || !argument.get_possible_values().is_empty()
    }
}

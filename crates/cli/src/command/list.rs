//! `podsync list` and `podsync versions`.

use clap::Args;
use clap_complete::ArgValueCandidates;
use podsync_api::{ApiError, pods};
use podsync_core::PodName;

use crate::{
    call::call,
    complete,
    context::{Context, Needs},
    output::{ago, bytes, table},
};

#[derive(Debug, Args)]
pub(crate) struct List {}

#[derive(Debug, Args)]
pub(crate) struct Versions {
    /// Name of the pod
    #[arg(add = ArgValueCandidates::new(complete::pods))]
    pod: PodName,
}

pub(crate) async fn run(context: &Context, _: &List) -> Result<(), ApiError> {
    let pods = call(context, Needs::Home, &pods::ListPods {}).await?;
    if pods.is_empty() {
        context
            .printer
            .note("There are no pods. `podsync save NAME` saves one.");
    }
    context.printer.result(&pods, |pods| newest(pods))
}

pub(crate) fn newest(pods: &[pods::Pod]) -> String {
    if pods.is_empty() {
        return String::new();
    }
    table(
        ["NEWEST", "BY", "WHEN", "SIZE", "HELD", "MESSAGE"],
        pods.iter().flat_map(|pod| pod.tips.iter().map(line)),
    )
}

pub(crate) async fn versions(context: &Context, versions: Versions) -> Result<(), ApiError> {
    let request = pods::ListVersions { pod: versions.pod };
    let versions = call(context, Needs::Home, &request).await?;
    context.printer.result(&versions, |versions| {
        table(
            ["VERSION", "BY", "WHEN", "SIZE", "HELD", "MESSAGE"],
            versions.iter().map(line),
        )
    })
}

fn line(version: &pods::Version) -> [String; 6] {
    let mut reference = version.reference.clone();
    for tag in &version.tags {
        reference.push_str(&format!(" ({tag})"));
    }
    [
        reference,
        version.author.clone(),
        ago(version.created_ms),
        bytes(version.state_len),
        if version.held { "yes" } else { "no" }.to_owned(),
        version.message.clone(),
    ]
}

//! `podsync list` and `podsync versions`.

use clap::Args;
use clap_complete::ArgValueCandidates;
use podsync_api::{ApiError, pods};
use podsync_core::PodName;

use crate::{
    call::call,
    complete,
    context::{Context, Needs},
    output::{
        Column::{self, Name, Text, Whole},
        ago, bytes, table,
    },
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
        columns("NEWEST"),
        pods.iter().flat_map(|pod| pod.tips.iter().map(line)),
    )
}

pub(crate) async fn versions(context: &Context, versions: Versions) -> Result<(), ApiError> {
    let request = pods::ListVersions { pod: versions.pod };
    let versions = call(context, Needs::Home, &request).await?;
    context.printer.result(&versions, |versions| all(versions))
}

pub(crate) fn all(versions: &[pods::Version]) -> String {
    table(columns("VERSION"), versions.iter().map(line))
}

fn columns(first: &str) -> [Column<'_>; 6] {
    [
        Whole(first),
        Name("BY"),
        Whole("WHEN"),
        Whole("SIZE"),
        Whole("HELD"),
        Text("MESSAGE"),
    ]
}

/// Tags stand before the message. Beside a long reference they would leave no room for it.
fn line(version: &pods::Version) -> [String; 6] {
    let tags = version.tags.iter().map(|tag| format!("({tag})"));
    let message = Some(version.message.clone()).filter(|message| !message.is_empty());
    let said: Vec<_> = tags.chain(message).collect();
    [
        version.reference.clone(),
        version.author.clone(),
        ago(version.created_ms),
        bytes(version.state_len),
        if version.held { "yes" } else { "no" }.to_owned(),
        said.join(" "),
    ]
}

//! `podsync follow` and `unfollow`: what teammates share comes by itself.

use clap::Args;
use clap_complete::ArgValueCandidates;
use podsync_api::{ApiError, follow};
use podsync_core::PodName;

use crate::{
    arguments::Endpoint,
    call::call,
    command::load::Merge,
    complete,
    context::{Context, Needs},
};

#[derive(Debug, Args)]
pub(crate) struct Follow {
    /// Pod to follow
    #[arg(add = ArgValueCandidates::new(complete::pods))]
    pod: PodName,
    /// Also load each version into the emulator, if it is on this machine and holds no unsaved changes
    #[arg(long)]
    load: bool,
    #[command(flatten)]
    endpoint: Endpoint,
    /// With --load: how to combine the version with the emulator's current state
    #[arg(long, value_enum, default_value_t)]
    merge: Merge,
}

#[derive(Debug, Args)]
pub(crate) struct Unfollow {
    /// Pod to follow no longer
    #[arg(add = ArgValueCandidates::new(complete::pods))]
    pod: PodName,
}

pub(crate) async fn run(context: &Context, command: Follow) -> Result<(), ApiError> {
    let into = follow::LoadInto {
        endpoint: command.endpoint.url,
        merge: command.merge.to_string(),
    };
    let request = follow::Follow {
        pod: command.pod,
        load: command.load.then_some(into),
    };
    let followed = call(context, Needs::Network, &request).await?;
    if !followed.known {
        context.printer.note(format_args!(
            "{} has no pod {}. podsync pulls it once somebody shares it.",
            followed.team, followed.pod
        ));
    }
    context.printer.result(&followed, |followed| {
        let pod = &followed.pod;
        match &followed.load {
            None => format!("The daemon pulls what teammates share of {pod}."),
            Some(into) => format!(
                "The daemon pulls what teammates share of {pod} and loads it into {}.",
                into.endpoint
            ),
        }
    })
}

pub(crate) async fn unfollow(context: &Context, command: Unfollow) -> Result<(), ApiError> {
    let request = follow::Unfollow { pod: command.pod };
    let unfollowed = call(context, Needs::Home, &request).await?;
    context.printer.result(&unfollowed, |unfollowed| {
        let pod = &unfollowed.pod;
        format!("{pod} is no longer followed. What was pulled stays.")
    })
}

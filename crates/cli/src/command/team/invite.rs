//! `podsync team invite`: tickets and robots' tokens. One that nobody has seen is taken back.

use std::time::Duration;

use clap::Args;
use podsync_api::{ApiError, team};
use podsync_core::MemberName;

use super::membership::Role;
use crate::{
    call::call,
    context::{Context, Needs},
    output::{NotOnStdout, count, duration},
};

#[derive(Debug, Args)]
pub(crate) struct Invite {
    /// Create a robot and print its token, for a CI secret. It works for any number of CI jobs until
    /// you remove the robot
    #[arg(long, conflicts_with_all = ["role", "expires", "uses"])]
    robot: bool,
    /// Name of the robot in the team
    #[arg(long, value_name = "NAME", default_value = "ci", requires = "robot")]
    name: MemberName,
    /// What the new member may do
    #[arg(long, value_enum, default_value_t)]
    role: Role,
    /// How long the ticket is valid
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = humantime::parse_duration)]
    expires: Duration,
    /// How many devices may join with the ticket
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    uses: u32,
}

pub(super) async fn run(context: &Context, invite: Invite) -> Result<(), ApiError> {
    if invite.robot {
        robot(context, invite).await
    } else {
        ticket(context, invite).await
    }
}

async fn ticket(context: &Context, offer: Invite) -> Result<(), ApiError> {
    let request = team::Invite {
        role: offer.role.into(),
        expires_s: offer.expires.as_secs(),
        uses: offer.uses,
    };
    let invited = call(context, Needs::Network, &request).await?;
    let shown = context
        .printer
        .secret(&invited, |invited| invited.ticket.clone());
    shown?;
    context.printer.note(format_args!(
        "This ticket lets {} join as {} within {}. Send it over a private channel. \
         The other person runs `podsync team join`.",
        count(invited.uses as usize, "device"),
        invited.role,
        duration(offer.expires)
    ));
    Ok(())
}

async fn robot(context: &Context, offer: Invite) -> Result<(), ApiError> {
    let request = team::InviteRobot { name: offer.name };
    let invited = call(context, Needs::Network, &request).await?;
    let shown = context
        .printer
        .secret(&invited, |invited| invited.token.clone());
    if let Err(NotOnStdout::Nowhere(_)) = shown {
        let request = team::Remove {
            who: invited.device.to_string(),
            ..team::Remove::default()
        };
        call(context, Needs::Network, &request).await?;
    }
    shown?;
    context.printer.note(format_args!(
        "This is the token of the robot {0}, which can read everything the team shares. \
         Store it now as the CI secret PODSYNC_TOKEN: podsync does not show it again. \
         `podsync team remove {0}` ends it.",
        invited.name
    ));
    Ok(())
}

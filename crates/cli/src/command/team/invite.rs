//! `podsync team invite`: tickets and robots' tokens. If the secret could not be shown, the command revokes
//! it.

use std::time::{Duration, SystemTime};

use clap::{Args, Subcommand};
use clap_complete::ArgValueCandidates;
use podsync_api::{ApiError, Consent, team};
use podsync_core::MemberName;

use super::membership::Role;
use crate::{
    call::call,
    complete,
    context::{Context, Needs},
    output::{
        Column::{Name, Whole},
        NotOnStdout, count, duration, table,
    },
};

#[derive(Debug, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub(crate) struct Invite {
    #[command(subcommand)]
    action: Option<Action>,
    #[command(flatten)]
    offer: Offer,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// List tickets that still let somebody join
    List,
    /// Revoke a ticket that was not used yet
    Revoke(Revoke),
}

#[derive(Debug, Args)]
struct Revoke {
    /// Id of the invite, as `podsync team invite list` shows it, or the whole id
    #[arg(add = ArgValueCandidates::new(complete::invites))]
    id: String,
}

#[derive(Debug, Args)]
struct Offer {
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
    /// How long the ticket is valid: at least 60s, at most 366days
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = crate::time::some_length)]
    expires: Duration,
    /// How many devices may join with the ticket
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    uses: u32,
}

impl Invite {
    /// Whether it only lists what there is.
    pub(crate) fn is_list(&self) -> bool {
        matches!(self.action, Some(Action::List))
    }
}

pub(super) async fn run(context: &Context, invite: Invite) -> Result<(), ApiError> {
    match invite.action {
        Some(Action::List) => list(context).await,
        Some(Action::Revoke(revoke)) => take_back(context, revoke.id).await,
        None if invite.offer.robot => robot(context, invite.offer).await,
        None => ticket(context, invite.offer).await,
    }
}

async fn ticket(context: &Context, offer: Offer) -> Result<(), ApiError> {
    let request = team::Invite {
        role: offer.role.into(),
        expires_s: offer.expires.as_secs(),
        uses: offer.uses,
    };
    let invited = call(context, Needs::Network, &request).await?;
    let shown = context
        .printer
        .secret(&invited, |invited| invited.ticket.clone());
    if let Err(NotOnStdout::Nowhere(_)) = shown {
        let invite = invited.invite.to_string();
        call(context, Needs::Network, &team::RevokeInvite { invite }).await?;
    }
    shown?;
    context.printer.note(format_args!(
        "This ticket lets {} join as {} within {}. Send it over a private channel. \
         The other person runs `podsync team join`.",
        count(invited.uses as usize, "device"),
        invited.role,
        duration(offer.expires)
    ));
    if let Some(hub) = &invited.hub_left_out {
        context.printer.note(format_args!(
            "The ticket has no room for the URL of the team's hub. If no member is online, the other person runs \
             `podsync team join --hub {hub}`."
        ));
    }
    Ok(())
}

async fn robot(context: &Context, offer: Offer) -> Result<(), ApiError> {
    let request = team::InviteRobot { name: offer.name };
    let invited = call(context, Needs::Network, &request).await?;
    let shown = context
        .printer
        .secret(&invited, |invited| invited.token.clone());
    if let Err(NotOnStdout::Nowhere(_)) = shown {
        let request = team::Remove {
            who: invited.device.to_string(),
            // The token was never shown.
            consents: [Consent::Remove].into(),
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

async fn list(context: &Context) -> Result<(), ApiError> {
    let invites = call(context, Needs::Home, &team::ListInvites {}).await?;
    if invites.is_empty() {
        context.printer.note("There are no open invites.");
    }
    context.printer.result(&invites, |invites| {
        if invites.is_empty() {
            return String::new();
        }
        table(
            [
                Whole("ID"),
                Whole("ROLE"),
                Whole("USES LEFT"),
                Whole("EXPIRES"),
                Name("MADE BY"),
            ],
            invites.iter().map(row),
        )
    })
}

fn row(invite: &team::OpenInvite) -> [String; 5] {
    let expires = SystemTime::UNIX_EPOCH + Duration::from_millis(invite.expires_ms);
    let left = expires
        .duration_since(SystemTime::now())
        .unwrap_or_default();
    [
        invite.id.short(),
        invite.role.to_string(),
        format!("{} of {}", invite.uses_left, invite.uses),
        format!("in {}", duration(left)),
        invite.by.clone(),
    ]
}

async fn take_back(context: &Context, invite: String) -> Result<(), ApiError> {
    let request = team::RevokeInvite { invite };
    let revoked = call(context, Needs::Network, &request).await?;
    context.printer.result(&revoked, |revoked| {
        format!(
            "Revoked invite {}. Nobody can join with its ticket any more.",
            revoked.id.short()
        )
    })
}

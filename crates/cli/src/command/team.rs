//! `podsync team`: who is in, who may come in, who goes.

use std::time::Duration;

use clap::{Args, Subcommand, ValueEnum};
use podsync_api::{ApiError, ErrorCode, team};
use podsync_core::{MemberName, TeamName};

use crate::{
    call::call,
    context::{Context, Needs},
    output::table,
    secret::{RECOVERY_KEY, TICKET},
};

#[derive(Debug, Subcommand)]
pub(crate) enum Team {
    /// Found a team; this device is its first admin
    Create(Create),
    /// Make a ticket that lets somebody in
    Invite(Invite),
    /// Come into a team with a ticket
    Join(Join),
    /// Who is in
    Members,
    /// Remove a member's devices, or one device
    Remove(Remove),
    /// Change what a member may do
    Role(SetRole),
    /// Make this device an admin with the recovery key, where no admin is left
    Recover(Recover),
    /// Name the team's hub, which keeps what is shared in the organisation's bucket
    SetHub(SetHub),
}

#[derive(Debug, Args)]
pub(crate) struct Create {
    name: TeamName,
    #[command(flatten)]
    me: Me,
}

/// How teammates see this device.
#[derive(Debug, Args)]
pub(crate) struct Me {
    /// Your name in the team [default: the login name]
    #[arg(long = "as", value_name = "NAME")]
    member: Option<MemberName>,
    /// What this device is called [default: the host name]
    #[arg(long, value_name = "LABEL")]
    label: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct Invite {
    /// Enrol a robot and print its token: for a CI secret store, good for any number of runners until
    /// the robot is removed
    #[arg(long, conflicts_with_all = ["role", "expires", "uses"])]
    robot: bool,
    /// What the team calls the robot
    #[arg(long, value_name = "NAME", default_value = "ci", requires = "robot")]
    name: MemberName,
    /// What the newcomer may do
    #[arg(long, value_enum, default_value_t)]
    role: Role,
    /// How long the ticket is good
    #[arg(long, value_name = "TIME", default_value = "24h", value_parser = humantime::parse_duration)]
    expires: Duration,
    /// How many devices may join with it
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=1000))]
    uses: u32,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum Role {
    Reader,
    #[default]
    Publisher,
    Admin,
}

#[derive(Debug, Args)]
pub(crate) struct Join {
    /// The ticket; better given at the prompt, on stdin (`-`) or as PODSYNC_TICKET
    ticket: Option<String>,
    #[command(flatten)]
    me: Me,
}

#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// A member's name or a device id
    who: String,
}

#[derive(Debug, Args)]
pub(crate) struct SetRole {
    /// A member's name or a device id
    who: String,
    #[arg(value_enum)]
    role: Role,
}

#[derive(Debug, Args)]
pub(crate) struct Recover {
    /// The recovery key; better given at the prompt, on stdin (`-`) or as PODSYNC_RECOVERY_KEY
    key: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct SetHub {
    /// `https://HOST[:PORT]`; every member uses it from then on
    #[arg(required_unless_present = "unset")]
    url: Option<String>,
    /// The team has no hub any more; what lies in the bucket stays there
    #[arg(long, conflicts_with = "url")]
    unset: bool,
}

pub(crate) async fn run(context: &Context, command: Team) -> Result<(), ApiError> {
    match command {
        Team::Create(create) => {
            let request = team::CreateTeam {
                name: create.name,
                member: create.me.member()?,
                label: create.me.label(),
            };
            context.ensure_key().await?;
            let created = call(context, Needs::Home, &request).await?;
            context.printer.result(&created, |created| {
                format!(
                    "team {} ({})\nrecovery key {}",
                    created.name,
                    created.team.short(),
                    created.recovery_key
                )
            });
            context.printer.note("keep the recovery key offline: it brings the team back when no admin is left, and is shown only now");
        }
        Team::Invite(invite) if invite.robot => {
            let request = team::InviteRobot { name: invite.name };
            let invited = call(context, Needs::Network, &request).await?;
            context
                .printer
                .result(&invited, |invited| invited.token.clone());
            context.printer.note(format_args!(
                "a token of {0}, who reads everything that is shared: put it into a CI secret as PODSYNC_TOKEN, it is shown \
                 only now; `podsync team remove {0}` ends it",
                invited.name
            ));
        }
        Team::Invite(invite) => {
            let request = team::Invite {
                role: invite.role.into(),
                expires_s: invite.expires.as_secs(),
                uses: invite.uses,
            };
            let invited = call(context, Needs::Network, &request).await?;
            context
                .printer
                .result(&invited, |invited| invited.ticket.clone());
            context.printer.note(format_args!(
                "lets {} in as {} within {}; send it over a private channel: `podsync team join`",
                if invited.uses == 1 {
                    "one device".to_owned()
                } else {
                    format!("{} devices", invited.uses)
                },
                invited.role,
                humantime::format_duration(invite.expires)
            ));
        }
        Team::Join(join) => {
            let ticket = TICKET.read(join.ticket, &context.printer)?;
            let request = team::Join {
                ticket,
                member: join.me.member()?,
                label: join.me.label(),
            };
            context.ensure_key().await?;
            let joined = call(context, Needs::Network, &request).await?;
            context.printer.result(&joined, |joined| {
                format!("in team {} as {}", joined.name, joined.role)
            });
        }
        Team::Members => {
            let members = call(context, Needs::Home, &team::ListMembers {}).await?;
            context.printer.result(&members, |members| {
                table(
                    ["MEMBER", "LABEL", "ROLE", "STATE", "DEVICE"],
                    members.iter().map(row),
                )
            });
        }
        Team::Remove(remove) => {
            let removed = call(context, Needs::Network, &team::Remove { who: remove.who }).await?;
            context.printer.result(&removed, |removed| {
                let devices: Vec<_> = removed.devices.iter().map(ToString::to_string).collect();
                format!("removed {}", devices.join(", "))
            });
            context.printer.note("what it pulled before stays with it; what is shared from now on is under a new key");
        }
        Team::Role(set) => {
            let request = team::SetRole {
                who: set.who,
                role: set.role.into(),
            };
            let member = call(context, Needs::Network, &request).await?;
            context.printer.result(&member, |member| {
                format!("{} is now {}", member.member, member.role)
            });
        }
        Team::SetHub(set) => {
            let request = team::SetHub { url: set.url };
            let set = call(context, Needs::Network, &request).await?;
            context.printer.result(&set, |set| match &set.url {
                None => "the team has no hub".to_owned(),
                Some(url) if set.witnesses => {
                    format!("the team's hub is {url}; it lets in who has a ticket")
                }
                Some(url) => format!(
                    "the team's hub is {url}; it lets nobody in, so that a member has to be there when somebody joins"
                ),
            });
        }
        Team::Recover(recover) => {
            let recovery_key = RECOVERY_KEY.read(recover.key, &context.printer)?;
            let request = team::Recover { recovery_key };
            let member = call(context, Needs::Network, &request).await?;
            context.printer.result(&member, |member| {
                format!("{} is now {}", member.member, member.role)
            });
            context
                .printer
                .note("put the recovery key back where it is safe: it cannot be changed");
        }
    }
    Ok(())
}

fn row(member: &team::Member) -> [String; 5] {
    let state = match (member.this_device, member.connected) {
        (true, _) => "this device",
        (_, true) => "connected",
        _ => "away",
    };
    [
        member.member.to_string(),
        member.label.clone(),
        member.role.to_string(),
        state.to_owned(),
        member.device.to_string(),
    ]
}

impl Me {
    fn member(&self) -> Result<MemberName, ApiError> {
        if let Some(member) = &self.member {
            return Ok(member.clone());
        }
        MemberName::new(whoami::username().unwrap_or_default()).map_err(|error| {
            ApiError::new(
                ErrorCode::Invalid,
                format!("the login name won't do: {error}"),
            )
            .hint("say your name in the team with --as NAME")
        })
    }

    fn label(&self) -> String {
        let label = self
            .label
            .clone()
            .or_else(|| whoami::hostname().ok())
            .unwrap_or_else(|| "device".to_owned());
        label.trim().chars().take(64).collect()
    }
}

impl From<Role> for team::Role {
    fn from(role: Role) -> Self {
        match role {
            Role::Reader => Self::Reader,
            Role::Publisher => Self::Publisher,
            Role::Admin => Self::Admin,
        }
    }
}

//! `podsync team`: who is in, who may come in, who goes.

use std::{
    io::{BufRead, IsTerminal, Read},
    time::Duration,
};

use clap::{Args, Subcommand, ValueEnum};
use podsync_api::{ApiError, ErrorCode, team};
use podsync_core::{MemberName, TeamName};

use crate::{
    arguments::Global,
    command::call,
    connect::{Needs, ensure_key},
    output::{Printer, table},
};

/// More than any ticket has.
const MAX_SECRET_LEN: u64 = 16 << 10;

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

pub(crate) async fn run(global: &Global, printer: &Printer, command: Team) -> Result<(), ApiError> {
    match command {
        Team::Create(create) => {
            let request = team::CreateTeam {
                name: create.name,
                member: create.me.member()?,
                label: create.me.label(),
            };
            ensure_key(global, printer).await?;
            let created = call(global, printer, Needs::Home, &request).await?;
            printer.result(&created, |created| {
                format!(
                    "team {} ({})\nrecovery key {}",
                    created.name,
                    created.team.short(),
                    created.recovery_key
                )
            });
            printer.note("keep the recovery key offline: it brings the team back when no admin is left, and is shown only now");
        }
        Team::Invite(invite) if invite.robot => {
            let request = team::InviteRobot { name: invite.name };
            let invited = call(global, printer, Needs::Network, &request).await?;
            printer.result(&invited, |invited| invited.token.clone());
            printer.note(format_args!(
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
            let invited = call(global, printer, Needs::Network, &request).await?;
            printer.result(&invited, |invited| invited.ticket.clone());
            printer.note(format_args!(
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
            let ticket = TICKET.read(join.ticket, printer)?;
            let request = team::Join {
                ticket,
                member: join.me.member()?,
                label: join.me.label(),
            };
            ensure_key(global, printer).await?;
            let joined = call(global, printer, Needs::Network, &request).await?;
            printer.result(&joined, |joined| {
                format!("in team {} as {}", joined.name, joined.role)
            });
        }
        Team::Members => {
            let members = call(global, printer, Needs::Home, &team::ListMembers {}).await?;
            printer.result(&members, |members| {
                table(
                    ["MEMBER", "LABEL", "ROLE", "STATE", "DEVICE"],
                    members.iter().map(row),
                )
            });
        }
        Team::Remove(remove) => {
            let removed = call(
                global,
                printer,
                Needs::Network,
                &team::Remove { who: remove.who },
            )
            .await?;
            printer.result(&removed, |removed| {
                let devices: Vec<_> = removed.devices.iter().map(ToString::to_string).collect();
                format!("removed {}", devices.join(", "))
            });
            printer.note("what it pulled before stays with it; what is shared from now on is under a new key");
        }
        Team::Role(set) => {
            let request = team::SetRole {
                who: set.who,
                role: set.role.into(),
            };
            let member = call(global, printer, Needs::Network, &request).await?;
            printer.result(&member, |member| {
                format!("{} is now {}", member.member, member.role)
            });
        }
        Team::SetHub(set) => {
            let request = team::SetHub { url: set.url };
            let set = call(global, printer, Needs::Network, &request).await?;
            printer.result(&set, |set| match &set.url {
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
            let recovery_key = RECOVERY_KEY.read(recover.key, printer)?;
            let request = team::Recover { recovery_key };
            let member = call(global, printer, Needs::Network, &request).await?;
            printer.result(&member, |member| {
                format!("{} is now {}", member.member, member.role)
            });
            printer.note("put the recovery key back where it is safe: it cannot be changed");
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

/// A secret as it is asked for: an argument shows in the process list and the shell's history.
struct Secret {
    what: &'static str,
    variable: &'static str,
}

const TICKET: Secret = Secret {
    what: "ticket",
    variable: "PODSYNC_TICKET",
};
const RECOVERY_KEY: Secret = Secret {
    what: "recovery key",
    variable: "PODSYNC_RECOVERY_KEY",
};

impl Secret {
    fn read(&self, argument: Option<String>, printer: &Printer) -> Result<String, ApiError> {
        let Self { what, variable } = self;
        let unreadable = |error: std::io::Error| {
            ApiError::new(
                ErrorCode::Ticket,
                format!("cannot read the {what}: {error}"),
            )
        };
        if let Some(secret) = argument.as_deref().filter(|text| *text != "-") {
            printer.warn(format_args!(
                "a {what} on the command line shows in the process list; better give it on stdin with `-`"
            ));
            return Ok(secret.to_owned());
        }
        if argument.is_none()
            && let Ok(secret) = std::env::var(variable)
        {
            return Ok(secret);
        }
        let stdin = std::io::stdin();
        if stdin.is_terminal() {
            return rpassword::prompt_password(format!("{what}: ")).map_err(unreadable);
        }
        let mut line = String::new();
        stdin
            .lock()
            .take(MAX_SECRET_LEN)
            .read_line(&mut line)
            .map_err(unreadable)?;
        if line.trim().is_empty() {
            return Err(
                ApiError::new(ErrorCode::Ticket, format!("no {what} was given"))
                    .hint(format!("give it at the prompt, on stdin, or as {variable}")),
            );
        }
        Ok(line.trim().to_owned())
    }
}

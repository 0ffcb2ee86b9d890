//! The rest of `podsync team`: create, join, leave, and what admins do to members.

use std::collections::BTreeSet;

use clap::{Args, ValueEnum};
use clap_complete::ArgValueCandidates;
use podsync_api::{ApiError, ErrorCode, team};
use podsync_core::{
    DeviceLabel, MemberName, TeamName,
    engine::EngineError,
    ticket::{Ticket, TicketKind, has_room_for},
};
use podsync_daemon::NewHome;

use crate::{
    arguments::Yes,
    call::{call, call_agreed},
    command::load,
    complete,
    context::{Context, Needs},
    output::{
        Column::{Name, Whole},
        NotOnStdout, count, full_table, table,
    },
    secret::{RECOVERY_KEY, TICKET},
};

#[derive(Debug, Args)]
pub(crate) struct Create {
    /// Name of the team
    name: TeamName,
    #[command(flatten)]
    me: Me,
    #[command(flatten)]
    agree: Yes,
}

/// How teammates see this device.
#[derive(Debug, Args)]
struct Me {
    /// Your name in the team [default: your login name]
    #[arg(long = "as", value_name = "NAME")]
    member: Option<MemberName>,
    /// Name of this device [default: the host name]
    #[arg(long, value_name = "LABEL")]
    label: Option<String>,
}

#[derive(Debug, Clone, Copy, Default, ValueEnum)]
pub(super) enum Role {
    /// Reads what the team shares
    Reader,
    /// Reads and shares
    #[default]
    Publisher,
    /// Also manages members, the hub and retention
    Admin,
}

#[derive(Debug, Args)]
pub(crate) struct Join {
    /// The ticket. Safer: enter it at the prompt, pass `-` to read it from stdin, or set PODSYNC_TICKET
    ticket: Option<String>,
    /// URL of the team's hub, if the ticket has no room for it: `team invite` says so. Needed only if no
    /// member is online
    #[arg(long, value_name = "URL")]
    hub: Option<String>,
    #[command(flatten)]
    me: Me,
}

#[derive(Debug, Args)]
pub(crate) struct Leave {
    #[command(flatten)]
    agree: Yes,
}

#[derive(Debug, Args)]
pub(crate) struct Remove {
    /// Name of the member, or id of the device
    #[arg(add = ArgValueCandidates::new(complete::members))]
    who: String,
    #[command(flatten)]
    agree: Yes,
}

#[derive(Debug, Args)]
pub(crate) struct SetRole {
    /// Name of the member, or id of the device
    #[arg(add = ArgValueCandidates::new(complete::members))]
    who: String,
    /// The new role
    #[arg(value_enum)]
    role: Role,
    #[command(flatten)]
    agree: Yes,
}

#[derive(Debug, Args)]
pub(crate) struct Recover {
    /// The recovery key. Safer: enter it at the prompt, pass `-` to read it from stdin, or set
    /// PODSYNC_RECOVERY_KEY
    key: Option<String>,
}

#[derive(Debug, Args)]
pub(crate) struct SetHub {
    /// URL of the hub: `https://HOST[:PORT]`. All members use it from then on
    #[arg(required_unless_present = "unset")]
    url: Option<String>,
    /// Stop using a hub. The data in the bucket stays there
    #[arg(long, conflicts_with = "url")]
    unset: bool,
}

pub(super) async fn create(context: &Context, create: Create) -> Result<(), ApiError> {
    let request = team::CreateTeam {
        name: create.name,
        member: create.me.member()?,
        label: create.me.label()?,
        consents: BTreeSet::new(),
    };
    context.ensure_key().await?;
    let created = call_agreed(context, Needs::Home, request, create.agree.yes).await?;
    let shown = context.printer.secret(&created, |created| {
        format!(
            "team {} ({})\nrecovery key {}",
            created.name,
            created.team.short(),
            created.recovery_key
        )
    });
    if let Err(NotOnStdout::Nowhere(error)) = shown {
        // Nothing else brings a team back that has lost its admins.
        let path = context.keep_secret("recovery-key", &created.recovery_key)?;
        return Err(error.hint(format!(
            "the recovery key is in {}: move it to a safe place",
            path.display()
        )));
    }
    shown?;
    context.printer.note(
        "Store the recovery key offline. It is the only way back if the team loses all its admins. \
         podsync does not show it again.",
    );
    Ok(())
}

pub(super) async fn join(context: &Context, join: Join) -> Result<(), ApiError> {
    let ticket = TICKET.read(join.ticket, &context.printer).await?;
    // Looked at before anything is made: a slip of the hand leaves no key and no daemon.
    check_ticket(&ticket)?;
    let request = team::Join {
        ticket,
        member: join.me.member()?,
        label: join.me.label()?,
        hub: join.hub,
    };
    let new = context.new_home().await?;
    context.ensure_key().await?;
    let joined = match (call(context, Needs::Network, &request).await, new) {
        (Err(error), Some(new)) if error.code != ErrorCode::Cancelled => {
            return Err(give_up(context, new, error).await);
        }
        (joined, _) => joined?,
    };
    context.printer.result(&joined, welcome)
}

fn check_ticket(text: &str) -> Result<(), ApiError> {
    let ticket = Ticket::parse(text).map_err(|error| {
        ApiError::new(ErrorCode::Ticket, error.to_string()).hint(
            error
                .hint()
                .unwrap_or("ask an admin for a new ticket: `podsync team invite` prints one"),
        )
    })?;
    if ticket.kind == TicketKind::Robot {
        let error = EngineError::RobotTicket;
        return Err(ApiError::new(ErrorCode::Ticket, error.to_string())
            .hint(error.hint().unwrap_or_default()));
    }
    Ok(())
}

/// Tells newcomers who they are, what the team has, and what to do next.
pub(crate) fn welcome(joined: &team::Joined) -> String {
    let members = count(joined.members, "member");
    let mut lines = vec![format!(
        "Joined: you are {} in {} ({members}), as {}.",
        joined.you, joined.name, joined.role
    )];
    match &joined.newest {
        Some(newest) => {
            lines.push(format!(
                "newest    {}, from {}",
                newest.reference, newest.author
            ));
            lines.push(format!("next      `{}`", load::command_for(newest)));
        }
        None => {
            lines.push("newest    nothing is shared yet".to_owned());
            lines.push("next      `podsync save NAME --share`".to_owned());
        }
    }
    lines.join("\n")
}

/// Cleans up after a failed join: ends the daemon, and removes the key unless a team may already know it.
async fn give_up(context: &Context, new: NewHome, error: ApiError) -> ApiError {
    let ended = match context.stop_daemon().await {
        Ok(_) if error.may_be_done => {
            context.printer.note(
                "The new home stays, for a member or the hub may have let this device in. Run the same command again.",
            );
            return error;
        }
        Ok(_) => new.take_back(),
        Err(error) => Err(error),
    };
    match ended {
        Ok(()) => context
            .printer
            .note("Nothing of this join is left: podsync removed the new key again."),
        Err(left) => context.printer.warn(format_args!(
            "podsync could not remove what it made for this join: {}",
            left.message
        )),
    }
    error
}

pub(super) async fn leave(context: &Context, leave: Leave) -> Result<(), ApiError> {
    let request = team::Leave::default();
    let left = call_agreed(context, Needs::Network, request, leave.agree.yes).await?;
    context.printer.result(&left, |left| {
        format!("This device has left team {}.", left.name)
    })?;
    context
        .printer
        .note("To join the team again, use a new home: `podsync team join --home FOLDER`.");
    Ok(())
}

pub(super) async fn list(context: &Context) -> Result<(), ApiError> {
    let members = call(context, Needs::Home, &team::ListMembers {}).await?;
    let whole = context.global.verbose > 0;
    context
        .printer
        .result(&members, |members| listed(members, whole))
}

pub(crate) fn listed(members: &[team::Member], whole: bool) -> String {
    let head = [
        Name("MEMBER"),
        Name("LABEL"),
        Whole("ROLE"),
        Whole("STATE"),
        Whole("DEVICE"),
    ];
    let rows = members.iter().map(|member| row(member, whole));
    match whole {
        true => full_table(head, rows),
        false => table(head, rows),
    }
}

fn row(member: &team::Member, whole: bool) -> [String; 5] {
    let state = match (member.this_device, member.connected) {
        (true, _) => "this device",
        (_, true) => "connected",
        _ => "offline",
    };
    [
        member.member.to_string(),
        member.label.clone(),
        member.role.to_string(),
        state.to_owned(),
        if whole {
            member.device.to_string()
        } else {
            member.device.short()
        },
    ]
}

pub(super) async fn remove(context: &Context, remove: Remove) -> Result<(), ApiError> {
    let request = team::Remove {
        who: remove.who,
        ..team::Remove::default()
    };
    let removed = call_agreed(context, Needs::Network, request, remove.agree.yes).await?;
    context.printer.result(&removed, |removed| {
        format!("Removed {}.", removed.names.join(", "))
    })?;
    context.printer.note(
        "A removed device keeps what it downloaded before. It cannot read what the team shares from now on.",
    );
    Ok(())
}

pub(super) async fn set_role(context: &Context, set: SetRole) -> Result<(), ApiError> {
    let request = team::SetRole {
        who: set.who,
        role: set.role.into(),
        consents: BTreeSet::new(),
    };
    let member = call_agreed(context, Needs::Network, request, set.agree.yes).await?;
    context.printer.result(&member, now_is)
}

pub(super) async fn set_hub(context: &Context, set: SetHub) -> Result<(), ApiError> {
    let request = team::SetHub { url: set.url };
    let set = call(context, Needs::Network, &request).await?;
    if let Some(url) = set.url.as_deref().filter(|url| !has_room_for(url)) {
        context.printer.warn(format_args!(
            "tickets have no room for {url}. Who joins while no member is online adds --hub {url}"
        ));
    }
    context.printer.result(&set, |set| match &set.url {
        None => "The team has no hub now.".to_owned(),
        Some(url) if set.witnesses => {
            format!("The team's hub is now {url}. It lets new members in who have a ticket.")
        }
        Some(url) => format!(
            "The team's hub is now {url}. It does not let new members in: a member must be online when somebody joins."
        ),
    })
}

pub(super) async fn recover(context: &Context, recover: Recover) -> Result<(), ApiError> {
    let recovery_key = RECOVERY_KEY.read(recover.key, &context.printer).await?;
    let request = team::Recover { recovery_key };
    let member = call(context, Needs::Network, &request).await?;
    context.printer.result(&member, now_is)?;
    context
        .printer
        .note("Put the recovery key back in its safe place. It cannot be changed.");
    Ok(())
}

fn now_is(member: &team::Member) -> String {
    format!("{} is now {}.", member.member, member.role)
}

impl Me {
    fn member(&self) -> Result<MemberName, ApiError> {
        if let Some(member) = &self.member {
            return Ok(member.clone());
        }
        MemberName::new(whoami::username().unwrap_or_default()).map_err(|error| {
            ApiError::new(
                ErrorCode::Invalid,
                format!("your login name cannot be your name in the team: {error}"),
            )
            .hint("choose your name in the team with --as NAME")
        })
    }

    /// Looked at before anything is made: a label that is none leaves no key.
    fn label(&self) -> Result<String, ApiError> {
        let Some(label) = &self.label else {
            let host = whoami::hostname().unwrap_or_else(|_| "device".to_owned());
            let plain = |c: char| match c.is_ascii_alphanumeric() || matches!(c, '.' | '_') {
                true => c,
                false => '-',
            };
            let host: String = host.trim().chars().take(64).map(plain).collect();
            let host = host.trim_start_matches(['.', '_', '-']);
            let is_label = DeviceLabel::new(host).is_ok();
            return Ok(if is_label { host } else { "device" }.to_owned());
        };
        let label = label.trim();
        match DeviceLabel::new(label) {
            Ok(_) => Ok(label.to_owned()),
            Err(error) => Err(ApiError::new(ErrorCode::Invalid, error.to_string())
                .hint("give another one with --label")),
        }
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

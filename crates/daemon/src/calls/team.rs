//! Who is in, who may come in, who goes.

use std::{
    sync::{Arc, PoisonError},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use podsync_api::{ApiError, ErrorCode, team};
use podsync_core::{
    DeviceId, DeviceLabel, TeamId, TeamName,
    engine::{Answer, Command, Engine, InviteOptions},
    membership::{HUB_KEY, HUB_URL, MemberRecord, Role},
    ticket::{MAX_ADDRESS_LEN, RecoveryKey, Ticket},
};
use podsync_net::Multiaddr;

use crate::{
    addresses::announced,
    daemon::Daemon,
    failure::Failure,
    server::{Context, Handle},
};

/// How long a newcomer knocks before it gives up.
const JOIN_PATIENCE: Duration = Duration::from_secs(20);

impl Daemon {
    /// The team that a path names: by name, or the only one there is.
    pub(crate) async fn team(&self, context: &Context) -> Result<TeamId, Failure> {
        let teams = self.node.read(|engine| {
            let named = |id: TeamId| Some((id, engine.membership(&id)?.state().name().clone()));
            engine.teams().filter_map(named).collect::<Vec<_>>()
        });
        choose(teams.await?, &context.team).map_err(Failure::from)
    }

    pub(crate) async fn command(&self, command: Command) -> Result<Answer, Failure> {
        Ok(self.node.command(command).await??)
    }

    pub(super) fn ticket_addresses(&self) -> Vec<String> {
        // Without the device at their end: the ticket names it once.
        let listening = self
            .listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        announced(&listening)
    }
}

fn choose(mut teams: Vec<(TeamId, TeamName)>, wanted: &str) -> Result<TeamId, ApiError> {
    if wanted != podsync_api::TeamChoice::ONLY {
        teams.retain(|(id, name)| name.as_str() == wanted || id.to_string().starts_with(wanted));
    }
    match &teams[..] {
        [(id, _)] => Ok(*id),
        [] if wanted == podsync_api::TeamChoice::ONLY => Err(ApiError::new(
            ErrorCode::NotFound,
            "this home is in no team yet",
        )
        .hint("found one with `podsync team create NAME`, or join one with `podsync team join`")),
        [] => Err(ApiError::new(
            ErrorCode::NotFound,
            format!("this home is in no team {wanted}"),
        )
        .hint("`podsync status` lists its teams")),
        several => {
            let names: Vec<_> = several
                .iter()
                .map(|(id, name)| format!("{name} ({})", id.short()))
                .collect();
            Err(ApiError::new(
                ErrorCode::Ambiguous,
                format!("which team: {}?", names.join(", ")),
            )
            .hint("say which with --team NAME, or the beginning of its id"))
        }
    }
}

impl Handle<team::CreateTeam> for Daemon {
    async fn handle(
        self: Arc<Self>,
        call: team::CreateTeam,
        _: Arc<Context>,
    ) -> Result<team::TeamCreated, ApiError> {
        let command = Command::CreateTeam {
            name: call.name.clone(),
            member: call.member,
            label: label(&call.label)?,
        };
        match self.command(command).await? {
            Answer::TeamCreated { team, recovery } => Ok(team::TeamCreated {
                team,
                name: call.name,
                recovery_key: recovery.expose_text().to_string(),
            }),
            other => Err(unexpected(&other)),
        }
    }
}

impl Handle<team::Invite> for Daemon {
    async fn handle(
        self: Arc<Self>,
        call: team::Invite,
        context: Arc<Context>,
    ) -> Result<team::Invited, ApiError> {
        let team = self.team(&context).await?;
        let now = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        let expires = now.saturating_add(Duration::from_secs(call.expires_s));
        let options = InviteOptions {
            team,
            role: role_of(call.role),
            member: None,
            expires_ms: u64::try_from(expires.as_millis()).unwrap_or(u64::MAX),
            uses: call.uses,
            robot: None,
            addresses: self.ticket_addresses(),
        };
        let expires_ms = options.expires_ms;
        let answer = self.command(Command::Invite(options)).await?;
        self.tell_hub(team).await;
        match answer {
            Answer::Invited { ticket } => Ok(team::Invited {
                ticket: ticket.expose_text().to_string(),
                role: call.role,
                expires_ms,
                uses: call.uses,
            }),
            other => Err(unexpected(&other)),
        }
    }
}

impl Handle<team::Join> for Daemon {
    async fn handle(
        self: Arc<Self>,
        call: team::Join,
        _: Arc<Context>,
    ) -> Result<team::Joined, ApiError> {
        let ticket = Ticket::parse(call.ticket.trim())
            .map_err(|error| crate::failure::with_hint(ErrorCode::Ticket, &error))?;
        let addresses: Vec<Multiaddr> = ticket
            .dialled()
            .filter_map(|address| address.parse().ok())
            .collect();
        // The engine asks whoever is connected; it need not be the issuer.
        let connecting = self.node.connect(ticket.issuer, addresses).await;
        drop(connecting.map_err(Failure::from)?);
        let command = Command::Join {
            ticket: Box::new(ticket),
            member: call.member,
            label: label(&call.label)?,
            patience: JOIN_PATIENCE,
        };
        let team = match self.command(command).await? {
            Answer::Joined { team } => team,
            other => return Err(unexpected(&other)),
        };
        // Where nobody is there to tell what the team has, the hub does.
        let alone = self
            .node
            .read(move |engine| engine.connected(&team).is_empty());
        if alone.await.map_err(Failure::from)?
            && let Err(failure) = self.hear_now(team).await
        {
            tracing::warn!(error = %failure.told(), "the hub wasn't heard");
        }
        let device = self.device;
        let joined = self.node.read(move |engine| {
            let roster = engine.membership(&team)?.state();
            let me = roster.member(&device)?;
            Some((roster.name().clone(), me.role))
        });
        let (name, role) = joined.await.map_err(Failure::from)?.ok_or_else(|| {
            ApiError::new(ErrorCode::Internal, "joined, but the team isn't there")
        })?;
        Ok(team::Joined {
            team,
            name,
            role: role_to(role),
        })
    }
}

impl Handle<team::ListMembers> for Daemon {
    async fn handle(
        self: Arc<Self>,
        _: team::ListMembers,
        context: Arc<Context>,
    ) -> Result<Vec<team::Member>, ApiError> {
        let team = self.team(&context).await?;
        let records = self
            .node
            .read(move |engine| records(engine, &team))
            .await
            .map_err(Failure::from)?;
        Ok(records.iter().map(|record| self.member(record)).collect())
    }
}

impl Handle<team::Remove> for Daemon {
    async fn handle(
        self: Arc<Self>,
        call: team::Remove,
        context: Arc<Context>,
    ) -> Result<team::Removed, ApiError> {
        let team = self.team(&context).await?;
        let records = self
            .node
            .read(move |engine| records(engine, &team))
            .await
            .map_err(Failure::from)?;
        let meant = meant(&records, &call.who)?;
        let mut devices = Vec::new();
        for record in meant {
            self.command(Command::Remove {
                team,
                device: record.device,
            })
            .await?;
            devices.push(record.device);
        }
        self.tell_hub(team).await;
        Ok(team::Removed { devices })
    }
}

impl Handle<team::SetRole> for Daemon {
    async fn handle(
        self: Arc<Self>,
        call: team::SetRole,
        context: Arc<Context>,
    ) -> Result<team::Member, ApiError> {
        let team = self.team(&context).await?;
        let before = self
            .node
            .read(move |engine| records(engine, &team))
            .await
            .map_err(Failure::from)?;
        let mut changed = None;
        for record in meant(&before, &call.who)? {
            self.command(Command::SetRole {
                team,
                device: record.device,
                role: role_of(call.role),
            })
            .await?;
            changed = Some(record.device);
        }
        self.tell_hub(team).await;
        let after = self
            .node
            .read(move |engine| records(engine, &team))
            .await
            .map_err(Failure::from)?;
        after
            .iter()
            .find(|record| Some(record.device) == changed)
            .map(|record| self.member(record))
            .ok_or_else(|| unknown(&call.who))
    }
}

impl Handle<team::SetHub> for Daemon {
    async fn handle(
        self: Arc<Self>,
        call: team::SetHub,
        context: Arc<Context>,
    ) -> Result<team::HubSet, ApiError> {
        let team = self.team(&context).await?;
        let witness = match &call.url {
            // One that doesn't answer would only be found out by everybody else.
            Some(url) if url.len() > MAX_ADDRESS_LEN => {
                return Err(ApiError::new(
                    ErrorCode::Invalid,
                    format!(
                        "the hub's URL has {} bytes; a ticket has room for {MAX_ADDRESS_LEN}",
                        url.len()
                    ),
                )
                .hint("give the hub a shorter name"));
            }
            Some(url) => {
                let client = self.hubs.client(team, url)?;
                client.team_info().await.map_err(Failure::from)?.witness
            }
            None => None,
        };
        let key = witness.map(|key| key.to_string());
        for (name, value) in [(HUB_KEY, key), (HUB_URL, call.url.clone())] {
            let name = name.to_owned();
            self.command(Command::SetSetting { team, name, value })
                .await?;
        }
        self.tell_hub(team).await;
        self.hubs.wake();
        Ok(team::HubSet {
            url: call.url,
            witnesses: witness.is_some(),
        })
    }
}

impl Handle<team::Recover> for Daemon {
    async fn handle(
        self: Arc<Self>,
        call: team::Recover,
        context: Arc<Context>,
    ) -> Result<team::Member, ApiError> {
        let team = self.team(&context).await?;
        let key = RecoveryKey::parse(&call.recovery_key)
            .map_err(|error| crate::failure::with_hint(ErrorCode::Ticket, &error))?;
        self.command(Command::Recover { team, key }).await?;
        self.tell_hub(team).await;
        let records = self
            .node
            .read(move |engine| records(engine, &team))
            .await
            .map_err(Failure::from)?;
        records
            .iter()
            .find(|record| record.device == self.device)
            .map(|record| self.member(record))
            .ok_or_else(|| unknown(&self.device.to_string()))
    }
}

impl Daemon {
    fn member(&self, record: &MemberRecord) -> team::Member {
        team::Member {
            member: record.member.clone(),
            label: record.label.to_string(),
            role: role_to(record.role),
            device: record.device,
            this_device: record.device == self.device,
            connected: self.net.is_connected(record.device),
        }
    }
}

fn records(engine: &Engine, team: &TeamId) -> Vec<MemberRecord> {
    engine
        .membership(team)
        .map(|membership| membership.state().devices().cloned().collect())
        .unwrap_or_default()
}

/// The devices that a member's name or a device id means.
fn meant<'a>(records: &'a [MemberRecord], who: &str) -> Result<Vec<&'a MemberRecord>, ApiError> {
    let device = who.parse::<DeviceId>().ok();
    let fits =
        |record: &&MemberRecord| record.member.as_str() == who || Some(record.device) == device;
    let found: Vec<_> = records.iter().filter(fits).collect();
    if found.is_empty() {
        Err(unknown(who))
    } else {
        Ok(found)
    }
}

fn unknown(who: &str) -> ApiError {
    ApiError::new(
        ErrorCode::NotFound,
        format!("nobody in the team is {who:?}"),
    )
    .hint("`podsync team members` lists names and devices")
}

fn label(text: &str) -> Result<DeviceLabel, ApiError> {
    DeviceLabel::new(text).map_err(|error| {
        ApiError::new(ErrorCode::Invalid, error.to_string()).hint("give one with --label")
    })
}

pub(super) fn unexpected(answer: &Answer) -> ApiError {
    ApiError::new(
        ErrorCode::Internal,
        format!("the engine answered something else: {answer:?}"),
    )
}

fn role_of(role: team::Role) -> Role {
    match role {
        team::Role::Reader => Role::Reader,
        team::Role::Publisher => Role::Publisher,
        team::Role::Admin => Role::Admin,
    }
}

pub(super) fn role_to(role: Role) -> team::Role {
    match role {
        Role::Reader => team::Role::Reader,
        Role::Publisher => team::Role::Publisher,
        Role::Admin => team::Role::Admin,
    }
}

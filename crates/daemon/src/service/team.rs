//! Teams: members, invites and removals.

mod admins;
mod invites;
mod join;
mod leave;
mod probe;
pub(crate) mod robot;
pub(crate) mod roles;

use std::sync::{Arc, Mutex, PoisonError};

use podsync_api::{ApiError, Consent, ErrorCode, team};
use podsync_core::{
    DeviceId, DeviceLabel, TeamId, TeamName,
    engine::{Answer, Command, Engine, EngineError},
    membership::{HUB_KEY, HUB_URL, MemberRecord, Role},
    ticket::RecoveryKey,
};
use podsync_net::{Multiaddr, Net};

use self::admins::{check_admin_stays, check_removal_is_meant, name_of};
pub(crate) use self::roles::role_to;
use crate::{
    addresses::announced,
    call::{Context, Handle},
    error::{Failure, api_error},
    hub::sync::HubSync,
    node::handle::Node,
    service::choose::team_of,
    versions::Versions,
};

/// Carries out calls about a team's members.
pub(crate) struct Team {
    pub(crate) device: DeviceId,
    pub(crate) node: Node,
    pub(crate) net: Net,
    pub(crate) hubs: Arc<HubSync>,
    pub(crate) versions: Arc<Versions>,
    pub(crate) listening: Arc<Mutex<Vec<Multiaddr>>>,
}

impl Team {
    /// This device's addresses, for a ticket.
    pub(crate) fn ticket_addresses(&self) -> Vec<String> {
        // The addresses without the device's id: the ticket names it once.
        let listening = self
            .listening
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        announced(&listening)
    }
}

impl Handle<team::CreateTeam> for Team {
    async fn handle(
        self: Arc<Self>,
        call: team::CreateTeam,
        _: Arc<Context>,
    ) -> Result<team::TeamCreated, Failure> {
        self.check_name_is_new(&call).await?;
        let command = Command::CreateTeam {
            name: call.name.clone(),
            member: call.member,
            label: label(&call.label)?,
        };
        match self.node.command(command).await?? {
            Answer::TeamCreated { team, recovery } => Ok(team::TeamCreated {
                team,
                name: call.name,
                recovery_key: recovery.expose_text().to_string(),
            }),
            other => Err(Failure::unexpected(&other)),
        }
    }
}

impl Handle<team::ListMembers> for Team {
    async fn handle(
        self: Arc<Self>,
        _: team::ListMembers,
        context: Arc<Context>,
    ) -> Result<Vec<team::Member>, Failure> {
        let team = team_of(&self.node, &context).await?;
        let records = self
            .node
            .read(move |engine| records(engine, &team))
            .await
            .map_err(Failure::from)?;
        Ok(records.iter().map(|record| self.member(record)).collect())
    }
}

impl Handle<team::Remove> for Team {
    async fn handle(
        self: Arc<Self>,
        call: team::Remove,
        context: Arc<Context>,
    ) -> Result<team::Removed, Failure> {
        let team = team_of(&self.node, &context).await?;
        let records = self
            .node
            .read(move |engine| records(engine, &team))
            .await
            .map_err(Failure::from)?;
        let mut meant = meant(&records, &call.who)?;
        // This device is removed last: after that it could remove no others.
        meant.sort_by_key(|record| record.device == self.device);
        let going: Vec<_> = meant.iter().map(|record| record.device).collect();
        let name = self.name(team).await?;
        check_admin_stays(&name, &records, self.device, &going, &call.consents)?;
        check_removal_is_meant(&name, &records, self.device, &meant, &call.consents)?;
        let (mut devices, mut names) = (Vec::new(), Vec::new());
        for record in meant {
            self.node
                .command(Command::Remove {
                    team,
                    device: record.device,
                })
                .await??;
            devices.push(record.device);
            names.push(name_of(record));
        }
        self.hubs.tell_hub(team).await;
        Ok(team::Removed { devices, names })
    }
}

impl Handle<team::SetRole> for Team {
    async fn handle(
        self: Arc<Self>,
        call: team::SetRole,
        context: Arc<Context>,
    ) -> Result<team::Member, Failure> {
        let team = team_of(&self.node, &context).await?;
        let before = self
            .node
            .read(move |engine| records(engine, &team))
            .await
            .map_err(Failure::from)?;
        let meant = meant(&before, &call.who)?;
        if call.role != team::Role::Admin {
            let going: Vec<_> = meant.iter().map(|record| record.device).collect();
            let name = self.name(team).await?;
            check_admin_stays(&name, &before, self.device, &going, &call.consents)?;
        }
        let mut changed = None;
        for record in meant {
            self.node
                .command(Command::SetRole {
                    team,
                    device: record.device,
                    role: role_of(call.role),
                })
                .await??;
            changed = Some(record.device);
        }
        self.hubs.tell_hub(team).await;
        let after = self
            .node
            .read(move |engine| records(engine, &team))
            .await
            .map_err(Failure::from)?;
        after
            .iter()
            .find(|record| Some(record.device) == changed)
            .map(|record| self.member(record))
            .ok_or_else(|| unknown(&call.who).into())
    }
}

impl Handle<team::SetHub> for Team {
    async fn handle(
        self: Arc<Self>,
        call: team::SetHub,
        context: Arc<Context>,
    ) -> Result<team::HubSet, Failure> {
        let team = team_of(&self.node, &context).await?;
        let witness = match &call.url {
            // A wrong URL would otherwise be noticed only by other members.
            Some(url) => {
                let client = self.hubs.client(team, url)?;
                client.team_info().await.map_err(Failure::from)?.witness
            }
            None => None,
        };
        let key = witness.map(|key| key.to_string());
        for (name, value) in [(HUB_KEY, key), (HUB_URL, call.url.clone())] {
            let name = name.to_owned();
            self.node
                .command(Command::SetSetting { team, name, value })
                .await??;
        }
        self.hubs.tell_hub(team).await;
        self.hubs.wake();
        Ok(team::HubSet {
            url: call.url,
            witnesses: witness.is_some(),
        })
    }
}

impl Handle<team::Recover> for Team {
    async fn handle(
        self: Arc<Self>,
        call: team::Recover,
        context: Arc<Context>,
    ) -> Result<team::Member, Failure> {
        let team = team_of(&self.node, &context).await?;
        let key = RecoveryKey::parse(&call.recovery_key)
            .map_err(|error| api_error(ErrorCode::Ticket, &error, error.hint()))?;
        self.node.command(Command::Recover { team, key }).await??;
        self.hubs.tell_hub(team).await;
        let records = self
            .node
            .read(move |engine| records(engine, &team))
            .await
            .map_err(Failure::from)?;
        records
            .iter()
            .find(|record| record.device == self.device)
            .map(|record| self.member(record))
            .ok_or_else(|| unknown(&self.device.to_string()).into())
    }
}

impl Team {
    async fn name(&self, team: TeamId) -> Result<TeamName, Failure> {
        let name = self
            .node
            .read(move |engine| Some(engine.roster(&team)?.name().clone()));
        Ok(name.await?.ok_or(EngineError::UnknownTeam(team))?)
    }

    /// Asks for consent before making a second team of one name: only their ids would tell them apart.
    async fn check_name_is_new(&self, call: &team::CreateTeam) -> Result<(), Failure> {
        let name = call.name.clone();
        let same = self.node.read(move |engine| {
            let named = |id: &TeamId| {
                engine
                    .roster(id)
                    .is_some_and(|roster| *roster.name() == name)
            };
            engine.teams().find(named)
        });
        match same.await? {
            Some(id) if !call.consents.contains(&Consent::SameName) => Err(ApiError::unconfirmed(
                Consent::SameName,
                format!(
                    "this home is already in a team that is called {} ({}). Commands would need --team with the \
                     id to tell the two apart",
                    call.name,
                    id.short()
                ),
            )
            .into()),
            _ => Ok(()),
        }
    }

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
    if !found.is_empty() {
        return Ok(found);
    }
    // Device ids as `team members` shows them. An ambiguous short id matches nothing.
    let by_short = records.iter().filter(|record| record.device.short() == who);
    match by_short.collect::<Vec<_>>() {
        found if found.len() == 1 => Ok(found),
        _ => Err(unknown(who)),
    }
}

fn unknown(who: &str) -> ApiError {
    ApiError::new(
        ErrorCode::NotFound,
        format!("the team has no member or device {who:?}"),
    )
    .hint("`podsync team members` lists names and devices")
}

fn label(text: &str) -> Result<DeviceLabel, ApiError> {
    DeviceLabel::new(text).map_err(|error| {
        ApiError::new(ErrorCode::Invalid, error.to_string()).hint("give one with --label")
    })
}

fn role_of(role: team::Role) -> Role {
    match role {
        team::Role::Reader => Role::Reader,
        team::Role::Publisher => Role::Publisher,
        team::Role::Admin => Role::Admin,
    }
}

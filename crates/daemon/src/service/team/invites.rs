//! Invites: makes, lists and revokes them.

use std::sync::Arc;

use podsync_api::{ApiError, ErrorCode, team};
use podsync_core::{
    TeamId,
    engine::{Answer, Command, Engine, InviteOptions},
    membership::{InviteRecord, Roster},
    ticket::Ticket,
};

use super::{Team, role_of, role_to};
use crate::{
    call::{Context, Handle},
    clock::now_ms,
    error::Failure,
    service::choose::team_of,
};

/// A ticket has to be sent, read and typed before it expires.
const MIN_LIFETIME_S: u64 = 60;

impl Handle<team::Invite> for Team {
    async fn handle(
        self: Arc<Self>,
        call: team::Invite,
        context: Arc<Context>,
    ) -> Result<team::Invited, Failure> {
        check_lifetime(call.expires_s)?;
        let team = team_of(&self.node, &context).await?;
        let expires_ms = now_ms().saturating_add(call.expires_s.saturating_mul(1000));
        let options = InviteOptions {
            team,
            role: role_of(call.role),
            member: None,
            expires_ms,
            uses: call.uses,
            robot: None,
            addresses: self.ticket_addresses(),
        };
        let answer = self.node.command(Command::Invite(options)).await??;
        self.hubs.tell_hub(team).await;
        match answer {
            Answer::Invited { ticket } => Ok(team::Invited {
                ticket: ticket.expose_text().to_string(),
                role: call.role,
                expires_ms,
                uses: call.uses,
                invite: ticket.secret().id(),
                hub_left_out: self.hub_left_out(team, &ticket).await?,
            }),
            other => Err(Failure::unexpected(&other)),
        }
    }
}

impl Handle<team::ListInvites> for Team {
    async fn handle(
        self: Arc<Self>,
        _: team::ListInvites,
        context: Arc<Context>,
    ) -> Result<Vec<team::OpenInvite>, Failure> {
        let team = team_of(&self.node, &context).await?;
        let listed = self.node.read(move |engine| {
            engine.roster(&team).map_or_else(Vec::new, |roster| {
                let open = roster.invites().filter(|invite| invite.is_open(now_ms()));
                open.map(|invite| shown(roster, invite)).collect()
            })
        });
        Ok(listed.await?)
    }
}

impl Handle<team::RevokeInvite> for Team {
    async fn handle(
        self: Arc<Self>,
        call: team::RevokeInvite,
        context: Arc<Context>,
    ) -> Result<team::InviteRevoked, Failure> {
        let team = team_of(&self.node, &context).await?;
        let open = self.node.read(move |engine: &Engine| {
            let invites = engine
                .roster(&team)
                .into_iter()
                .flat_map(|roster| roster.invites());
            let open = invites.filter(|invite| invite.is_open(now_ms()));
            open.map(|invite| invite.key.device).collect::<Vec<_>>()
        });
        let mut meant = open.await?;
        meant.retain(|id| !call.invite.is_empty() && id.to_string().starts_with(&call.invite));
        let id = match meant[..] {
            [id] => id,
            [] => {
                return Err(ApiError::new(
                    ErrorCode::NotFound,
                    format!("the team has no open invite {:?}", call.invite),
                )
                .hint("`podsync team invite list` lists the open ones")
                .into());
            }
            _ => {
                return Err(ApiError::new(
                    ErrorCode::Ambiguous,
                    format!("{} invites begin with {:?}", meant.len(), call.invite),
                )
                .hint("give more of the id")
                .into());
            }
        };
        let device = id;
        self.node
            .command(Command::Remove { team, device })
            .await??;
        self.hubs.tell_hub(team).await;
        Ok(team::InviteRevoked { id })
    }
}

fn check_lifetime(seconds: u64) -> Result<(), Failure> {
    if seconds >= MIN_LIFETIME_S {
        return Ok(());
    }
    let text = format!(
        "a ticket that expires after {seconds} s cannot be used: the least is {MIN_LIFETIME_S} s"
    );
    Err(ApiError::new(ErrorCode::Invalid, text)
        .hint("give it more time with --expires, such as 1h")
        .into())
}

fn shown(roster: &Roster, invite: &InviteRecord) -> team::OpenInvite {
    let by = roster
        .member(&invite.by)
        .map_or_else(|| invite.by.short(), |record| record.member.to_string());
    team::OpenInvite {
        id: invite.key.device,
        role: role_to(invite.role),
        uses: invite.uses,
        uses_left: invite.uses_left(),
        expires_ms: invite.expires_ms,
        by,
    }
}

impl Team {
    /// The team's hub, if the ticket doesn't name it.
    async fn hub_left_out(&self, team: TeamId, ticket: &Ticket) -> Result<Option<String>, Failure> {
        let hub = self
            .node
            .read(move |engine| engine.hub_url(&team).map(str::to_owned));
        let is_in = |hub: &String| ticket.hubs().any(|named| named == hub);
        Ok(hub.await?.filter(|hub| !is_in(hub)))
    }
}

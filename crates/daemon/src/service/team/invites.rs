//! Invites: makes, lists and revokes them.

use std::sync::Arc;

use podsync_api::{ApiError, ErrorCode, team};
use podsync_core::{
    DeviceId, TeamId,
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
/// The longest year: a ticket that is found later lets nobody in.
const MAX_LIFETIME_S: u64 = 366 * 24 * 60 * 60;
/// The most devices that one ticket lets in.
const MAX_USES: u32 = 1000;
/// The characters of an id that `team invite list` shows.
const SHORT_ID_LEN: usize = 8;

impl Handle<team::Invite> for Team {
    async fn handle(
        self: Arc<Self>,
        call: team::Invite,
        context: Arc<Context>,
    ) -> Result<team::Invited, Failure> {
        check_lifetime(call.expires_s)?;
        check_uses(call.uses)?;
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
        let id = meant(&open.await?, &call.invite)?;
        let device = id;
        self.node
            .command(Command::Remove { team, device })
            .await??;
        self.hubs.tell_hub(team).await;
        Ok(team::InviteRevoked { id })
    }
}

/// The open invite that an id means: the whole id, or its end as `team invite list` shows it, or more of that.
fn meant(open: &[DeviceId], text: &str) -> Result<DeviceId, ApiError> {
    let fits = |id: &&DeviceId| text.len() >= SHORT_ID_LEN && id.to_string().ends_with(text);
    match open.iter().filter(fits).collect::<Vec<_>>()[..] {
        [id] => Ok(*id),
        [] if text.len() < SHORT_ID_LEN => Err(ApiError::new(
            ErrorCode::Invalid,
            format!("{text:?} is too short for the id of an invite"),
        )
        .hint("copy the whole id that `podsync team invite list` shows")),
        [] => Err(ApiError::new(
            ErrorCode::NotFound,
            format!("the team has no open invite {text:?}"),
        )
        .hint("`podsync team invite list` lists the open ones")),
        ref several => Err(ApiError::new(
            ErrorCode::Ambiguous,
            format!("the ids of {} invites end with {text:?}", several.len()),
        )
        .hint("give the whole id: `podsync team invite list --json` has it")),
    }
}

fn check_uses(uses: u32) -> Result<(), ApiError> {
    if (1..=MAX_USES).contains(&uses) {
        return Ok(());
    }
    let text = format!("a ticket cannot let {uses} devices in: it lets in 1 to {MAX_USES}");
    Err(ApiError::new(ErrorCode::Invalid, text).hint("say how many with --uses"))
}

fn check_lifetime(seconds: u64) -> Result<(), ApiError> {
    let (text, hint) = if seconds < MIN_LIFETIME_S {
        (
            format!(
                "a ticket that expires after {seconds} s cannot be used: the least is {MIN_LIFETIME_S} s"
            ),
            "give it more time with --expires, such as 1h",
        )
    } else if seconds > MAX_LIFETIME_S {
        (
            format!(
                "a ticket cannot be valid for so long: the most is {} days",
                MAX_LIFETIME_S / (24 * 60 * 60)
            ),
            "give it less time with --expires, such as 7days",
        )
    } else {
        return Ok(());
    };
    Err(ApiError::new(ErrorCode::Invalid, text).hint(hint))
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invite_is_meant_by_what_the_list_shows_and_by_nothing_shorter() {
        let open: Vec<_> = [1, 2, 3].map(|n| DeviceId::from_bytes([n; 32])).into();
        assert_eq!(open[0].short().len(), SHORT_ID_LEN);
        for id in &open {
            assert_eq!(meant(&open, &id.short()), Ok(*id));
            assert_eq!(meant(&open, &id.to_string()), Ok(*id));
            for short in ["1", "", &id.short()[1..]] {
                let error = meant(&open, short).unwrap_err();
                assert_eq!(error.code, ErrorCode::Invalid, "{short}");
            }
            let begin = &id.to_string()[..12];
            assert_eq!(meant(&open, begin).unwrap_err().code, ErrorCode::NotFound);
        }
        let twice = [open[0], open[0]];
        let error = meant(&twice, &open[0].short()).unwrap_err();
        assert_eq!(error.code, ErrorCode::Ambiguous);
    }

    #[test]
    fn a_ticket_for_nobody_is_a_wrong_request() {
        for uses in [0, MAX_USES + 1, u32::MAX] {
            assert_eq!(check_uses(uses).unwrap_err().code, ErrorCode::Invalid);
        }
        assert_eq!(check_uses(1), Ok(()));
    }

    #[test]
    fn a_ticket_is_valid_for_a_year_at_most() {
        for seconds in [MIN_LIFETIME_S - 1, MAX_LIFETIME_S + 1, u64::MAX] {
            let error = check_lifetime(seconds).unwrap_err();
            assert_eq!(error.code, ErrorCode::Invalid, "{error}");
        }
        let error = check_lifetime(999_999_999 * 24 * 60 * 60).unwrap_err();
        assert!(error.message.contains("366 days"), "{error}");
        assert_eq!(check_lifetime(MAX_LIFETIME_S), Ok(()));
    }
}

//! Joining a team: dials a member or the hub, and answers with the team's content.

use std::{sync::Arc, time::Duration};

use podsync_api::{ApiError, ErrorCode, team};
use podsync_core::{
    TeamId,
    engine::{Answer, Command, Event},
    ticket::Ticket,
};
use tokio::{
    sync::broadcast::{Receiver, error::RecvError},
    time::timeout,
};

use super::{
    Team, label,
    probe::{probe, say_for_whom},
    role_to,
};
use crate::{
    call::{Context, Handle},
    error::{Failure, Stopped, api_error},
    service::views,
};

/// How long a newcomer dials before it gives up.
const JOIN_PATIENCE: Duration = Duration::from_secs(20);
/// How long to wait for the team's content. The member that admitted this device sends it at once.
const NEWS_PATIENCE: Duration = Duration::from_secs(3);

impl Handle<team::Join> for Team {
    async fn handle(
        self: Arc<Self>,
        call: team::Join,
        context: Arc<Context>,
    ) -> Result<team::Joined, Failure> {
        let mut ticket = Ticket::parse(&call.ticket)
            .map_err(|error| api_error(ErrorCode::Ticket, &error, error.hint()))?;
        if let Some(hub) = call.hub {
            // A URL that can't be a hub's is refused before the wait.
            self.hubs.client(ticket.team, &hub)?;
            ticket = ticket.with_hub(hub);
        }
        let command = Command::Join {
            ticket: Box::new(ticket.clone()),
            member: call.member,
            label: label(&call.label)?,
            patience: JOIN_PATIENCE,
        };
        let events = self.node.events();
        let answer = tokio::select! {
            answer = self.node.command(command) => answer??,
            () = probe(&self.net, self.node.events(), &ticket) => return Err(Stopped.into()),
            () = say_for_whom(&ticket, &context) => return Err(Stopped.into()),
        };
        let team = match answer {
            Answer::Joined { team } => team,
            other => return Err(Failure::unexpected(&other)),
        };
        // If no member is reachable, the hub tells what the team has.
        let alone = self
            .node
            .read(move |engine| engine.connected(&team).is_empty());
        if !alone.await.map_err(Failure::from)? {
            self.catch_up(team, events).await?;
        } else if let Err(failure) = self.hubs.poll_now(team).await {
            tracing::warn!(error = %failure.api(), "podsync could not poll the hub");
        }
        self.joined(team).await
    }
}

impl Team {
    /// Waits a moment until a member has told what the team has.
    async fn catch_up(&self, team: TeamId, mut events: Receiver<Event>) -> Result<(), Failure> {
        if self
            .node
            .read(move |engine| engine.is_caught_up(&team))
            .await?
        {
            return Ok(());
        }
        let caught_up = async {
            loop {
                match events.recv().await {
                    Ok(Event::CaughtUp { team: of }) if of == team => return,
                    Ok(_) | Err(RecvError::Lagged(_)) => {}
                    Err(RecvError::Closed) => return,
                }
            }
        };
        // A later answer is taken in when it comes.
        let _ = timeout(NEWS_PATIENCE, caught_up).await;
        Ok(())
    }

    async fn joined(&self, team: TeamId) -> Result<team::Joined, Failure> {
        let (device, versions) = (self.device, Arc::clone(&self.versions));
        let joined = self.node.read(move |engine| {
            let roster = engine.membership(&team)?.state();
            let me = roster.member(&device)?;
            let members: std::collections::BTreeSet<_> =
                roster.devices().map(|record| &record.member).collect();
            let catalog = engine.catalog(&team);
            let newest = catalog.and_then(|catalog| {
                let pods = catalog.pods().into_iter();
                let tips = pods.flat_map(|pod| catalog.tips(pod));
                let newest = tips.max_by_key(|record| record.publication.created_ms)?;
                Some(views::shared_view(catalog, &versions, team, newest))
            });
            Some(team::Joined {
                team,
                name: roster.name().clone(),
                role: role_to(me.role),
                you: format!("{}/{}", me.member, me.label),
                members: members.len(),
                newest,
            })
        });
        joined.await.map_err(Failure::from)?.ok_or_else(|| {
            ApiError::new(ErrorCode::Internal, "joined, but the team isn't there").into()
        })
    }
}

//! Robots: an admin enrols one. A runner joins with the robot's token and starts from what a member knows.

use std::{sync::Arc, time::Duration};

use podsync_api::{ApiError, ErrorCode, Progress, Stage, team};
use podsync_core::{
    DeviceId, DeviceLabel, TeamId,
    codec::Format,
    engine::{Answer, Command, EngineError, Event, InviteOptions, Robot},
    membership::{
        Role,
        wire::{MembershipRequest, RefusedReason},
    },
    ticket::Ticket,
    wire::{self, Protocol, ResponseIn},
};
use podsync_net::Net;
use tokio::{
    sync::broadcast::error::RecvError,
    time::{Instant, sleep, timeout_at},
};

use crate::{
    call::{Context, Handle},
    clock::now_ms,
    error::Failure,
    hub::sync::HubSync,
    node::handle::Node,
    service::{
        choose::team_of,
        names::duration,
        team::{
            Team,
            probe::{PROBE_EVERY, addresses, places, probe},
        },
    },
    token::Token,
};

/// The device name of every robot. The member name tells robots apart.
const LABEL: &str = "robot";

/// Enrols robots, and says how old this home's knowledge of the team is.
pub(crate) struct Robots {
    /// Whether this is a robot's runner: others hold the same key.
    pub(crate) robot: bool,
    pub(crate) device: DeviceId,
    pub(crate) node: Node,
    pub(crate) net: Net,
    pub(crate) hubs: Arc<HubSync>,
    pub(crate) team: Arc<Team>,
}

impl Handle<team::InviteRobot> for Robots {
    async fn handle(
        self: Arc<Self>,
        call: team::InviteRobot,
        context: Arc<Context>,
    ) -> Result<team::RobotInvited, Failure> {
        let team = team_of(&self.node, &context).await?;
        let name = call.name.clone();
        let taken = self.node.read(move |engine| {
            let roster = engine.roster(&team)?;
            Some(roster.devices().any(|record| record.member == name))
        });
        if taken.await.map_err(Failure::from)? == Some(true) {
            return Err(ApiError::new(
                ErrorCode::Invalid,
                format!("another member is already called {}", call.name),
            )
            .hint("give the robot a name of its own with --name, or remove that one first")
            .into());
        }
        let options = InviteOptions {
            team,
            role: Role::Reader,
            member: None,
            expires_ms: u64::MAX,
            uses: 1,
            robot: Some(Robot {
                member: call.name.clone(),
                label: label(),
            }),
            // The engine puts the team's hub before these, for the hub is online when members aren't.
            addresses: self.team.ticket_addresses(),
        };
        let answer = self.node.command(Command::Invite(options)).await??;
        self.hubs.tell_hub(team).await;
        match answer {
            Answer::Invited { ticket } => Ok(team::RobotInvited {
                token: ticket.expose_text().to_string(),
                name: call.name,
                device: ticket.secret().id(),
            }),
            other => Err(Failure::unexpected(&other)),
        }
    }
}

impl Handle<team::Enter> for Robots {
    async fn handle(
        self: Arc<Self>,
        call: team::Enter,
        context: Arc<Context>,
    ) -> Result<team::Entered, Failure> {
        let token = Token::parse(&call.token)?;
        if !self.robot || token.device() != self.device {
            return Err(ApiError::new(
                ErrorCode::Invalid,
                "this daemon doesn't run as that robot",
            )
            .hint("set PODSYNC_TOKEN and run the command itself; a token is no ticket to join with")
            .into());
        }
        let ticket = token.ticket();
        let wait = Duration::from_secs(call.wait_s);
        context.report(&Progress::new(Stage::Finding, 0, None));
        let events = self.node.events();
        let entered = tokio::select! {
            entered = self.come_in(ticket, wait) => entered,
            () = probe(&self.net, events, ticket) => return Err(crate::error::Stopped.into()),
        };
        entered.map_err(|failure| told(failure, ticket))?;
        let (team, device) = (ticket.team, self.device);
        let named = self.node.read(move |engine| {
            let roster = engine.roster(&team)?;
            let me = roster.member(&device)?;
            Some((roster.name().clone(), me.member.clone()))
        });
        let (name, member) = named.await.map_err(Failure::from)?.ok_or_else(|| {
            ApiError::new(ErrorCode::Internal, "joined, but the team isn't there")
        })?;
        Ok(team::Entered { team, name, member })
    }
}

impl Handle<team::CheckFresh> for Robots {
    async fn handle(
        self: Arc<Self>,
        call: team::CheckFresh,
        context: Arc<Context>,
    ) -> Result<team::Fresh, Failure> {
        let team = team_of(&self.node, &context).await?;
        let deadline = Instant::now() + Duration::from_secs(call.wait_s);
        let mut events = self.node.events();
        // The hub has the statements of all devices. Without it, teammates have to be online.
        if let Err(failure) = self.hubs.poll_now(team).await {
            tracing::warn!(error = %failure.api(), "podsync could not poll the hub");
        }
        loop {
            let newest = self.newest_word(team).await?;
            let age_ms = newest.map(|(_, heard_ms)| now_ms().saturating_sub(heard_ms));
            if let (Some((device, heard_ms)), Some(age_ms)) = (newest, age_ms)
                && age_ms <= call.max_age_s.saturating_mul(1000)
            {
                return Ok(team::Fresh {
                    team,
                    device,
                    heard_ms,
                });
            }
            context.report(&Progress::new(Stage::Finding, 0, None));
            loop {
                match timeout_at(deadline, events.recv()).await {
                    Ok(Ok(Event::CaughtUp { team: of })) if of == team => break,
                    Ok(Err(RecvError::Lagged(_))) => break,
                    Ok(Ok(_)) => {}
                    Ok(Err(RecvError::Closed)) | Err(_) => {
                        return Err(stale(age_ms, call.max_age_s).into());
                    }
                }
            }
        }
    }
}

impl Robots {
    /// Joins the team unless the cache says that it did, and waits for a member's or the hub's news.
    async fn come_in(&self, ticket: &Ticket, wait: Duration) -> Result<(), Failure> {
        let deadline = Instant::now() + wait;
        let mut events = self.node.events();
        let team = ticket.team;
        let join = Command::Join {
            ticket: Box::new(ticket.clone()),
            member: "robot"
                .parse()
                .map_err(|error: podsync_core::name::NameError| {
                    ApiError::new(ErrorCode::Internal, error.to_string())
                })?,
            label: label(),
            patience: wait,
        };
        // A cache has an old state of the team. Whether this robot was removed since has to be asked.
        let is_cached = match self.node.command(join).await? {
            Ok(_) => false,
            Err(EngineError::AlreadyMember(_)) => true,
            Err(error) => return Err(error.into()),
        };
        let of_members = async {
            loop {
                if self
                    .node
                    .read(move |engine| engine.is_caught_up(&team))
                    .await?
                {
                    return Ok::<_, Failure>(());
                }
                match timeout_at(deadline, events.recv()).await {
                    Ok(Ok(_) | Err(RecvError::Lagged(_))) => {}
                    Ok(Err(RecvError::Closed)) => return Err(crate::error::Stopped.into()),
                    Err(_) => {
                        let error = EngineError::NobodyWitnessed {
                            seconds: wait.as_secs(),
                            hub: self.hubs.trouble(team).await?,
                            stranger: false,
                            may_be_in: false,
                        };
                        return Err(error.into());
                    }
                }
            }
        };
        // All are asked at once. The first answer counts.
        tokio::select! {
            caught_up = of_members => caught_up?,
            heard = self.heard_at_hub(team) => heard?,
            () = self.until_removed(ticket), if is_cached => return Err(removed()),
        }
        let me = self.device;
        let is_member = self.node.read(move |engine| {
            engine
                .roster(&team)
                .is_some_and(|roster| roster.is_member(&me))
        });
        match is_member.await? {
            true => Ok(()),
            false => Err(removed()),
        }
    }

    /// Resolves when the hub has told what it knows, or that it no longer knows this robot. Never resolves without
    /// an answer of a hub: then members may answer.
    async fn heard_at_hub(&self, team: TeamId) -> Result<(), Failure> {
        if let Ok(Some(_)) = self.hubs.hub(team).await {
            match self.hubs.poll_now(team).await {
                Ok(_) => return Ok(()),
                Err(failure) if failure.api().code == ErrorCode::Forbidden => return Err(failure),
                Err(failure) => {
                    tracing::warn!(error = %failure.api(), "podsync could not poll the hub")
                }
            }
        }
        std::future::pending().await
    }

    /// Resolves when the issuer says that it removed this robot. Never resolves if it says something else.
    async fn until_removed(&self, ticket: &Ticket) {
        loop {
            match self.is_removed(ticket).await {
                Some(true) => return,
                Some(false) => std::future::pending().await,
                None => sleep(PROBE_EVERY).await,
            }
        }
    }

    /// Asks the issuer whether it removed this robot: it sends removed devices no other news. `None` if it doesn't
    /// answer. It may be offline, or close a removed robot's connection before the question.
    async fn is_removed(&self, ticket: &Ticket) -> Option<bool> {
        let team = ticket.team;
        let floor = ticket.floor.first().copied();
        let known = self.node.read(move |engine| {
            let membership = engine.membership(&team)?;
            let made_by = membership.starting_with(&floor?).map(|op| op.signer());
            Some((membership.heads().to_vec(), made_by))
        });
        let (heads, made_by) = known.await.ok()??;
        let issuer = ticket.issuer.or(made_by)?;
        let connecting = self.node.connect(issuer, addresses(ticket)).await.ok()?;
        connecting.await.ok()?.ok()?;
        let request = MembershipRequest::fetch(team, &heads).encode();
        let asked = self
            .net
            .request(issuer, Protocol::Membership, request)
            .await;
        let bytes = asked.ok()?;
        let opened =
            tokio::task::spawn_blocking(move || wire::open_response(Protocol::Membership, &bytes));
        match opened.await.ok()?.ok()? {
            ResponseIn::MembershipRefused(why) => Some(why == RefusedReason::DeviceRemoved),
            ResponseIn::Operations { operations, .. } => {
                let mut operations = operations.iter();
                Some(operations.any(|operation| operation.value().removes(&self.device)))
            }
            _ => Some(false),
        }
    }

    /// The newest statement of another device, and when it was made.
    pub(crate) async fn newest_word(
        &self,
        team: TeamId,
    ) -> Result<Option<(DeviceId, u64)>, Failure> {
        let me = self.device;
        Ok(self
            .node
            .read(move |engine| {
                let heard = engine.last_heard(&team).into_iter();
                let others = heard.filter(|heard| heard.device != me);
                others
                    .max_by_key(|heard| heard.time_ms)
                    .map(|heard| (heard.device, heard.time_ms))
            })
            .await?)
    }
}

fn removed() -> Failure {
    EngineError::JoinRefused(RefusedReason::DeviceRemoved).into()
}

/// The error of a runner that wasn't admitted.
fn told(failure: Failure, ticket: &Ticket) -> ApiError {
    let error = ApiError::from(failure);
    match error.code {
        ErrorCode::Unreachable => ApiError::new(
            ErrorCode::Unreachable,
            format!(
                "podsync could not reach the token's team{}: {}",
                places(ticket).map_or_else(String::new, |places| format!(" ({places})")),
                error.message
            ),
        )
        .hint(
            "podsync asks the device that made the token, at its addresses of that day, and the team's hub. One of \
             the two must run and be reachable from here. PODSYNC_PEERS can name another teammate's device",
        ),
        ErrorCode::Ticket | ErrorCode::Forbidden => ApiError::new(
            ErrorCode::Ticket,
            "the team doesn't take this token: its robot was removed, or the token is another team's",
        )
        .hint("an admin makes a new one with `podsync team invite --robot`"),
        _ => error,
    }
}

fn stale(age_ms: Option<u64>, max_age_s: u64) -> ApiError {
    let allowed = duration(max_age_s);
    let text = match age_ms {
        Some(age_ms) => format!(
            "the newest statement of a teammate's device is {} old, and --max-age allows {allowed}",
            duration(age_ms / 1000)
        ),
        None => {
            format!(
                "no teammate's device has said what it knows since this command began, and --max-age allows {allowed}"
            )
        }
    };
    ApiError::new(ErrorCode::Stale, text).hint(
        "each daemon signs a statement of what it knows once an hour, and podsync has to reach a teammate's daemon \
         or the hub: allow more with --max-age, or wait longer with --wait",
    )
}

fn label() -> DeviceLabel {
    DeviceLabel::new(LABEL).expect("the label is one")
}

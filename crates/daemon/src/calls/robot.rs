//! Robots: an admin enrols one; a runner comes in by its token and starts from what a member knows.

use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use podsync_api::{ApiError, ErrorCode, Progress, Stage, team};
use podsync_core::{
    DeviceLabel, TeamId,
    codec::Format,
    engine::{Answer, Command, EngineError, Event, InviteOptions, Robot},
    membership::{
        Role,
        wire::{MembershipRequest, RefusedReason},
    },
    ticket::Ticket,
    wire::{self, Protocol, ResponseIn},
};
use podsync_net::Multiaddr;
use tokio::{
    sync::broadcast::error::RecvError,
    time::{Instant, sleep, timeout_at},
};

use super::team::unexpected;
use crate::{
    daemon::Daemon,
    failure::Failure,
    robot::Token,
    server::{Context, Handle},
};

/// How often a runner knocks that found no place: others are served meanwhile.
const KNOCK_EVERY: Duration = Duration::from_secs(1);
/// What every robot's device is called; its name says which one it is.
const LABEL: &str = "robot";

impl Handle<team::InviteRobot> for Daemon {
    async fn handle(
        self: Arc<Self>,
        call: team::InviteRobot,
        context: Arc<Context>,
    ) -> Result<team::RobotInvited, ApiError> {
        let team = self.team(&context).await?;
        let name = call.name.clone();
        let taken = self.node.read(move |engine| {
            let roster = engine.roster(&team)?;
            Some(roster.devices().any(|record| record.member == name))
        });
        if taken.await.map_err(Failure::from)? == Some(true) {
            return Err(ApiError::new(
                ErrorCode::Invalid,
                format!("somebody in the team is called {} already", call.name),
            )
            .hint("give the robot a name of its own with --name, or remove that one first"));
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
            // The engine puts the team's hub before these: it is there when nobody is.
            addresses: self.ticket_addresses(),
        };
        let answer = self.command(Command::Invite(options)).await?;
        self.tell_hub(team).await;
        match answer {
            Answer::Invited { ticket } => Ok(team::RobotInvited {
                token: ticket.expose_text().to_string(),
                name: call.name,
                device: ticket.secret().id(),
            }),
            other => Err(unexpected(&other)),
        }
    }
}

impl Handle<team::Enter> for Daemon {
    async fn handle(
        self: Arc<Self>,
        call: team::Enter,
        context: Arc<Context>,
    ) -> Result<team::Entered, ApiError> {
        let token = Token::parse(&call.token)?;
        if !self.robot || token.device() != self.device {
            return Err(ApiError::new(
                ErrorCode::Invalid,
                "this daemon doesn't run as that robot",
            )
            .hint("set PODSYNC_TOKEN and run the command itself; a token is no ticket to join with"));
        }
        let ticket = token.ticket();
        let wait = Duration::from_secs(call.wait_s);
        context.report(&Progress::new(Stage::Finding, 0, None));
        let entered = tokio::select! {
            entered = self.come_in(ticket, wait) => entered,
            () = self.knock(ticket) => return Err(Failure::from(crate::node::Stopped).into()),
        };
        entered.map_err(|failure| told(failure, call.wait_s))?;
        let (team, device) = (ticket.team, self.device);
        let named = self.node.read(move |engine| {
            let roster = engine.roster(&team)?;
            let me = roster.member(&device)?;
            Some((roster.name().clone(), me.member.clone()))
        });
        let (name, member) = named.await.map_err(Failure::from)?.ok_or_else(|| {
            ApiError::new(ErrorCode::Internal, "came in, but the team isn't there")
        })?;
        Ok(team::Entered { team, name, member })
    }
}

impl Handle<team::CheckFresh> for Daemon {
    async fn handle(
        self: Arc<Self>,
        call: team::CheckFresh,
        context: Arc<Context>,
    ) -> Result<team::Fresh, ApiError> {
        let team = self.team(&context).await?;
        let deadline = Instant::now() + Duration::from_secs(call.wait_s);
        let mut events = self.node.events();
        // The hub has everybody's word; where it is away, teammates have to be there.
        if let Err(failure) = self.hear_now(team).await {
            tracing::warn!(error = %failure.told(), "the hub wasn't heard");
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
                        return Err(stale(age_ms, call.max_age_s));
                    }
                }
            }
        }
    }
}

impl Daemon {
    /// Dials the issuer until this is dropped: one that has no place for another runner now may soon.
    async fn knock(&self, ticket: &Ticket) {
        let addresses: Vec<Multiaddr> = ticket
            .dialled()
            .filter_map(|address| address.parse().ok())
            .collect();
        let mut knocking = tokio::time::interval(KNOCK_EVERY);
        loop {
            knocking.tick().await;
            if addresses.is_empty() || self.net.is_connected(ticket.issuer) {
                continue;
            }
            let connecting = self.node.connect(ticket.issuer, addresses.clone());
            if connecting.await.is_err() {
                return;
            }
        }
    }

    /// Enters the team unless a cache remembers that, and waits for what a member knows.
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
        let is_removed = match self.node.command(join).await? {
            Ok(_) => Some(false),
            // A cache knows the team of last time.
            Err(EngineError::AlreadyMember(_)) => timeout_at(deadline, self.is_removed(ticket))
                .await
                .ok()
                .flatten(),
            Err(error) => return Err(error.into()),
        };
        if is_removed == Some(true) {
            return Err(removed());
        }
        let of_members = async {
            loop {
                if self
                    .node
                    .read(move |engine| engine.is_caught_up(&team))
                    .await?
                {
                    return Ok(());
                }
                match timeout_at(deadline, events.recv()).await {
                    Ok(Ok(_) | Err(RecvError::Lagged(_))) => {}
                    Ok(Err(RecvError::Closed)) => return Err(crate::node::Stopped.into()),
                    Err(_) => {
                        let seconds = wait.as_secs();
                        return Err(EngineError::NobodyWitnessed { seconds }.into());
                    }
                }
            }
        };
        tokio::select! {
            caught_up = of_members => caught_up,
            heard = self.heard_at_hub(team) => heard,
            () = self.until_removed(ticket), if is_removed.is_none() => Err(removed()),
        }
    }

    /// Resolves when the hub has told what it knows, or that it knows this robot no more; never where
    /// there is none, or it doesn't answer: then members may.
    async fn heard_at_hub(&self, team: TeamId) -> Result<(), Failure> {
        if let Ok(Some(_)) = self.hub(team).await {
            match self.hear_now(team).await {
                Ok(()) => return Ok(()),
                Err(failure) if failure.told().code == ErrorCode::Forbidden => return Err(failure),
                Err(failure) => tracing::warn!(error = %failure.told(), "the hub wasn't heard"),
            }
        }
        std::future::pending().await
    }

    /// Resolves when the issuer says that it removed this robot; never where it says something else.
    async fn until_removed(&self, ticket: &Ticket) {
        loop {
            sleep(KNOCK_EVERY).await;
            match self.is_removed(ticket).await {
                Some(true) => return,
                Some(false) => std::future::pending().await,
                None => {}
            }
        }
    }

    /// Whether the issuer, which says nothing newer to whom it removed, and only when asked, removed this
    /// robot. None where it doesn't answer: it may be away, or close the connection of one whom it doesn't know
    /// any more before it was asked.
    async fn is_removed(&self, ticket: &Ticket) -> Option<bool> {
        let addresses = ticket
            .dialled()
            .filter_map(|address| address.parse().ok())
            .collect();
        let connecting = self.node.connect(ticket.issuer, addresses).await.ok()?;
        connecting.await.ok()?.ok()?;
        let team = ticket.team;
        let known = self.node.read(move |engine| {
            engine
                .membership(&team)
                .map(|membership| membership.heads().to_vec())
        });
        let known = known.await.ok()?.unwrap_or_else(|| ticket.heads.clone());
        let request = MembershipRequest::fetch(team, &known).encode();
        let asked = self
            .net
            .request(ticket.issuer, Protocol::Membership, request)
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
    pub(super) async fn newest_word(
        &self,
        team: TeamId,
    ) -> Result<Option<(podsync_core::DeviceId, u64)>, Failure> {
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

/// What a runner is told that wasn't let in.
fn told(failure: Failure, wait_s: u64) -> ApiError {
    let error = ApiError::from(failure);
    match error.code {
        ErrorCode::Unreachable => ApiError::new(
            ErrorCode::Unreachable,
            format!("nobody of the team that the token is of was reached within {wait_s} s"),
        )
        .hint(
            "the token names where its issuer was found when it was made, and the team's hub: one of them must \
             run and be reachable from here, or PODSYNC_PEERS name another; --wait waits longer",
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
    let allowed = shown(max_age_s);
    let text = match age_ms {
        Some(age_ms) => format!(
            "what is known of the team is {} old, and at most {allowed} was asked for",
            shown(age_ms / 1000)
        ),
        None => format!(
            "no teammate's device has said what it knew, and a word at most {allowed} old was asked for"
        ),
    };
    ApiError::new(ErrorCode::Stale, text).hint(
        "a teammate's daemon has to be reached, and each gives its word once an hour: allow more with --max-age, or \
         wait longer with --wait",
    )
}

/// `3h`, `2days`: in the largest unit that says enough.
fn shown(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} days", seconds / 86_400),
    }
}

fn label() -> DeviceLabel {
    DeviceLabel::new(LABEL).expect("the label is one")
}

pub(super) fn now_ms() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

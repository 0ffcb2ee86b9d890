//! A command's connection to a daemon. The function that opens a connection must close it: a daemon inside
//! this process ends with it.

use std::sync::atomic::{AtomicBool, Ordering};

use podsync_api::{ApiError, Call, Client, ErrorCode, EventStream, Progress, node, team};
use podsync_daemon::{Lifetime, Overrides, Running, Settings, socket_path};

use super::{
    Context,
    home::{initialised, status_of},
    hosting::start_robot_in,
    robot::{Robot, of_cache},
    upkeep::is_outdated,
};
use crate::output::progress::Bar;

/// What a command needs of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// The home only: a daemon in this process will do.
    Home,
    /// Teammates, also after the command has ended.
    Network,
}

pub(crate) struct Connection<'a> {
    pub(crate) context: &'a Context,
    client: Client,
    /// The daemon inside this process, if there is one.
    hosted: Option<Running>,
    /// This command started a daemon that stays.
    started: bool,
    /// A call was about something that isn't there.
    missed: AtomicBool,
}

impl<'a> Connection<'a> {
    pub(crate) async fn open(context: &'a Context, needs: Needs) -> Result<Self, ApiError> {
        if let Some(robot) = &context.robot {
            return Self::open_as(robot, context).await;
        }
        let (home, printer) = (context.home()?, &context.printer);
        let client = Client::new(&socket_path(&home), context.team())?;
        let over = |client, hosted, started| Self {
            context,
            client,
            hosted,
            started,
            missed: AtomicBool::new(false),
        };
        if let Some(status) = status_of(&home, &client).await? {
            if !is_outdated(&status) {
                return Ok(over(client, None, false));
            }
            initialised(&home)?;
            printer.note(format_args!(
                "The daemon runs podsync {}. Restarting it with podsync {}.",
                status.version,
                env!("CARGO_PKG_VERSION")
            ));
            context.refuse_other_program(&status)?;
            client.call(&node::Stop {}).await?;
            podsync_daemon::wait_until_free(&home).await?;
            // A daemon runs after it as before, whatever this command needs.
            context.start_daemon(&client).await?;
            return Ok(over(client, None, false));
        }
        initialised(&home)?;
        let global = &context.global;
        if needs == Needs::Network && !global.no_daemon && std::env::var_os("CI").is_none() {
            context.start_daemon(&client).await?;
            return Ok(over(client, None, true));
        }
        let settings = Settings::load(&home, Overrides::default())?;
        let hosted = podsync_daemon::start(settings, Lifetime::Transient).await?;
        Ok(over(client, Some(hosted), false))
    }

    /// Runs as a robot: a daemon of its own in this process that knows what a teammate knows.
    async fn open_as(robot: &Robot, context: &'a Context) -> Result<Self, ApiError> {
        let (home, hosted) = start_robot_in(robot).await.map_err(of_cache)?;
        let connection = Self {
            context,
            client: Client::new(&socket_path(&home), context.team())?,
            hosted: Some(hosted),
            started: false,
            missed: AtomicBool::new(false),
        };
        let enter = team::Enter {
            token: robot.text.clone(),
            wait_s: robot.wait.as_secs(),
        };
        match connection.watch(&enter).await {
            Ok(_) => Ok(connection),
            Err(error) => {
                connection.close().await;
                Err(robot.how_to_wait(error))
            }
        }
    }

    /// Makes a call and draws its progress.
    pub(crate) async fn watch<C: Call>(&self, call: &C) -> Result<C::Answer, ApiError> {
        let mut bar = Bar::new(&self.context.printer);
        let course = &self.context.course;
        course.note_call();
        let show = |progress: Progress| {
            course.note_stage(progress.stage);
            bar.show(&progress);
        };
        let answer = tokio::select! {
            answer = self.client.watch(call, show) => answer,
            () = self.context.stop.cancelled() => {
                Err(ApiError::new(ErrorCode::Cancelled, "interrupted").hint("run the command again"))
            }
        };
        if let Err(error) = &answer
            && error.code == ErrorCode::NotFound
        {
            self.missed.store(true, Ordering::Relaxed);
        }
        answer
    }

    /// The events from now on, or since the event with this id.
    pub(crate) async fn events(&self, after: Option<&str>) -> Result<EventStream, ApiError> {
        self.client.events(after).await
    }

    /// Ends a hosted daemon in good order; every command calls it last.
    pub(crate) async fn close(self) {
        if self.started && self.missed.load(Ordering::Relaxed) {
            // If that fails the daemon stays, which harms nobody.
            let _ = self.end_without_team().await;
        }
        if let Some(hosted) = self.hosted {
            hosted.stop().await;
        }
    }

    /// Ends the daemon that this command started if the home is in no team: there is nothing to stay for.
    async fn end_without_team(&self) -> Result<(), ApiError> {
        let status = self.client.call(&node::GetStatus {}).await?;
        let service = self.context.service();
        let is_service = service.is_ok_and(|service| service.is_installed());
        if is_service || !status.teams.is_empty() {
            return Ok(());
        }
        self.client.call(&node::Stop {}).await?;
        podsync_daemon::wait_until_free(&self.context.home()?).await?;
        self.context
            .printer
            .note("Stopped the daemon again: this home is in no team.");
        Ok(())
    }
}

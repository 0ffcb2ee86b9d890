//! Finding the daemon: one that runs, one started in the background, or one inside this process.
//!
//! All three are reached over the same socket by the same client; there is no second code path.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use backon::{ConstantBuilder, Retryable};
use etcetera::{AppStrategy, AppStrategyArgs};
use podsync_api::{ApiError, Call, Client, ErrorCode, TeamChoice, node, team};
use podsync_daemon::{Lifetime, Running, Settings, socket_path};

use tokio_util::sync::CancellationToken;

use crate::{
    arguments::Global,
    output::Printer,
    progress::Bar,
    robot::{MAX_SLOTS, Place, Robot},
};

/// How long a daemon started in the background may take until it answers.
const START_PATIENCE: Duration = Duration::from_secs(20);
const START_POLL: Duration = Duration::from_millis(50);

/// What a command needs of the daemon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Needs {
    /// The home only: a daemon in this process will do.
    Home,
    /// Teammates, also after the command has ended.
    Network,
}

pub(crate) struct Connection {
    client: Client,
    /// The daemon inside this process, where there is one.
    hosted: Option<Running>,
    stop: CancellationToken,
}

impl Connection {
    pub(crate) async fn open(
        global: &Global,
        printer: &Printer,
        needs: Needs,
    ) -> Result<Self, ApiError> {
        if let Some(robot) = &global.robot {
            return Self::open_as(robot, global, printer).await;
        }
        let home = home(global)?;
        let stop = global.stop.clone();
        let team = global
            .team
            .clone()
            .map_or(TeamChoice::Only, TeamChoice::Named);
        let client = Client::new(&socket_path(&home), team)?;
        if let Some(status) = answers(&client).await {
            if status.version == env!("CARGO_PKG_VERSION") {
                return Ok(Self {
                    client,
                    hosted: None,
                    stop,
                });
            }
            initialised(&home)?;
            printer.note(format_args!(
                "the daemon is of podsync {}; restarting it as {}",
                status.version,
                env!("CARGO_PKG_VERSION")
            ));
            client.call(&node::Stop {}).await?;
            podsync_daemon::wait_until_free(&home).await?;
        }
        initialised(&home)?;
        if needs == Needs::Network && !global.no_daemon && std::env::var_os("CI").is_none() {
            start_in_background(&home, &client, printer).await?;
            return Ok(Self {
                client,
                hosted: None,
                stop,
            });
        }
        let settings = Settings::load(&home, podsync_daemon::Overrides::default())?;
        let hosted = podsync_daemon::start(settings, Lifetime::Transient).await?;
        Ok(Self {
            client,
            hosted: Some(hosted),
            stop,
        })
    }

    /// Runs as a robot: a daemon of its own in this process that knows what a teammate knows.
    async fn open_as(robot: &Robot, global: &Global, printer: &Printer) -> Result<Self, ApiError> {
        let (home, hosted) = match &robot.place {
            Place::Scratch(home) => (home.clone(), start_robot(home, robot).await?),
            Place::Cache(folder) => start_in_cache(folder, robot).await?,
        };
        let team = global
            .team
            .clone()
            .map_or(TeamChoice::Only, TeamChoice::Named);
        let connection = Self {
            client: Client::new(&socket_path(&home), team)?,
            hosted: Some(hosted),
            stop: global.stop.clone(),
        };
        let enter = team::Enter {
            token: robot.text.clone(),
            wait_s: robot.wait.as_secs(),
        };
        match connection.watch(printer, &enter).await {
            Ok(_) => Ok(connection),
            Err(error) => {
                connection.close().await;
                Err(error)
            }
        }
    }

    /// Makes a call and draws its progress.
    pub(crate) async fn watch<C: Call>(
        &self,
        printer: &Printer,
        call: &C,
    ) -> Result<C::Answer, ApiError> {
        let mut bar = Bar::new(printer);
        tokio::select! {
            answer = self.client.watch(call, |progress| bar.show(&progress)) => answer,
            () = self.stop.cancelled() => Err(ApiError::new(ErrorCode::Cancelled, "interrupted")
                .hint("run the command again: it goes on where it stopped")),
        }
    }

    /// Ends a hosted daemon in good order; every command calls it last.
    pub(crate) async fn close(self) {
        if let Some(hosted) = self.hosted {
            hosted.stop().await;
        }
    }
}

async fn start_robot(home: &Path, robot: &Robot) -> Result<Running, ApiError> {
    let settings = Settings::load(home, podsync_daemon::Overrides::default())?;
    podsync_daemon::start_robot(settings, &robot.token).await
}

/// Takes a part of the cache that no other runner holds at the moment.
async fn start_in_cache(folder: &Path, robot: &Robot) -> Result<(PathBuf, Running), ApiError> {
    let device = robot.token.device().short();
    for slot in 0..MAX_SLOTS {
        let home = folder.join(format!("{device}-{slot}"));
        match start_robot(&home, robot).await {
            Ok(running) => return Ok((home, running)),
            Err(error) if error.code == ErrorCode::Busy => {}
            Err(error) => return Err(error),
        }
    }
    Err(ApiError::new(
        ErrorCode::Busy,
        format!("{MAX_SLOTS} runners use {} already", folder.display()),
    )
    .hint("leave --cache out, or give some of them another folder"))
}

/// Only what runs a daemon needs the key: a command may sit where there is nothing but its socket.
fn initialised(home: &Path) -> Result<(), ApiError> {
    if podsync_daemon::is_initialised(home) {
        return Ok(());
    }
    Err(ApiError::new(
        ErrorCode::NotFound,
        format!("{} is no podsync home yet", home.display()),
    )
    .hint(if std::env::var_os("CI").is_some() {
        "a job needs none, but a robot's token as PODSYNC_TOKEN: `podsync team invite --robot` makes one"
    } else {
        "`podsync team create NAME` makes a team, `podsync team join` comes into one with a ticket"
    }))
}

/// Makes this device's key where a new machine's first command needs it.
pub(crate) async fn ensure_key(global: &Global, printer: &Printer) -> Result<(), ApiError> {
    let home = home(global)?;
    if global.robot.is_some()
        || podsync_daemon::is_initialised(&home)
        || running(&home).await?.is_some()
    {
        return Ok(());
    }
    let made = podsync_daemon::init(&home)?;
    printer.note(format_args!(
        "made this device's key in {}",
        made.home.display()
    ));
    Ok(())
}

/// The home that is meant: `--home`, `PODSYNC_HOME`, or the platform's data folder.
pub(crate) fn home(global: &Global) -> Result<PathBuf, ApiError> {
    let home = match &global.home {
        Some(home) => home.clone(),
        None => etcetera::choose_app_strategy(AppStrategyArgs {
            top_level_domain: "dev".to_owned(),
            author: "podsync".to_owned(),
            app_name: "podsync".to_owned(),
        })
        .map_err(|error| {
            ApiError::new(ErrorCode::Invalid, format!("no home folder: {error}"))
                .hint("say where with --home or PODSYNC_HOME")
        })?
        .data_dir(),
    };
    std::path::absolute(&home)
        .map_err(|error| ApiError::new(ErrorCode::Invalid, format!("{}: {error}", home.display())))
}

/// A client of the daemon that runs; none where none does.
pub(crate) async fn running(home: &Path) -> Result<Option<Client>, ApiError> {
    let client = Client::new(&socket_path(home), TeamChoice::Only)?;
    Ok(answers(&client).await.map(|_| client))
}

async fn answers(client: &Client) -> Option<node::Status> {
    client.call(&node::GetStatus {}).await.ok()
}

async fn start_in_background(
    home: &Path,
    client: &Client,
    printer: &Printer,
) -> Result<(), ApiError> {
    let fail = |what: &str, error: std::io::Error| {
        ApiError::new(
            ErrorCode::NoDaemon,
            format!("cannot start the daemon: {what}: {error}"),
        )
        .hint("run `podsync daemon` in another terminal, or add --no-daemon")
    };
    let log_path = home.join("daemon.log");
    let log = std::fs::OpenOptions::new()
        .create(true)
        .append(true)
        .open(&log_path)
        .map_err(|error| fail("its log", error))?;
    let program = std::env::current_exe().map_err(|error| fail("this program", error))?;
    let mut command = std::process::Command::new(program);
    command
        .args(["daemon", "--home"])
        .arg(home)
        .stdin(Stdio::null())
        .stdout(log.try_clone().map_err(|error| fail("its log", error))?)
        .stderr(log)
        .current_dir(home);
    // Out of this terminal's process group, so that Ctrl-C here doesn't end it.
    #[cfg(unix)]
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    let tries = (START_PATIENCE.as_millis() / START_POLL.as_millis()) as usize;
    let policy = ConstantBuilder::default()
        .with_delay(START_POLL)
        .with_max_times(tries);
    let child = std::sync::Mutex::new(
        command
            .spawn()
            .map_err(|error| fail("the process", error))?,
    );
    // Waiting is over at the first answer, or as soon as the process has ended.
    let gone = || {
        child
            .lock()
            .is_ok_and(|mut child| matches!(child.try_wait(), Ok(Some(_))))
    };
    let outcome = (|| async { answers(client).await.ok_or(()) })
        .retry(policy)
        .when(|()| !gone())
        .await;
    match outcome {
        Ok(status) => {
            let listening = status.listening.first().map_or("no port", String::as_str);
            printer.note(format_args!(
                "started the daemon in the background (pid {}, {listening}, log {})",
                status.pid,
                log_path.display()
            ));
            Ok(())
        }
        Err(()) => Err(ApiError::new(
            ErrorCode::NoDaemon,
            "the daemon was started but doesn't answer",
        )
        .hint(format!("see {}", log_path.display()))),
    }
}

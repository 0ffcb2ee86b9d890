//! Starting a daemon: in the background, or in this process for a robot.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use backon::{ConstantBuilder, Retryable};
use podsync_api::{ApiError, Client, ErrorCode};
use podsync_daemon::{Overrides, Running, Settings};

use super::{
    home::answers,
    robot::{MAX_SLOTS, Place, Robot},
};
use crate::output::Printer;

/// How long a daemon started in the background may take until it answers.
const START_PATIENCE: Duration = Duration::from_secs(20);
const START_POLL: Duration = Duration::from_millis(50);

/// A robot's daemon in this process, and its home.
pub(super) async fn start_robot_in(robot: &Robot) -> Result<(PathBuf, Running), ApiError> {
    match &robot.place {
        Place::Scratch(home) => Ok((home.clone(), start_robot(home, robot).await?)),
        Place::Cache(folder) => start_in_cache(folder, robot).await,
    }
}

async fn start_robot(home: &Path, robot: &Robot) -> Result<Running, ApiError> {
    let settings = Settings::load(home, Overrides::default())?;
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
        format!("{MAX_SLOTS} jobs already use {}", folder.display()),
    )
    .hint("remove --cache, or give some jobs another folder"))
}

pub(super) async fn start_in_background(
    home: &Path,
    client: &Client,
    printer: &Printer,
) -> Result<(), ApiError> {
    let fail = |what: &str, error: std::io::Error| {
        ApiError::new(
            ErrorCode::NoDaemon,
            format!("podsync cannot start the daemon: {what}: {error}"),
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
                "Started the daemon in the background (pid {}, {listening}, log {}).",
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

//! Starting a daemon: in the background, or in this process for a robot.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use backon::{ConstantBuilder, Retryable};
use podsync_api::{ApiError, Client, ErrorCode, node};
use podsync_daemon::{Overrides, Running, Settings};
use tokio::{
    io::AsyncReadExt,
    process::{Child, ChildStdout},
};

use super::{
    home::answers,
    robot::{MAX_SLOTS, Place, Robot},
};
use crate::{files::MEND_LINK, log::rolling, lstk, output::Printer};

/// How long a daemon started in the background may take until it answers.
const START_PATIENCE: Duration = Duration::from_secs(20);
const START_POLL: Duration = Duration::from_millis(50);
/// How many bytes to read of a daemon's last output: one error.
const MAX_SAID_LEN: u64 = 64 << 10;

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

/// Starts a daemon that stays. If it can't start, it says why, and the command passes that on. A daemon that
/// doesn't answer is ended again: no process is left behind.
pub(super) async fn start_in_background(
    home: &Path,
    client: &Client,
    printer: &Printer,
) -> Result<node::Status, ApiError> {
    let log = rolling::path(home);
    let file = rolling::open_file(&log).map_err(|error| {
        let text = format!("podsync cannot write to {}: {error}", log.display());
        ApiError::new(ErrorCode::Disk, text).hint(match error.kind() {
            io::ErrorKind::NotFound if log.is_symlink() => MEND_LINK,
            _ => "check that it is a file, and that you may write to it and to its folder",
        })
    })?;
    let mut daemon = spawn(home, file).map_err(|error| {
        ApiError::new(
            ErrorCode::NoDaemon,
            format!("podsync cannot start the daemon: {error}"),
        )
        .hint("run `podsync daemon` in another terminal, or add --no-daemon")
    })?;
    let said = daemon.stdout.take();
    let tries = (START_PATIENCE.as_millis() / START_POLL.as_millis()) as usize;
    let policy = ConstantBuilder::default()
        .with_delay(START_POLL)
        .with_max_times(tries);
    let answered = (|| async { answers(client).await.ok_or(()) }).retry(policy);
    let answered = tokio::select! {
        answered = answered => answered,
        _ = daemon.wait() => return Err(why_it_ended(said, &log).await),
    };
    let Ok(status) = answered else {
        // This process started it, and no client has used it yet.
        let _ = daemon.kill().await;
        let text = format!(
            "the daemon was started and did not answer within {} s, so it was ended again",
            START_PATIENCE.as_secs()
        );
        return Err(
            ApiError::new(ErrorCode::NoDaemon, text).hint(format!("{} may say why", log.display()))
        );
    };
    let listening = status.listening.first().map_or("no port", String::as_str);
    printer.note(format_args!(
        "Started the daemon in the background (pid {}, {listening}, log {}).",
        status.pid,
        log.display()
    ));
    Ok(status)
}

fn spawn(home: &Path, log: File) -> std::io::Result<Child> {
    let mut command = tokio::process::Command::new(std::env::current_exe()?);
    command
        .args(["--json", "daemon", "--log-file", "--home"])
        .arg(home)
        .stdin(Stdio::null())
        // It prints only why it can't start. Anything else goes to the log file.
        .stdout(Stdio::piped())
        .stderr(log)
        .current_dir(home);
    for variable in lstk::PRIVATE {
        command.env_remove(variable);
    }
    // Out of this terminal's process group, so that Ctrl-C here doesn't end it.
    #[cfg(unix)]
    command.process_group(0);
    command.spawn()
}

/// The daemon's last error, with its own exit code.
async fn why_it_ended(said: Option<ChildStdout>, log: &Path) -> ApiError {
    #[derive(serde::Deserialize)]
    struct Failed {
        error: ApiError,
    }
    let mut text = Vec::new();
    if let Some(said) = said {
        let _ = said.take(MAX_SAID_LEN).read_to_end(&mut text).await;
    }
    match serde_json::from_slice::<Failed>(&text) {
        Ok(failed) => ApiError {
            message: format!("the daemon cannot start: {}", failed.error.message),
            ..failed.error
        },
        Err(_) => ApiError::new(ErrorCode::NoDaemon, "the daemon ended as it was started")
            .hint(format!("{} may say why", log.display())),
    }
}

//! Finds the process that holds a home. The lock file names it also where its socket doesn't answer.
//!
//! A process is only ended if it surely is this home's daemon. The process id in a lock may be from another machine
//! or container that shares the folder.

use std::{
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use podsync_api::{ApiError, ErrorCode};
use podsync_store::{Holder, Home, StoreError};
use tokio::time::Instant;

use crate::{error::Failure, tasks::Lifetime};

/// How long an old daemon may take to release the home.
const RELEASE_PATIENCE: Duration = Duration::from_secs(10);
const RELEASE_POLL: Duration = Duration::from_millis(50);

/// Ends the daemon that holds `home` and doesn't answer. Returns its process id, or `None` if nobody holds the
/// home. Fails if a process has a database open there whose locks were removed: nothing says which process that is.
pub async fn end_daemon(home: &Path) -> Result<Option<u32>, ApiError> {
    let Some(holder) = Home::holder(home).map_err(Failure::from)? else {
        return match Home::database_in_use(home) {
            None => Ok(None),
            Some(path) => Err(in_use(path)),
        };
    };
    let busy = |what: &str, hint: String| {
        let text = format!("{holder} holds this home {what}");
        Err(ApiError::new(ErrorCode::Busy, text).hint(hint))
    };
    let Some(process) = holder.process else {
        return busy(
            "and has not said yet who it is",
            "run `podsync stop` again".to_owned(),
        );
    };
    if holder.purpose != Lifetime::Service.purpose() {
        return busy(
            "and is no daemon",
            format!("wait until that command has ended, or end it with `kill {process}`"),
        );
    }
    if !Home::is_held_by(home, &holder) {
        return busy(
            "and does not answer, and podsync cannot see that this process is the daemon: it may run as another user \
             or in another container",
            format!(
                "look at it there with `ps -p {process}`; if it is `podsync daemon`, end it with `kill {process}`"
            ),
        );
    }
    if let Err(why) = terminate(process) {
        return busy(
            &format!("and does not answer, and podsync cannot end it: {why}"),
            format!("end it with `kill {process}`: it finishes what it writes"),
        );
    }
    wait_until_free(home).await.map_err(|error| ApiError {
        message: format!("{} (it did not answer before that)", error.message),
        ..error
    })?;
    Ok(Some(process))
}

/// The error of a caller whom the daemon of `home` has not answered for so long.
pub fn does_not_answer(home: &Path, waited: Duration) -> ApiError {
    let holder = Home::holder(home).ok().flatten();
    let who = holder.map_or_else(|| "the daemon".to_owned(), |holder| holder.to_string());
    let text = format!(
        "{who} holds this home and did not answer within {} s",
        waited.as_secs()
    );
    ApiError::new(ErrorCode::Busy, text).hint(
        "`podsync stop` ends it; if it was suspended, such as with Ctrl-Z or SIGSTOP, `fg` or SIGCONT lets it go on",
    )
}

/// A suspended process takes a signal only once it is continued. One that runs may have ended by then.
const TERMINATE: &str = r#"kill -TERM "$1" && { kill -CONT "$1" 2>/dev/null || true; }"#;

/// Uses the `kill` program: sending a signal directly would need unsafe code.
fn terminate(process: u32) -> Result<(), String> {
    let kill = Command::new("sh")
        .args(["-c", TERMINATE, "sh", &process.to_string()])
        .output()
        .map_err(|error| format!("there is no `sh` to run `kill` with: {error}"))?;
    match kill.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&kill.stderr).trim().to_owned()),
    }
}

/// Waits until the process that holds `home` has let go of it.
pub async fn wait_until_free(home: &Path) -> Result<(), ApiError> {
    let deadline = Instant::now() + RELEASE_PATIENCE;
    // A file lock has no wait with a deadline, so this polls it.
    loop {
        let error = match Home::holder(home).map_err(Failure::from)? {
            Some(holder) => does_not_end(&holder),
            None => match Home::database_in_use(home) {
                None => return Ok(()),
                Some(path) => in_use(path),
            },
        };
        if Instant::now() >= deadline {
            return Err(error);
        }
        tokio::time::sleep(RELEASE_POLL).await;
    }
}

/// The same error as of a command that opens the database.
fn in_use(path: PathBuf) -> ApiError {
    Failure::from(StoreError::InUse { path }).into()
}

fn does_not_end(holder: &Holder) -> ApiError {
    let seconds = RELEASE_PATIENCE.as_secs();
    let text = format!("{holder} was told to end {seconds} s ago and still runs");
    let process = holder
        .process
        .map_or_else(|| "PID".to_owned(), |process| process.to_string());
    ApiError::new(ErrorCode::Busy, text).hint(format!(
        "`kill -9 {process}` ends it at once: what was saved and shared is on the disk"
    ))
}

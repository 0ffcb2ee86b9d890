//! Who holds a home, as other processes see it: the lock tells where no socket does.
//!
//! A process is only ever ended where it surely is the daemon of this home: the number in a lock may be of another
//! machine or container that sees the same folder.

use std::{path::Path, process::Command, time::Duration};

use podsync_api::{ApiError, ErrorCode};
use podsync_store::{Holder, Home};
use tokio::time::Instant;

use crate::{error::Failure, tasks::Lifetime};

/// An old daemon has this long to let go of the home.
const RELEASE_PATIENCE: Duration = Duration::from_secs(10);
const RELEASE_POLL: Duration = Duration::from_millis(50);

/// Ends the daemon that holds `home` and doesn't answer. Its process; none where nobody holds the home.
pub async fn end_daemon(home: &Path) -> Result<Option<u32>, ApiError> {
    let Some(holder) = Home::holder(home).map_err(Failure::from)? else {
        return Ok(None);
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
    wait_until_free(home).await?;
    Ok(Some(process))
}

/// A signal needs code that this project forbids itself, or a program that every system has.
fn terminate(process: u32) -> Result<(), String> {
    let kill = Command::new("sh")
        .args(["-c", "kill -TERM \"$1\"", "sh", &process.to_string()])
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
    // A file lock can be tried or waited for without end, but not watched.
    while let Some(holder) = Home::holder(home).map_err(Failure::from)? {
        if Instant::now() >= deadline {
            return Err(does_not_end(&holder));
        }
        tokio::time::sleep(RELEASE_POLL).await;
    }
    Ok(())
}

fn does_not_end(holder: &Holder) -> ApiError {
    let seconds = RELEASE_PATIENCE.as_secs();
    let text = format!("{holder} was told to end and still runs after {seconds} s");
    let process = holder
        .process
        .map_or_else(|| "PID".to_owned(), |process| process.to_string());
    ApiError::new(ErrorCode::Busy, text).hint(format!(
        "`kill -9 {process}` ends it at once: what was saved and shared is on the disk"
    ))
}

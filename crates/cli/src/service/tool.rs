//! A program of the system that is asked for something: `systemctl`, `loginctl`, `launchctl`.

use std::{ffi::OsStr, path::PathBuf, process::Stdio, time::Duration};

use podsync_api::{ApiError, ErrorCode};
use tokio::process::Command;

/// A service may take a minute to start, and as long to end.
const PATIENCE: Duration = Duration::from_secs(150);

pub(super) struct Tool {
    program: PathBuf,
}

/// What the program printed, and whether it succeeded.
pub(super) struct Said {
    pub(super) ok: bool,
    pub(super) out: String,
    pub(super) err: String,
}

impl Tool {
    pub(super) fn new(program: impl Into<PathBuf>) -> Self {
        Self {
            program: program.into(),
        }
    }

    /// Runs it to its end. An error if the program is missing or doesn't end.
    pub(super) async fn ask<S: AsRef<OsStr>>(
        &self,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Said, ApiError> {
        let name = self.program.display();
        let mut command = Command::new(&self.program);
        command
            .args(arguments)
            .env("LC_ALL", "C")
            .stdin(Stdio::null())
            .kill_on_drop(true);
        match tokio::time::timeout(PATIENCE, command.output()).await {
            Ok(Ok(output)) => Ok(Said {
                ok: output.status.success(),
                out: String::from_utf8_lossy(&output.stdout).trim().to_owned(),
                err: String::from_utf8_lossy(&output.stderr).trim().to_owned(),
            }),
            Ok(Err(error)) => Err(absent(format!("podsync cannot run `{name}`: {error}"))),
            Err(_) => Err(absent(format!(
                "`{name}` has not ended after {} s",
                PATIENCE.as_secs()
            ))),
        }
    }
}

fn absent(text: String) -> ApiError {
    ApiError::new(ErrorCode::NoDaemon, text).hint(
        "without a supervisor for services, run `podsync daemon` from your own start-up files",
    )
}
